// What the chat shows, and its forms. Nothing here knows how messages travel or are put in order.

import { byId, el, icon, lastDigits, plural, setText, userText } from "../dom.js";

const WORDS = { connecting: "Connecting", connected: "Connected", disconnected: "Cut off", closed: "Closed" };
/** What arrived stays listed so long. */
const LINES = 500;

export function start({ join, say, network }) {
  const name = byId("join").elements.name;
  name.value = new URLSearchParams(location.search).get("name") ?? "ann";
  byId("join").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await tried("join-result", () => join(name.value.trim()))) joined();
  });
  byId("say").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = byId("text").value;
    byId("text").value = "";
    const sent = await tried("say-result", () => say(text));
    if (!sent && byId("text").value === "") byId("text").value = text;
  });
  byId("five").addEventListener("click", () => {
    for (const word of ["one", "two", "three", "four", "five"]) tried("say-result", () => say(word));
  });
  byId("drop").addEventListener("click", () => {
    network.loseNext = !network.loseNext;
    byId("drop").setAttribute("aria-pressed", String(network.loseNext));
  });
  slider("delay", (ms) => `${ms / 1000} s`, (ms) => (network.delay = ms));
  slider("loss", (percent) => `${percent} %`, (percent) => (network.loss = percent));
  if (new URLSearchParams(location.search).has("name")) byId("join").requestSubmit();
}

function joined() {
  document.body.dataset.joined = "";
  byId("join").hidden = true;
  byId("second").hidden = false;
  for (const control of byId("say").elements) control.disabled = false;
  byId("text").focus();
}

/** Does something that may fail, and says so. */
async function tried(result, work) {
  const output = byId(result);
  try {
    await work();
    setText(output, "");
    return true;
  } catch (error) {
    output.dataset.tone = "bad";
    setText(output, error.code === "username_taken" ? "That name is taken." : error.message);
    return false;
  }
}

function slider(id, words, set) {
  const show = () => {
    setText(byId(`${id}-value`), words(byId(id).valueAsNumber));
    set(byId(id).valueAsNumber);
  };
  byId(id).addEventListener("input", show);
  show();
}

export function state(state) {
  document.body.dataset.state = state;
  setText(byId("page-state").lastElementChild, WORDS[state]);
}

export function people(people, me) {
  const names = [...people.values()].map(({ name }) => name).sort();
  const own = (name) => (name === me.name ? el("small", {}, "you") : null);
  byId("people").replaceChildren(
    ...names.map((name) => el("li", {}, el("i", { class: "dot", "aria-hidden": "true" }), userText(name), own(name))),
  );
  byId("people-empty").hidden = names.length > 0;
  const free = ["ann", "bob", "cleo", "dan", "eve"].find((name) => !names.includes(name)) ?? `guest${names.length}`;
  byId("second-link").href = `./chat.html?name=${free}`;
}

/** The largest number that arrived. */
let newest = 0;

export function arrived(message, me) {
  const late = message.number < newest;
  newest = Math.max(newest, message.number);
  append("arrived", line(message, me, late && el("span", { class: "chip out" }, "out of order")));
}

/** Known to the network only: the application has to find out. */
export function lost(message) {
  byId("drop").setAttribute("aria-pressed", "false");
  if (message.text === undefined) return;
  const shown = line(message, null, el("span", { class: "chip" }, "lost on purpose"));
  shown.classList.add("dropped");
  append("arrived", shown);
}

/** A message at its place, or what is missing there. */
export function ordered(event, me) {
  if (event.type === "Missing") return place(event.last, missing(event));
  const late = event.type === "Late" && el("span", { class: "chip out" }, "late");
  const known = find(event.message.number);
  if (known?.classList.contains("missing")) known.remove();
  place(event.message.number, line(event.message, me, late));
}

/** What holds messages back at the moment. */
export function waiting(order) {
  const gaps = order.missing;
  const first = gaps[0] && `${nameOf(gaps[0].from)}’s ${lastDigits(gaps[0].last)}`;
  const more = gaps.length > 1 ? ` and ${plural(gaps.length - 1, "other")}` : "";
  setText(byId("waiting"), first ? `waiting for ${first}${more}` : "");
}

function missing({ from, last }) {
  const words = el("span", { class: "words" }, "A message of ", userText(nameOf(from)), " is missing");
  return el("li", { class: "missing", "data-number": last }, number(last), icon("warn"), words);
}

function line(message, me, chip) {
  const words = el("span", { class: "words" }, el("b", {}, userText(message.name)), userText(message.text));
  const own = me && message.from === me.from ? "own" : "";
  return el("li", { class: own, "data-number": message.number }, number(message.number), words, chip);
}

const number = (n) => el("span", { class: "number mono", title: `Number ${n}` }, lastDigits(n));

/** The name of a sender's life. */
const nameOf = (from) => from.slice(0, from.lastIndexOf("#"));

const find = (wanted) => byId("ordered").querySelector(`[data-number="${wanted}"]`);

/** Adds a line where its number belongs: at the end but for what is late. */
function place(number, shown) {
  const lines = [...byId("ordered").children];
  const before = lines.findLast((line) => Number(line.dataset.number) < number);
  const scroll = byId("ordered-scroll");
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;
  if (before) before.after(shown);
  else byId("ordered").prepend(shown);
  byId("ordered-empty").hidden = true;
  if (atEnd) scroll.scrollTop = scroll.scrollHeight;
}

function append(list, shown) {
  const scroll = byId(`${list}-scroll`);
  byId(list).append(shown);
  if (byId(list).childElementCount > LINES) byId(list).firstElementChild.remove();
  byId(`${list}-empty`).hidden = true;
  scroll.scrollTop = scroll.scrollHeight;
}
