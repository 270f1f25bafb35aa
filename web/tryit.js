// Owns the drawer "Try it": join as someone, look up, take a number, each through the public client, and what this page
// holds as a result. The trace of messages in it is trace.js.

import { address, animate, byId, count, el, plural, revisionText, setAttribute, userText } from "./dom.js";
import { Trace } from "./trace.js";

/** Names of one lookup (the contract's limit). */
const NAMES_LIMIT = 1000;
/** Results of one lookup that are listed. */
const SHOWN_LIMIT = 50;
/** Numbers taken that stay in view. */
const NUMBERS_SHOWN = 6;

const REASONS = {
  username_taken: "Someone else holds this name on this device.",
  not_owner: "Another session has taken this over.",
  no_quorum: "The cluster has no quorum now; nothing was changed.",
  overloaded: "The server is overloaded; nothing was changed.",
  rate_limited: "Too many requests; nothing was changed.",
  timeout: "No answer came in time.",
  unreachable: "No server can be reached.",
  closed: "This page's connection is closed.",
  unauthenticated: "The cluster asks for a token.",
  forbidden: "The token does not allow this.",
};

export class TryIt {
  #live;
  #drawer = byId("tryit");
  #toggle = byId("tryit-toggle");
  #trace = new Trace();
  #held = new Map();
  #numbers = [];
  #phone = matchMedia("(max-width: 760px)");

  constructor(live) {
    this.#live = live;
    this.#toggle.addEventListener("click", () => this.open(this.#drawer.hidden));
    byId("tryit-close").addEventListener("click", () => this.open(false));
    this.#drawer.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.open(false);
    });
    this.#phone.addEventListener("change", () => this.#coverOthers());
    const { elements } = byId("join-form");
    submits("join-form", "join-result", () => this.#join(elements));
    submits("lookup-form", "lookup-result", () => this.#lookUp(byId("lookup-form").elements.usernames.value));
    byId("sequence-button").addEventListener("click", () => run(byId("sequence-button"), byId("sequence-result"), () => this.#takeNumber()));
  }

  get isOpen() {
    return !this.#drawer.hidden;
  }

  open(open) {
    this.#drawer.hidden = !open;
    document.body.dataset.tryit = open ? "open" : "closed";
    this.#toggle.setAttribute("aria-expanded", String(open));
    this.#trace.listenTo(open ? this.#live.rollcall : null);
    this.#coverOthers();
    if (open) {
      animate(this.#drawer, { opacity: [0, 1], transform: ["translateX(12px)", "none"] });
      byId("join-form").elements.username.focus({ preventScroll: true });
    } else {
      this.#toggle.focus();
    }
  }

  /** A new connection: what was held by the old one is gone with it. */
  connected(rollcall) {
    this.#held.clear();
    this.#showHeld();
    if (this.isOpen) this.#trace.listenTo(rollcall);
    rollcall.on("sessionreplaced", (gone) => this.#lost(gone, "was taken over by another session"));
    rollcall.on("registrationlost", (gone) => this.#lost(gone, "could not be registered again"));
  }

  /** On a phone the drawer covers the page: nothing beneath it may be reached. */
  #coverOthers() {
    for (const zone of document.querySelectorAll(".zone:not(.tryit)")) zone.inert = this.isOpen && this.#phone.matches;
  }

  async #join(fields) {
    const username = fields.username.value.trim();
    const device = fields.device.value.trim() || "default";
    const ip = fields.ip.value.trim();
    const { revision } = await this.#client().connectUser(username, { ip, port: Number(fields.port.value), device });
    this.#held.set(JSON.stringify([username, device]), { username, device });
    this.#showHeld();
    return [userText(username), " joined, revision ", revisionText(revision)];
  }

  async #leave(held, button) {
    await run(button, byId("join-result"), async () => {
      await this.#client().disconnectUser(held.username, { device: held.device });
      this.#forget(held);
      return [userText(held.username), " left"];
    });
  }

  async #lookUp(text) {
    const names = [...new Set(text.split(/[\s,]+/).filter(Boolean))];
    if (names.length > NAMES_LIMIT) throw new Error(`At most ${count(NAMES_LIMIT)} names at once.`);
    const { users, unknown, revision } = await this.#client().getUserAddress(names);
    const found = users.flatMap(({ username, addresses }) => addresses.map((found) =>
      el("li", { "data-user": username }, el("b", {}, userText(username)), " ", el("span", { class: "mono" }, address(found)), " ", el("small", {}, found.device))));
    const absent = unknown.map((name) => el("li", { "data-unknown": name }, el("b", {}, userText(name)), " is not here"));
    const lines = [...found, ...absent];
    const hidden = lines.length - SHOWN_LIMIT;
    return [el("ul", {}, ...lines.slice(0, SHOWN_LIMIT)), hidden > 0 && `and ${plural(hidden, "more", "more")}, `, el("small", {}, "true at revision ", revisionText(revision))];
  }

  async #takeNumber() {
    const number = await this.#client().getSequenceNumber();
    this.#numbers.unshift(number);
    this.#numbers.length = Math.min(this.#numbers.length, NUMBERS_SHOWN);
    const [newest, ...older] = this.#numbers.map(count);
    return [el("b", { class: "number", "data-number": String(number) }, newest), older.length > 0 && el("small", {}, ` before: ${older.join(", ")}`)];
  }

  #client() {
    if (!this.#live.rollcall) throw Object.assign(new Error(), { code: "unreachable" });
    return this.#live.rollcall;
  }

  #lost({ username, device }, what) {
    this.#forget({ username, device });
    say(byId("join-result"), "bad", [userText(username), ` ${what}`]);
  }

  #forget({ username, device }) {
    this.#held.delete(JSON.stringify([username, device]));
    this.#showHeld();
  }

  #showHeld() {
    byId("held-list").replaceChildren(...[...this.#held.values()].map((held) => {
      const button = el("button", { class: "quiet", type: "button" }, "Leave");
      button.addEventListener("click", () => this.#leave(held, button));
      button.setAttribute("aria-label", `Leave as ${held.username}`);
      return el("li", {}, el("i", { class: "dot", "aria-hidden": "true" }), el("b", {}, userText(held.username)), el("small", {}, userText(held.device)), button);
    }));
  }
}

function submits(formId, resultId, work) {
  const form = byId(formId);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(form.querySelector("[type=submit]"), byId(resultId), work, form);
  });
}

/** Runs one request with its button busy, and says how it ended. */
async function run(button, result, work, form) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  for (const field of form?.elements ?? []) field.removeAttribute("aria-invalid");
  try {
    say(result, "ok", await work());
  } catch (error) {
    const { code, message, field } = error;
    const named = field && form?.elements[field.split(/[.[]/)[0]];
    if (named instanceof HTMLElement) setAttribute(named, "aria-invalid", "true");
    const reason = REASONS[code] ?? (message || "It did not work.");
    say(result, "bad", [reason, code && el("small", {}, ` ${code}`)]);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

function say(result, tone, parts) {
  result.dataset.tone = tone;
  result.replaceChildren(...parts.filter(Boolean));
}
