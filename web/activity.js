// Owns the small picture of the last minute: joined above the line, left below it, one bar a second, and the rate.

import { byId, count, plural, setAttribute, setText } from "./dom.js";
import { everySecond } from "./time.js";

const SECONDS = 60;

export class Activity {
  #joined = new Uint32Array(SECONDS);
  #left = new Uint32Array(SECONDS);
  #changes = new Uint32Array(SECONDS);
  #second = Math.floor(Date.now() / 1000);
  #canvas = byId("activity");
  #scheme = matchMedia("(prefers-color-scheme: dark)");

  constructor(store) {
    store.onChange(({ kind, now }) => this.#count(kind, now));
    everySecond((now) => this.#draw(now));
    new ResizeObserver(() => this.#draw(Date.now())).observe(this.#canvas);
    this.#scheme.addEventListener("change", () => this.#draw(Date.now()));
  }

  #count(kind, now) {
    if (kind === "reset" || kind === "renewed") return;
    this.#advance(now);
    const slot = this.#second % SECONDS;
    this.#changes[slot] += 1;
    if (kind === "joined") this.#joined[slot] += 1;
    if (kind === "left") this.#left[slot] += 1;
  }

  /** Empties the slots of the seconds that have passed; a clock set back just goes on in the present slot. */
  #advance(now) {
    const second = Math.floor(now / 1000);
    const passed = Math.min(SECONDS, second - this.#second);
    for (let i = 1; i <= passed; i += 1) {
      const slot = (second - passed + i) % SECONDS;
      this.#joined[slot] = this.#left[slot] = this.#changes[slot] = 0;
    }
    this.#second = Math.max(this.#second, second);
  }

  #draw(now) {
    this.#advance(now);
    const { width, height } = this.#canvas.getBoundingClientRect();
    if (width === 0) return;
    const ratio = devicePixelRatio;
    if (this.#canvas.width !== Math.round(width * ratio)) {
      this.#canvas.width = Math.round(width * ratio);
      this.#canvas.height = Math.round(height * ratio);
    }
    this.#drawBars(this.#canvas.getContext("2d"), width, height, ratio);
    this.#describe();
  }

  #drawBars(context, width, height, ratio) {
    const style = getComputedStyle(this.#canvas);
    const colour = (name) => style.getPropertyValue(name);
    const middle = Math.round(height / 2);
    const most = Math.max(4, ...this.#joined, ...this.#left);
    const step = width / SECONDS;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.fillStyle = colour("--line");
    context.fillRect(0, middle - 0.5, width, 1);
    for (let i = 0; i < SECONDS; i += 1) {
      const slot = (this.#second + 1 + i) % SECONDS;
      const bar = (n) => (n === 0 ? 0 : Math.max(1.5, (n / most) * (middle - 2)));
      context.fillStyle = colour("--accent");
      context.fillRect(i * step, middle - 1 - bar(this.#joined[slot]), Math.max(1, step - 1.5), bar(this.#joined[slot]));
      context.fillStyle = colour("--bar-left");
      context.fillRect(i * step, middle + 1, Math.max(1, step - 1.5), bar(this.#left[slot]));
    }
  }

  #describe() {
    const sum = (counts) => counts.reduce((total, n) => total + n, 0);
    // The second that is running is not full yet: tell the mean of the three before it.
    const before = [1, 2, 3].map((i) => this.#changes[(this.#second - i + SECONDS) % SECONDS]);
    const rate = Math.round(sum(before) / before.length);
    setText(byId("feed-rate"), rate > 0 ? `${count(rate)}/s` : "");
    byId("feed-rate").title = rate > 0 ? `${plural(rate, "change")} a second` : "";
    const words = `In the last minute ${count(sum(this.#joined))} joined and ${count(sum(this.#left))} left`;
    setAttribute(this.#canvas, "aria-label", words);
    this.#canvas.title = words;
  }
}
