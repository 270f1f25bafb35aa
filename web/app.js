// Owns the wiring: builds the parts, connects them, and starts. What each part does is in its own module.

import { Activity } from "./activity.js";
import { Cluster } from "./cluster.js";
import { Detail } from "./detail.js";
import { byId, copiesOnClick, setIcon, setText } from "./dom.js";
import { Feed } from "./feed.js";
import { showHealth } from "./health.js";
import { Live } from "./live.js";
import { PeopleList } from "./people.js";
import { Store } from "./store.js";
import { everySecond } from "./time.js";
import { TryIt } from "./tryit.js";

/** Characters of the cluster's id that tell it from others; all of them are in its title. */
const ID_SHOWN = 8;

const store = new Store();
const live = new Live(store);
const people = new PeopleList(store);
const detail = new Detail(store);
const feed = new Feed(store);
const cluster = new Cluster();
const tryIt = new TryIt(live);
new Activity(store);

const server = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
const filter = byId("filter");

// The end-to-end tests and curious people look here.
window.rollcallConsole = {
  people: () => [...store.values()].map(({ username, device, ip, port, meta, revision }) => ({ username, device, ip, port, meta, revision })),
  state: () => live.picture().state,
  store,
};

function showPicture() {
  const picture = live.picture();
  document.body.dataset.state = picture.state;
  document.body.dataset.view = viewOf(picture);
  showHealth(picture, store.people);
  cluster.show(picture);
  showClusterId(picture.status?.cluster || picture.welcome?.cluster);
  if (picture.refused) notAllowed(picture.refused);
  else byId("notice").hidden = true;
}

/** Which picture is shown: "last" where it is known to be an old one. */
function viewOf({ standing, watching }) {
  if (standing === "refused") return "refused";
  if (!watching) return "loading";
  return ["silent", "cut off", "closed"].includes(standing) ? "last" : "live";
}

function showClusterId(id) {
  const button = byId("cluster-id");
  button.hidden = id === undefined;
  if (id === undefined) return;
  setText(button, id.slice(0, ID_SHOWN));
  button.dataset.id = id;
  button.title = `Cluster ${id}: click to copy`;
}

function notAllowed(code) {
  const words = code === "forbidden"
    ? ["Not allowed", "The token is valid but does not allow watching everyone."]
    : [shown === undefined ? "This cluster asks who you are" : "The servers do not accept this token",
      `Give ${shown === undefined ? "a token that the servers accept" : "another one"}. It stays in this tab, until it is closed or reloaded.`];
  const appears = byId("notice").hidden;
  notice("lock", ...words);
  const form = byId("token-form");
  form.hidden = false;
  if (appears) form.elements.token.select();
}

function notice(picture, title, text) {
  const node = byId("notice");
  node.classList.toggle("bad", picture === "bad");
  setIcon(node, picture);
  setText(byId("notice-title"), title);
  setText(byId("notice-text"), text);
  node.hidden = false;
}

function unusable(title, text) {
  document.body.dataset.view = "unusable";
  document.body.dataset.state = "closed";
  notice("bad", title, text);
}

function listen() {
  live.onPicture = showPicture;
  live.onNote = ({ tone, text }) => feed.note(tone, text);
  everySecond(() => live.tick());
  people.onChoose = (entry) => detail.show(entry);
  detail.onClose = () => {
    people.choose(null);
    byId("people").focus();
  };
  filter.addEventListener("input", () => {
    setText(byId("nomatch-text"), filter.value.trim());
    people.filterBy(filter.value);
  });
  byId("nomatch-clear").addEventListener("click", clearFilter);
  byId("empty-tryit").addEventListener("click", () => tryIt.open(true));
  copiesOnClick(byId("empty-copy"), () => byId("empty-command").textContent);
  copiesOnClick(byId("cluster-id"), () => byId("cluster-id").dataset.id);
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    void start(event.target.elements.token.value);
  });
  document.addEventListener("keydown", keys);
  document.addEventListener("visibilitychange", () => document.hidden || live.look());
  // What this page joined leaves with it, at once rather than after the grace period.
  addEventListener("pagehide", (event) => event.persisted || live.rollcall?.close());
}

function clearFilter() {
  filter.value = "";
  filter.dispatchEvent(new Event("input"));
  filter.focus();
}

function keys(event) {
  const typing = event.target.matches?.("input, textarea, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    filter.focus();
    filter.select();
  } else if (event.key === "Escape") {
    if (event.target === filter && filter.value !== "") clearFilter();
    else if (detail.open) detail.onClose();
    else if (tryIt.isOpen) tryIt.open(false);
  }
}

let client;
/** The token that was given last. */
let shown;

async function start(token) {
  shown = token;
  await live.start({ Rollcall: client, servers: [server], token });
  if (live.rollcall) tryIt.connected(live.rollcall);
  setText(byId("empty-command"), commandThatJoins());
}

/** For a terminal: with what its defaults, those of a local cluster without tokens, do not say. */
function commandThatJoins() {
  const local = location.hostname === "127.0.0.1" && ["7101", "7102", "7103"].includes(location.port);
  const command = `rollcall connect ann 203.0.113.7 4711${local ? "" : ` --server ${server}`}`;
  return shown === undefined ? command : `ROLLCALL_TOKEN=your-token ${command}`;
}

async function main() {
  listen();
  showPicture();
  if (typeof WebAssembly !== "object" || typeof WebSocket !== "function") {
    return unusable("This browser cannot show the console", "It needs WebAssembly and WebSocket: any current Firefox, Chrome, Edge or Safari has both.");
  }
  try {
    ({ Rollcall: client } = await import("./client/rollcall.js"));
  } catch (error) {
    console.error(error);
    return unusable("The browser client did not load", `This page got no ${location.host}/client/rollcall.js it could run. Reload; if that does not help, look at the server's log.`);
  }
  await start();
}

await main();
