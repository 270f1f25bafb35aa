// Owns the message trace of the "Try it" drawer: each wire message out and in, with its time, and for a reply how long
// it took. It listens only while the drawer is open, keeps a bounded number, and hides what is a secret: the token and
// the client id that names this page's session.

import { byId, count, el, lastDigits, oncePerFrame, plural, setText } from "./dom.js";
import { clockMs } from "./time.js";

/** Messages kept and shown. */
const LIMIT = 100;
/** Requests whose reply is awaited, to tell how long it took. */
const AWAITED_LIMIT = 256;
/** Longer messages are shown cut to this many characters. */
const TEXT_LIMIT = 8192;

const PUSHES = new Set(["UserConnected", "UserUpdated", "UserDisconnected", "SessionReplaced", "GoingAway"]);
const CHECKS = new Set(["GetStatus", "Status", "Ping", "Pong"]);

export class Trace {
  #rollcall = null;
  #waiting = [];
  #awaited = new Map();
  #list = byId("trace");
  #all = byId("trace-all");
  #skipped = 0;
  #drawSoon = oncePerFrame(() => this.#draw());
  #listener = (message) => this.#take(message);

  constructor() {
    byId("trace-clear").addEventListener("click", () => {
      this.#list.replaceChildren();
      this.#waiting = [];
      this.#skipped = 0;
      this.#drawSoon();
    });
  }

  /** Listens to `rollcall`, or to nothing. */
  listenTo(rollcall) {
    this.#rollcall?.off("message", this.#listener);
    this.#rollcall = rollcall;
    this.#awaited.clear();
    rollcall?.on("message", this.#listener);
  }

  #take({ direction, text, at_ms: at }) {
    const out = direction === "out";
    const message = parse(text);
    const { type, id } = message ?? {};
    let took;
    if (out && id !== undefined) {
      this.#awaited.set(id, at);
      if (this.#awaited.size > AWAITED_LIMIT) this.#awaited.delete(this.#awaited.keys().next().value);
    } else if (this.#awaited.has(id)) {
      took = at - this.#awaited.get(id);
      this.#awaited.delete(id);
    }
    if (!this.#all.checked && (PUSHES.has(type) || CHECKS.has(type))) this.#skipped += 1;
    else this.#waiting.push({ out, type: type ?? "not JSON", id, at, took, size: text.length, message, text });
    if (this.#waiting.length > LIMIT) this.#waiting.shift();
    this.#drawSoon();
  }

  #draw() {
    for (const message of this.#waiting) this.#list.prepend(line(message));
    this.#waiting = [];
    while (this.#list.childElementCount > LIMIT) this.#list.lastChild.remove();
    byId("trace-empty").hidden = this.#list.childElementCount > 0;
    setText(byId("trace-rate"), this.#skipped > 0 ? `${count(this.#skipped)} not shown` : "");
  }
}

function line({ out, type, id, at, took, size, message, text }) {
  const bad = type === "Error" ? ` ${message.payload?.code ?? ""}` : "";
  const about = [id === undefined ? "push" : `#${lastDigits(id)}`, `${count(size)} B`, took === undefined ? null : milliseconds(took)];
  const summary = el("summary", {},
    el("span", { class: "direction", "aria-hidden": "true" }, out ? "↑" : "↓"),
    el("span", { class: "unseen" }, out ? "out" : "in"),
    el("b", {}, type + bad),
    el("small", {}, about.filter(Boolean).join(" · ")),
    el("time", {}, clockMs(at)));
  const details = el("details", {}, summary);
  // The body is built when someone wants to see it.
  details.addEventListener("toggle", () => details.append(el("pre", { class: "mono", tabindex: "0" }, body(message, text))), { once: true });
  return el("li", { class: `${out ? "out" : "in"}${bad && " bad"}`, "data-type": type }, details);
}

const milliseconds = (ms) => (ms < 1 ? "under 1 ms" : ms < 10 ? `${ms.toFixed(1)} ms` : `${count(Math.round(ms))} ms`);

function parse(text) {
  try {
    return withoutSecrets(JSON.parse(text));
  } catch {
    return null;
  }
}

function withoutSecrets(message) {
  const short = (id) => (typeof id === "string" && id.startsWith("client/") ? "client/… (secret)" : id);
  message.origin = short(message.origin);
  const { payload } = message;
  if (message.type === "Hello" && payload?.token) payload.token = "… (secret)";
  if (message.type === "Welcome" && payload?.client) payload.client = "… (secret)";
  return message;
}

function body(message, text) {
  // What could not be read is not shown either: it might hold the secret.
  if (!message) return `${plural(text.length, "character")}, not JSON`;
  const words = JSON.stringify(message, null, 2);
  return words.length > TEXT_LIMIT ? `${words.slice(0, TEXT_LIMIT)}\n… ${plural(words.length - TEXT_LIMIT, "more character")}` : words;
}
