// Owns one row of the list of people: its cells, and what of an entry they show. Where it stands and when it is
// recycled is the list's business (people.js).

import { address, animate, el, setAttribute, setText } from "./dom.js";
import { ago, exact } from "./time.js";

export class Row {
  index = -1;
  /** The list's drawing round in which this row was last needed. */
  round = 0;

  #entry = null;
  #version = -1;
  #name = el("bdi");
  #device = cell("device");
  #address = cell("address mono");
  #meta = cell("meta");
  #since = cell("since");

  constructor(id) {
    const name = cell("name");
    name.append(el("i", { class: "dot", "aria-hidden": "true" }), this.#name);
    const cells = [name, this.#device, this.#address, this.#meta, this.#since];
    this.node = el("div", { class: "row person", role: "row", id }, ...cells);
  }

  get entry() {
    return this.#entry;
  }

  /** Takes the row for `entry`; `fadeIn` where the entry is new to the world, not only to the view. */
  assign(entry, fadeInMs) {
    this.#entry = entry;
    this.#version = -1;
    this.index = -1;
    this.node.hidden = false;
    // A recycled row must not glide in from where it stood for someone else.
    this.node.classList.add("fresh");
    if (fadeInMs) animate(this.node, { opacity: [0, 1] }, fadeInMs);
  }

  release() {
    this.#entry = null;
    this.node.hidden = true;
    this.node.removeAttribute("data-user");
    this.node.removeAttribute("data-device");
  }

  moveTo(index, height) {
    if (this.index !== -1) this.node.classList.remove("fresh");
    this.index = index;
    this.node.style.transform = `translateY(${index * height}px)`;
    this.node.setAttribute("aria-rowindex", String(index + 2));
  }

  /** Draws the entry where it changed since the last time. */
  refresh(now) {
    const entry = this.#entry;
    if (this.#version === entry.version) return;
    const online = entry.left === null;
    const where = address(entry);
    if (this.#version !== -1 && online && this.#address.textContent !== where) {
      animate(this.#address, { opacity: [0.2, 1] });
    }
    this.#version = entry.version;
    setText(this.#name, entry.username);
    setText(this.#device, entry.device);
    setText(this.#address, where);
    setAttribute(this.#name, "title", entry.username);
    setAttribute(this.#address, "title", where);
    setText(this.#meta, entry.meta === undefined ? "" : preview(entry.meta));
    this.node.classList.toggle("left", !online);
    this.node.classList.toggle("plain", entry.device === "default");
    // Only who is online carries the names: a row that fades is a picture of the past.
    setAttribute(this.node, "data-user", online ? entry.username : null);
    setAttribute(this.node, "data-device", online ? entry.device : null);
    this.refreshTime(now);
  }

  refreshTime(now) {
    const { since, left } = this.#entry;
    setText(this.#since, left !== null ? "left" : since === null ? "–" : ago(since, now));
    setAttribute(this.#since, "title", since === null ? "before this page was opened" : exact(since));
  }

  mark({ chosen, cursor }) {
    setAttribute(this.node, "aria-selected", String(chosen));
    this.node.classList.toggle("cursor", cursor);
  }
}

const cell = (name) => el("span", { class: name, role: "gridcell" });

/** Metadata on one line: `room: lobby · mood: calm`. */
function preview(meta) {
  const value = (part) => (typeof part === "object" && part !== null ? JSON.stringify(part) : String(part));
  return Object.entries(meta).map(([name, part]) => `${name}: ${value(part)}`).join(" · ");
}
