// Owns the list of people: a virtual list with recycled rows over an Order. Changes are drawn once per frame. Rows
// never move under the pointer: while it moves over the list, joins and departures wait ("12 new"); while it rests
// there, they are merged around the row it points at. It does not own the rows' details (detail.js).

import { byId, count, motionAllowed, oncePerFrame, plural, setAttribute, setText } from "./dom.js";
import { FADE_MS, Order } from "./order.js";
import { Row } from "./row.js";
import { everySecond } from "./time.js";

/** Rows drawn beyond each edge of the view. */
const OVERSCAN = 6;
/** The order changes at most this often: calmer to look at, and cheaper. */
const SETTLE_MS = 200;
/** A pointer that has not moved for this long rests. */
const REST_MS = 2500;
/** After the last scroll event for this long, the list counts as being scrolled. */
const SCROLL_MS = 150;
/** More visible rows than this do not glide to their new places: they are just there. */
const GLIDE_LIMIT = 6;

export class PeopleList {
  /** The chosen entry's listener: `onChoose(entry | null)`. */
  onChoose = () => {};

  #grid = byId("people");
  #space = byId("people-space");
  #heldButton = byId("held");
  #store;
  #order = new Order();
  #rows = [];
  #drawn = new Map();
  #spare = [];
  #round = 0;
  #built = 0;
  #ready = false;
  #filtered = false;

  #height = 0;
  #headHeight = 0;
  #rowHeight = 36;
  #scrollTop = 0;
  #scrolledAt = 0;
  #unsettled = false;
  #settledAt = 0;
  #settleTimer;

  #pointerY = null;
  #pointerAt = 0;
  #cursor = null;
  #chosen = null;

  #drawSoon = oncePerFrame((now) => this.#frame(now));

  constructor(store) {
    this.#store = store;
    store.onChange((event) => this.#changed(event));
    this.#listen();
    new ResizeObserver(() => this.#measure()).observe(this.#grid);
    everySecond((now) => this.#refreshTimes(now));
  }

  filterBy(text) {
    this.#filtered = text.trim() !== "";
    this.#order.filterBy(text);
    this.#order.settle(Date.now());
    this.#grid.scrollTop = this.#scrollTop = 0;
    this.#take();
  }

  sortBy(order) {
    this.#order.sortBy(order);
    this.#grid.scrollTop = this.#scrollTop = 0;
    this.#take();
  }

  choose(entry) {
    const changed = [this.#chosen, this.#cursor, entry];
    this.#chosen = entry;
    if (entry) this.#cursor = entry;
    for (const one of changed) this.#mark(one);
    this.onChoose(entry);
  }

  // Changes ------------------------------------------------------------------------------------------------------

  #changed({ kind, entry }) {
    if (kind === "reset") {
      this.#ready = true;
      this.#order.replaceAll(this.#store.values());
      this.#take();
      return;
    }
    if (kind === "joined") this.#order.joined(entry);
    if (kind === "left") this.#order.left();
    if (kind === "joined" || kind === "left") this.#unsettled = true;
    this.#drawSoon();
  }

  #frame(now) {
    if (this.#unsettled) this.#settleOrWait(now);
    this.#draw();
    this.#summarise();
  }

  #settleOrWait(now) {
    const scrolling = now - this.#scrolledAt < SCROLL_MS;
    if (scrolling || this.#pointing(now)) return this.#settleIn(SCROLL_MS);
    const early = this.#settledAt + SETTLE_MS - now;
    if (early > 0) return this.#settleIn(early);
    if (!this.#settle()) return this.#settleIn(SETTLE_MS);
    this.#settledAt = now;
  }

  #settleIn(ms) {
    clearTimeout(this.#settleTimer);
    this.#settleTimer = setTimeout(this.#drawSoon, ms);
  }

  /** Merges what waits around the row that must stay. Returns false where it could not stay. */
  #settle(force = false) {
    const pointed = this.#pointedIndex();
    const anchor = this.#anchor(pointed);
    const before = this.#rows;
    const fading = this.#order.settle(Date.now(), pointed === null || force ? null : before[pointed]);
    const rows = this.#order.shown;
    const shift = anchor === null ? 0 : shiftOf(before, rows, anchor);
    const top = this.#scrollTop + shift * this.#rowHeight;
    const lowest = Math.max(0, rows.length * this.#rowHeight - this.#bodyHeight());
    if (pointed !== null && !force && (top < 0 || top > Math.max(lowest, this.#scrollTop))) return false;
    const moved = shift === 0 && rows !== before;
    this.#unsettled = fading;
    if (fading) this.#settleIn(FADE_MS);
    this.#place(rows, Math.min(Math.max(0, top), lowest), moved);
    return true;
  }

  #place(rows, top, mayGlide) {
    this.#rows = rows;
    this.#space.style.height = `${rows.length * this.#rowHeight}px`;
    if (top !== this.#scrollTop) this.#grid.scrollTop = this.#scrollTop = top;
    if (mayGlide && motionAllowed() && this.#displaced() <= GLIDE_LIMIT) {
      this.#space.classList.add("glide");
    } else {
      this.#space.classList.remove("glide");
    }
    setAttribute(this.#grid, "aria-rowcount", String(rows.length + 1));
  }

  /** How many entries within the view came or went since it was drawn. */
  #displaced() {
    const [first, end] = this.#range(0);
    let strangers = 0;
    for (let i = first; i < end; i += 1) if (!this.#drawn.has(this.#rows[i])) strangers += 1;
    return strangers;
  }

  /** Shows what the order holds now, without waiting. */
  #take() {
    this.#unsettled = false;
    this.#place(this.#order.shown, this.#scrollTop, false);
    this.#drawSoon();
  }

  // What must stay -----------------------------------------------------------------------------------------------

  #pointing(now) {
    return this.#pointerY !== null && now - this.#pointerAt < REST_MS;
  }

  #pointedIndex() {
    if (this.#pointerY === null) return null;
    const index = Math.floor((this.#pointerY - this.#headHeight + this.#scrollTop) / this.#rowHeight);
    return index >= 0 && index < this.#rows.length ? index : null;
  }

  /** The index that keeps its place in the view: what is pointed at, else the keyboard's row, else the first in view. */
  #anchor(pointed) {
    if (pointed !== null) return pointed;
    if (this.#drawn.has(this.#cursor) && document.activeElement === this.#grid) {
      const at = this.#rows.indexOf(this.#cursor);
      if (at !== -1) return at;
    }
    return this.#scrollTop > 0 ? Math.ceil(this.#scrollTop / this.#rowHeight) : null;
  }

  // Drawing ------------------------------------------------------------------------------------------------------

  #measure() {
    this.#height = this.#grid.clientHeight;
    this.#headHeight = this.#space.offsetTop;
    const height = Number.parseFloat(getComputedStyle(this.#space).getPropertyValue("--row"));
    if (height > 0 && height !== this.#rowHeight) {
      const first = this.#scrollTop / this.#rowHeight;
      this.#rowHeight = height;
      for (const row of this.#drawn.values()) row.index = -1;
      this.#place(this.#rows, first * height, false);
    }
    this.#drawSoon();
  }

  #bodyHeight() {
    return this.#height - this.#headHeight;
  }

  #range(beyond) {
    const first = Math.floor(this.#scrollTop / this.#rowHeight) - beyond;
    const last = Math.ceil((this.#scrollTop + this.#height) / this.#rowHeight) + beyond;
    return [Math.max(0, first), Math.min(this.#rows.length, last)];
  }

  #draw() {
    this.#round += 1;
    const now = Date.now();
    const [first, end] = this.#range(OVERSCAN);
    for (let i = first; i < end; i += 1) {
      const row = this.#drawn.get(this.#rows[i]) ?? this.#newRow(this.#rows[i], now);
      row.round = this.#round;
      if (row.index !== i) row.moveTo(i, this.#rowHeight);
      row.refresh(now);
    }
    for (const [entry, row] of this.#drawn) if (row.round !== this.#round) this.#recycle(entry, row);
    const active = this.#drawn.get(this.#cursor);
    setAttribute(this.#grid, "aria-activedescendant", active ? active.node.id : null);
  }

  #newRow(entry, now) {
    const row = this.#spare.pop() ?? this.#buildRow();
    this.#drawn.set(entry, row);
    const justJoined = entry.since !== null && now - entry.since < 2 * SETTLE_MS;
    row.assign(entry, justJoined && FADE_MS);
    this.#mark(entry);
    return row;
  }

  #buildRow() {
    const row = new Row(`person-${(this.#built += 1)}`);
    this.#space.append(row.node);
    return row;
  }

  #recycle(entry, row) {
    this.#drawn.delete(entry);
    row.release();
    this.#spare.push(row);
  }

  #mark(entry) {
    this.#drawn.get(entry)?.mark({ chosen: entry === this.#chosen, cursor: entry === this.#cursor });
  }

  #refreshTimes(now) {
    for (const row of this.#drawn.values()) row.refreshTime(now);
  }

  // Words around the list ----------------------------------------------------------------------------------------

  #summarise() {
    const { people, size } = this.#store;
    const found = this.#rows.length;
    const counter = byId("people-count");
    counter.dataset.value = String(people);
    setText(counter, this.#ready ? count(people) : "–");
    setText(byId("people-note"), this.#note(found, people, size));
    byId("people-loading").hidden = this.#ready;
    byId("people-empty").hidden = !this.#ready || size > 0 || found > 0;
    byId("people-nomatch").hidden = !this.#ready || size === 0 || found > 0 || !this.#filtered;
    this.#summariseHeld();
  }

  #note(found, people, size) {
    if (!this.#ready) return "";
    if (this.#filtered) return ` online, ${count(found)} shown`;
    return size > people ? ` online, ${plural(size, "device")}` : " online";
  }

  #summariseHeld() {
    const words = [];
    this.#space.classList.toggle("holding", this.#pointerY !== null);
    if (this.#unsettled && this.#pointerY !== null) {
      const gone = this.#rows.filter((entry) => entry.left !== null).length;
      const joined = this.#order.online() - (this.#rows.length - gone);
      if (joined > 0) words.push(`${count(joined)} new`);
      if (gone > 0) words.push(`${count(gone)} gone`);
    }
    this.#heldButton.hidden = words.length === 0;
    if (words.length > 0) setText(this.#heldButton, words.join(", "));
  }

  // Input --------------------------------------------------------------------------------------------------------

  #listen() {
    const grid = this.#grid;
    grid.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    grid.addEventListener("keydown", (event) => this.#key(event));
    grid.addEventListener("click", (event) => this.#clicked(event));
    for (const type of ["pointerenter", "pointermove", "pointerdown"]) {
      grid.addEventListener(type, (event) => this.#pointed(event), { passive: true });
    }
    for (const type of ["pointerleave", "pointercancel"]) grid.addEventListener(type, () => this.#unpointed());
    this.#heldButton.addEventListener("click", () => {
      this.#unpointed();
      this.#settle(true);
    });
    for (const button of grid.querySelectorAll("[data-sort]")) {
      button.addEventListener("click", () => this.#sortClicked(button));
    }
  }

  #scrolled() {
    this.#scrollTop = this.#grid.scrollTop;
    this.#scrolledAt = performance.now();
    this.#space.classList.remove("glide");
    this.#drawSoon();
  }

  #pointed(event) {
    this.#pointerY = event.clientY - this.#grid.getBoundingClientRect().top;
    this.#pointerAt = performance.now();
  }

  #unpointed() {
    this.#pointerY = null;
    this.#drawSoon();
  }

  #sortClicked(button) {
    for (const other of this.#grid.querySelectorAll("[data-sort]")) {
      const direction = other.dataset.sort === "name" ? "ascending" : "descending";
      other.parentElement.setAttribute("aria-sort", other === button ? direction : "none");
    }
    this.sortBy(button.dataset.sort);
  }

  #clicked(event) {
    const node = event.target.closest(".person");
    if (!node) return;
    for (const [entry, row] of this.#drawn) {
      if (row.node === node) this.choose(entry === this.#chosen ? null : entry);
    }
  }

  #key(event) {
    if (event.target !== this.#grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.#bodyHeight() / this.#rowHeight) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) this.#step(steps[event.key]);
    else if ((event.key === "Enter" || event.key === " ") && this.#cursor) {
      this.choose(this.#cursor === this.#chosen ? null : this.#cursor);
    } else return;
    event.preventDefault();
  }

  #step(by) {
    if (this.#rows.length === 0) return;
    const at = this.#rows.indexOf(this.#cursor);
    const start = at === -1 ? Math.floor(this.#scrollTop / this.#rowHeight) - Math.sign(by) : at;
    const index = Math.min(Math.max(0, start + by), this.#rows.length - 1);
    const previous = this.#cursor;
    this.#cursor = this.#rows[index];
    this.#mark(previous);
    this.#reveal(index);
    this.#draw();
    if (this.#chosen) this.choose(this.#cursor);
    else this.#mark(this.#cursor);
  }

  #reveal(index) {
    const top = index * this.#rowHeight;
    const bottom = top + this.#rowHeight - this.#bodyHeight();
    const target = top < this.#scrollTop ? top : Math.max(bottom, this.#scrollTop);
    if (target !== this.#scrollTop) this.#grid.scrollTop = this.#scrollTop = target;
  }
}

/** By how many places the entry at `anchor` moved, or the next one below it that is still there. */
function shiftOf(before, rows, anchor) {
  for (let i = anchor; i < before.length; i += 1) {
    if (before[i].left !== null && i !== anchor) continue;
    const index = rows.indexOf(before[i]);
    if (index !== -1) return index - i;
  }
  return 0;
}
