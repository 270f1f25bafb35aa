// A page that holds a registration, follows everybody and keeps what it is told and what happens to it.

import { Rollcall } from "http://127.0.0.1:7101/client/rollcall.js";

const seen = { changes: [], states: [], news: [], page: [], gaps: [] };
for (const name of ["visibilitychange", "freeze", "resume"]) {
  document.addEventListener(name, () => seen.page.push(name));
}
for (const name of ["online", "offline", "pageshow"]) {
  addEventListener(name, ({ persisted }) => seen.page.push(persisted ? `${name} again` : name));
}

const name = new URLSearchParams(location.search).get("as") ?? "page";
const found = sessionStorage.getItem("rollcall.clientId");
const rollcall = await Rollcall.connect(OPTIONS);
const watch = await rollcall.subscribe({ all: true });
const { revision } = await rollcall.connectUser(name, { ip: "observed", port: 4711 });
rollcall.on("state", (event) => seen.states.push(event));
for (const name of ["resync", "sessionreplaced", "registrationrenewed", "registrationlost"]) {
  rollcall.on(name, () => seen.news.push(name));
}

// How long after the one before each timer of a tenth of a second came.
let ticked = performance.now();
function tick() {
  const now = performance.now();
  seen.gaps.push(Math.round(now - ticked));
  ticked = now;
  setTimeout(tick, 100);
}
tick();

// Somebody has to listen to messages so that their times are known.
let heard = performance.now();
rollcall.on("message", () => (heard = performance.now()));

window.life = {
  rollcall,
  /** The client id that the tab had stored before. */
  found,
  revision,
  seen,
  /** For how many milliseconds no timer has run. */
  still: () => performance.now() - ticked,
  /** For how many milliseconds nothing has been said or heard. */
  silent: () => performance.now() - heard,
};
for await (const { type, username, revision } of watch) seen.changes.push([type, username, revision]);
