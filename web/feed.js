// Owns the feed "What happens": puts changes and notes into words, newest first, and draws them once per frame. What
// belongs together is decided in storm.js. While the pointer is over the feed, new lines wait.

import { address, animate, byId, count, el, icon, list, oncePerFrame, plural, setText, userText } from "./dom.js";
import { Storms } from "./storm.js";
import { ago, duration, everySecond, exact } from "./time.js";

/** Lines kept and shown. */
const LIMIT = 150;

export class Feed {
  #storms = new Storms(LIMIT);
  #lines = new Map();
  #list = byId("feed");
  #heldButton = byId("feed-held");
  #held = false;
  #newestShown = 0;
  #drawSoon = oncePerFrame(() => this.#draw());

  constructor(store) {
    store.onChange((event) => {
      if (event.kind === "reset" || event.kind === "renewed") return;
      this.#storms.add(happening(event), event.now);
      this.#drawSoon();
    });
    const scroll = byId("feed-scroll");
    scroll.addEventListener("pointerenter", () => (this.#held = true));
    for (const type of ["pointerleave", "pointercancel"]) scroll.addEventListener(type, () => this.#release());
    this.#heldButton.addEventListener("click", () => this.#release());
    everySecond((now) => this.#refreshTimes(now));
  }

  /** Says something about the cluster or this page. `tone`: "ok", "warn", "bad" or "server". */
  note(tone, text) {
    this.#storms.note({ tone, text }, Date.now());
    this.#drawSoon();
  }

  #release() {
    this.#held = false;
    this.#drawSoon();
  }

  #draw() {
    const { items } = this.#storms;
    byId("feed-empty").hidden = items.length > 0;
    const waiting = this.#held ? items.filter((item) => item.id > this.#newestShown) : [];
    this.#heldButton.hidden = waiting.length === 0;
    if (waiting.length > 0) return setText(this.#heldButton, `${count(waiting.length)} new`);
    this.#newestShown = items[0]?.id ?? 0;
    const kept = new Set();
    let before = this.#list.firstChild;
    for (const item of items) {
      kept.add(item.id);
      const line = this.#lines.get(item.id);
      if (!line) {
        before = this.#insert(item, before);
      } else {
        if (line.until !== item.until) refreshStorm(line);
        before = line.node.nextSibling;
      }
    }
    for (const [id, line] of this.#lines) if (!kept.has(id)) this.#remove(id, line);
  }

  #insert(item, before) {
    const line = { item, until: item.until, ...build(item) };
    setTime(line, Date.now());
    this.#lines.set(item.id, line);
    this.#list.insertBefore(line.node, before);
    animate(line.node, { opacity: [0, 1] });
    return before;
  }

  #remove(id, line) {
    line.node.remove();
    this.#lines.delete(id);
  }

  #refreshTimes(now) {
    for (const line of this.#lines.values()) setTime(line, now);
  }
}

/** A change of the store in words. */
function happening({ kind, entry, wholePerson, reason, moved }) {
  const { username } = entry;
  const device = entry.device === "default" ? "" : entry.device;
  if (kind === "joined") {
    return wholePerson
      ? { kind, icon: "joined", username, text: "joined", more: device }
      : { kind: "changed", icon: "joined", username, text: "added a device", more: entry.device };
  }
  if (kind === "left" && wholePerson) {
    return reason === "expired"
      ? { kind, icon: "expired", username, text: "timed out", more: device }
      : { kind, icon: "left", username, text: "left", more: device };
  }
  if (kind === "left") return { kind: "changed", icon: "left", username, text: "removed a device", more: entry.device };
  return moved
    ? { kind: "changed", icon: "changed", username, text: "moved to", more: address(entry) }
    : { kind: "changed", icon: "changed", username, text: "changed details", more: device };
}

function build(item) {
  const time = el("time");
  if (item.type === "note") {
    const { tone, text } = item.note;
    return { time, node: el("li", { class: `note ${tone}` }, icon(tone), el("span", { class: "words" }, text), time) };
  }
  if (item.type === "single") {
    const { icon: picture, username, text, more } = item.happening;
    const words = el("span", { class: "words", title: `${username} ${text} ${more}` }, el("b", {}, userText(username)), ` ${text}`, more && el("small", {}, ` ${more}`));
    return { time, node: el("li", { class: picture }, icon(picture), words, time) };
  }
  const words = el("b");
  const names = el("small");
  const node = el("li", { class: "storm" }, icon("storm"), el("span", { class: "words" }, words, names), time);
  const line = { item, time, node, words, names };
  refreshStorm(line);
  return line;
}

function refreshStorm(line) {
  const { counts, at, until, sample } = line.item;
  const parts = [];
  if (counts.joined > 0) parts.push(`${count(counts.joined)} joined`);
  if (counts.left > 0) parts.push(`${count(counts.left)} left`);
  if (counts.changed > 0) parts.push(`${count(counts.changed)} changed`);
  if (parts.length === 1) parts[0] = parts[0].replace(/ /, counts.joined + counts.left + counts.changed === 1 ? " person " : " people ");
  const span = Math.max(1000, until - at);
  setText(line.words, `${list(parts)} in ${duration(span)}`);
  const others = counts.joined + counts.left + counts.changed - sample.length;
  setText(line.names, others > 0 ? `${sample.join(", ")} and ${plural(others, "more", "more")}` : list(sample));
  line.until = until;
}

function setTime({ time, item }, now) {
  setText(time, ago(item.until, now));
  if (time.title === "" || item.type === "storm") time.title = exact(item.until);
}
