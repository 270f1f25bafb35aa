// Owns the panel of servers: one small card for each member, and the figures of the server this page talks to.
// A figure that the server does not tell is not shown.

import { animate, byId, count, el, hostOf, icon, lastDigits, plural, setAttribute, setText } from "./dom.js";
import { isUp } from "./standing.js";
import { duration } from "./time.js";

export class Cluster {
  #cards = new Map();
  #leader;
  #list = byId("members");
  #facts = new Map();

  show({ standing, status, welcome }) {
    const members = status?.members ?? welcome?.members;
    if (!members) return;
    const seenBy = status?.node ?? welcome?.node;
    const here = standing === "live" || standing === "silent" ? seenBy : undefined;
    const leader = status ? status.leader : welcome.leader;
    setText(byId("cluster-count"), String(members.length));
    const sorted = [...members].sort((a, b) => a.node - b.node);
    if (this.#cards.size === 0) this.#list.replaceChildren();
    for (const member of sorted) this.#card(member).show(member, { here, seenBy, leader, status });
    for (const [node, card] of this.#cards) if (!members.some((member) => member.node === node)) this.#drop(node, card);
    if (leader !== this.#leader && this.#leader !== undefined && leader !== null) this.#cards.get(leader)?.crown();
    if (leader !== null) this.#leader = leader;
    if (status) this.#showFacts(status);
  }

  #card({ node }) {
    let card = this.#cards.get(node);
    if (!card) {
      card = new Card(node);
      this.#cards.set(node, card);
      const next = [...this.#cards.keys()].filter((other) => other > node).sort((a, b) => a - b)[0];
      this.#list.insertBefore(card.node, this.#cards.get(next)?.node ?? null);
    }
    return card;
  }

  #drop(node, card) {
    card.node.remove();
    this.#cards.delete(node);
  }

  #showFacts(status) {
    byId("facts-title").hidden = false;
    setText(byId("facts-title"), `Seen by server ${status.node}`);
    const seen = new Set();
    for (const [name, field, words] of FACTS) {
      const value = status[field];
      if (value === undefined || value === null) continue;
      seen.add(name);
      const shown = this.#fact(name);
      const text = words(value);
      setText(shown, text);
      setAttribute(shown, "title", text.startsWith("…") ? String(value) : null);
    }
    for (const [name, value] of this.#facts) value.parentElement.hidden = !seen.has(name);
  }

  #fact(name) {
    let value = this.#facts.get(name);
    if (!value) {
      value = el("dd");
      this.#facts.set(name, value);
      byId("facts").append(el("div", {}, el("dt", {}, name), value));
    }
    return value;
  }
}

class Card {
  #role = el("span", { class: "chip" });
  #here = el("span", { class: "chip here", hidden: true }, "this page");
  #url = el("p", { class: "url mono" });
  #figures = el("p", { class: "figures" });

  constructor(node) {
    this.picture = icon("ok");
    this.node = el("li", { class: "member", "data-node": String(node) },
      el("div", { class: "title" }, this.picture, el("strong", {}, `Server ${node}`), this.#role, this.#here),
      this.#url, this.#figures);
  }

  show(member, { here, seenBy, leader, status }) {
    const up = isUp(member);
    const role = !up ? "missing" : member.node === leader ? "leader" : roleOf(member, Boolean(status));
    setAttribute(this.node, "data-role", role);
    setAttribute(this.node, "data-up", String(up));
    this.picture.firstChild.setAttribute("href", up ? "#i-ok" : "#i-bad");
    setText(this.#role, role);
    this.#here.hidden = member.node !== here;
    setText(this.#url, hostOf(member.url));
    // What the leader says of itself may be older than that it leads.
    const known = role === "leader" && status ? { ...member, epoch: status.epoch } : member;
    setText(this.#figures, up ? figures(known, role).join(" · ") : `server ${seenBy} does not reach it`);
  }

  /** The leadership came here: one quiet sign. */
  crown() {
    animate(this.node, { backgroundColor: ["var(--accent-soft)", "var(--surface)"] }, 180);
  }
}

/** The role of a member that the answering server does not follow. */
function roleOf({ state, role }, told) {
  // It has not heard yet that another one leads, or leads where the answering server is cut off.
  if (role === "leader") return "leader before";
  // A `Welcome` says only who the members are.
  return told ? (role ?? state) : "member";
}

/** What a missing server last said of itself tells nothing about now. */
function figures({ epoch, lag, links }, role) {
  const parts = [];
  if (epoch !== undefined) parts.push(`epoch ${count(epoch)}`);
  // The leader is what the others are behind.
  if (lag !== undefined && role !== "leader") parts.push(lag === 0 ? "in step" : `${plural(lag, "entry", "entries")} behind`);
  if (links !== undefined) parts.push(plural(links, "link"));
  return parts.map((part) => part.replaceAll(" ", "\u00a0"));
}

// Epoch and links stand on the server's card.
const FACTS = [
  ["Lookups", "readable", (readable) => (readable ? "answered here" : "not answered here")],
  ["Revision", "revision", lastDigits],
  ["Committed", "commit", (index) => `entry ${count(index)}`],
  ["Sessions", "sessions", count],
  ["Registrations", "registrations", count],
  ["Subscriptions", "subscriptions", count],
  ["Up for", "uptime_ms", duration],
  ["Version", "version", String],
];
