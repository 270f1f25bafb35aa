// A page that takes numbers without pause, stays registered and watches everybody, while a test breaks things.
// It only reports what it saw; what is right is the test's to say. `127.0.0.1:7101` stands for a server under test.

import { Rollcall } from "http://127.0.0.1:7101/client/rollcall.js";

const name = new URLSearchParams(location.search).get("name");
const pause = 20; // between two calls, in milliseconds
const seen = { calls: [], numbers: [], failures: [], changes: [], resync: null };
const fail = (why) => seen.failures.push(`${new Date().toISOString()} ${why}`);

const rollcall = await Rollcall.connect({ servers: ["ws://127.0.0.1:7101/ws"] });
rollcall.on("resync", () => (seen.resync ??= seen.changes.length));
for (const end of ["sessionreplaced", "registrationrenewed", "registrationlost"])
  rollcall.on(end, (event) => fail(`${end} ${JSON.stringify(event)}`));
await rollcall.connectUser(name, { ip: "observed", port: 4711 });
const watch = await rollcall.subscribe({ all: true });
seen.from = watch.revision;

// The recipe of docs/clients.md.
const here = new Map();
const key = ({ username, device }) => `${username} ${device}`;
for (const { username, addresses } of watch.users)
  for (const address of addresses) here.set(key({ username, ...address }), { username, ...address });

async function follow() {
  for await (const change of watch) {
    seen.changes.push([change.revision, change.type, change.username]);
    if (change.type === "UserDisconnected") here.delete(key(change));
    else here.set(key(change), change);
  }
  fail("the watch has ended");
}

let ending = false;
async function call() {
  while (!ending) {
    const [at, began] = [Date.now(), performance.now()];
    try {
      seen.numbers.push(await rollcall.getSequenceNumber());
    } catch (error) {
      fail(`a number: ${error.code} ${error.message}`);
    }
    seen.calls.push([at, performance.now() - began]);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

const following = follow().catch((error) => fail(`the watch: ${error.code} ${error.message}`));
const calling = call();

/** How many calls have ended. */
window.served = () => seen.calls.length;
/** Ends the calls, for nobody may write any more when the directory is looked up. */
window.rest = async () => {
  ending = true;
  await calling;
  return true;
};
/** The revision of the last change. */
window.revision = () => seen.changes.at(-1)?.[0] ?? seen.from;
/** What was seen, and who is there by the changes and by the watch itself. */
window.report = () => ({ ...seen, here: [...here.values()], users: watch.users });
window.ready = true;
