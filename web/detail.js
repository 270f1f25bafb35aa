// Owns the strip below the list that shows one chosen registration in full, kept up to date, and says when it left.

import { address, byId, copiesOnClick, el, icon, revisionText, userText } from "./dom.js";
import { ago, clock, everySecond, exact } from "./time.js";

export class Detail {
  /** Called when the user closes the strip. */
  onClose = () => {};

  #root = byId("detail");
  #entry = null;
  #since = el("span");

  constructor(store) {
    store.onChange(({ entry }) => {
      if (entry && entry === this.#entry) this.show(entry);
    });
    everySecond(() => this.#entry && this.#refreshTime());
  }

  get open() {
    return this.#entry !== null;
  }

  show(entry) {
    this.#entry = entry;
    this.#root.hidden = entry === null;
    if (entry === null) return this.#root.replaceChildren();
    const focused = this.#root.contains(document.activeElement) && document.activeElement.className;
    this.#root.replaceChildren(...this.#parts(entry));
    this.#refreshTime();
    if (focused) this.#root.getElementsByClassName(focused)[0]?.focus();
  }

  #parts(entry) {
    const close = el("button", { class: "quiet close", type: "button", "aria-label": "Close details" }, icon("close"));
    close.addEventListener("click", () => this.onClose());
    const copy = el("button", { class: "quiet copy", type: "button" }, icon("copy"), "Copy");
    copiesOnClick(copy, () => address(entry));
    const fact = (name, ...value) => el("div", {}, el("dt", {}, name), el("dd", {}, ...value));
    const facts = el("dl", { class: "detail-facts" },
      fact("Device", userText(entry.device)),
      fact("Address", el("span", { class: "mono" }, address(entry)), copy),
      fact("Since", this.#since),
      fact("Revision", revisionText(entry.revision)));
    const meta = entry.meta === undefined ? null : el("pre", { class: "mono", tabindex: "0" }, JSON.stringify(entry.meta, null, 2));
    return [el("header", {}, el("h3", {}, userText(entry.username)), close), facts, meta].filter(Boolean);
  }

  #refreshTime() {
    const { since, left } = this.#entry;
    const joined = since === null ? "before this page was opened" : `${ago(since)} (${clock(since)})`;
    this.#since.textContent = left === null ? joined : `left at ${clock(left)}`;
    this.#since.title = since === null ? "" : exact(since);
  }
}
