// Every call of the browser client as an application writes it, in a page or a worker. It only reports what it saw;
// what is right is the test's to say. `127.0.0.1:7101` stands for the server under test.

import { Rollcall } from "http://127.0.0.1:7101/client/rollcall.js";

const servers = ["ws://127.0.0.1:7101/ws"];
const place = { ip: "203.0.113.9", port: 4712 };

/** The contract's example, each statement as it stands there; `say` is told as it goes. */
async function example(say) {
  const console = { log: (...words) => say("changes", words) };
  const { other, team } = await company();

  const rollcall = await Rollcall.connect({ servers: ["ws://127.0.0.1:7101/ws"] });   // learns the others
  await rollcall.connectUser("ann", { ip: "203.0.113.7", port: 4711 });               // held until disconnectUser or close
  const { users, unknown, revision } = await rollcall.getUserAddress(["ann", "bob"]);
  const first = await rollcall.getSequenceNumber();                                    // a number; getSequenceNumber(5) takes five
  const watch = await rollcall.subscribe({ prefix: "team-" });                         // watch.users: who is there now
  say("lookup", { users, unknown, revision });
  say("numbers", [first, await rollcall.getSequenceNumber(5), await rollcall.getSequenceNumber()]);
  say("team", watch.users.map(({ username, addresses }) => [username, addresses.length]));
  const loop = (async () => {
    for await (const change of watch) console.log(change.type, change.username);         // UserConnected, UserUpdated, UserDisconnected
  })();
  await team.changes();
  await heard(say, 4);
  await watch.unsubscribe();
  await loop;
  say("status", await rollcall.getStatus());
  say("welcome", rollcall.welcome);
  say("ping", (await rollcall.ping()) === undefined);
  const states = [];
  const never = () => states.push("a listener that was taken off was called");
  rollcall.on("state", never);
  rollcall.off("state", never);
  rollcall.on("state", ({ state, previous }) => {
    states.push([previous, state]);
  });                                 // connecting, connected, disconnected, closed
  const watchOfAnn = await other.subscribe({ usernames: ["ann"] });
  rollcall.close();                                                                    // disconnects what it held
  const { value: gone } = await watchOfAnn.next();
  say("gone", [gone.type, gone.username, gone.reason, gone.online]);
  say("states", states);
  say("afterClose", await refusal(() => rollcall.getSequenceNumber()));
  await team.leave();
}

/** Somebody else, who changes what the example watches. */
async function company() {
  const clientId = `somebody-${crypto.randomUUID()}`;
  const other = await Rollcall.connect({ servers, clientId });
  await other.connectUser("team-here", { ip: "observed", port: 1, meta: { role: "first" } });
  const changes = async () => {
    await other.connectUser("team-new", place);
    await other.connectUser("teamless", place);
    await other.connectUser("team-new", { ...place, port: 4713 });
    await other.connectUser("team-new", { ...place, device: "second" });
    await other.disconnectUser("team-new");
  };
  const leave = async () => {
    await other.disconnectUser("team-here");
    await other.disconnectUser("team-new", { device: "second" });
    await other.disconnectUser("teamless");
    other.close();
  };
  return { other, team: { changes, leave } };
}

/** Failed calls by the code they should have: what they are rejected with. */
async function refusals(say) {
  const holder = await Rollcall.connect({ servers, clientId: `holder-${crypto.randomUUID()}` });
  const rollcall = await Rollcall.connect({ servers, clientId: `asking-${crypto.randomUUID()}` });
  await holder.connectUser("taken", place);
  const tries = [
    ["invalid_argument username", () => rollcall.connectUser("white space", place)],
    ["invalid_argument port", () => rollcall.connectUser("ann", { ...place, port: 65536 })],
    ["invalid_argument ip", () => rollcall.connectUser("ann", { ...place, ip: "localhost" })],
    ["invalid_argument usernames", () => rollcall.getUserAddress([])],
    ["invalid_argument count", () => rollcall.getSequenceNumber(10001)],
    ["invalid_argument servers", () => Rollcall.connect({ servers: [] })],
    ["invalid_argument servers", () => Rollcall.connect({ servers: [`http://${location.host}/ws`] })],
    ["too_large meta", () => rollcall.connectUser("ann", { ...place, meta: { text: "x".repeat(1024) } })],
    ["username_taken", () => rollcall.connectUser("taken", place)],
    ["not_owner", () => rollcall.disconnectUser("taken")],
    ["not_found", () => rollcall.disconnectUser("nobody")],
    ["unreachable", () => Rollcall.connect({ servers: [`ws://${location.host}/nothing`], clientId: "unheard", timeout: 300 })],
  ];
  const found = [];
  for (const [expected, call] of tries) found.push([expected, await refusal(call)]);
  say("refusals", found);
  await holder.disconnectUser("taken");
  rollcall.close();
  holder.close();
}

/** The states a client goes through from the first. */
async function states(say) {
  const rollcall = await Rollcall.connect({ servers, clientId: `states-${crypto.randomUUID()}`, lazy: true });
  const seen = [];
  const closed = new Promise((resolve) => {
    rollcall.on("state", ({ state, previous }) => {
      seen.push([previous, state]);
      if (state === "closed") resolve();
    });
  });
  const before = rollcall.state;
  await rollcall.ping();
  rollcall.close();
  await closed;
  say("life", [before, ...seen, rollcall.state]);
}

/** Leaving the loop ends the watch. */
async function leftLoop(say) {
  const rollcall = await Rollcall.connect({ servers, clientId: `loop-${crypto.randomUUID()}` });
  const watch = await rollcall.subscribe({ all: true });
  await rollcall.connectUser("loop-user", place);
  const seen = [];
  for await (const change of watch) {
    seen.push([change.type, change.username]);
    break;
  }
  seen.push((await watch.next()).done);
  say("leftLoop", seen);
  await rollcall.disconnectUser("loop-user");
  rollcall.close();
}

async function refusal(call) {
  try {
    return { resolved: await call() };
  } catch (error) {
    const { code, field, message } = error;
    return { code, field, isError: error instanceof Error, hasMessage: typeof message === "string" && message !== "" };
  }
}

/** Waits until the example has been told this many changes. */
async function heard(say, count) {
  while ((say.told.changes ?? []).length < count) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Runs all of it and returns what was seen. */
export async function run() {
  const told = {};
  const say = (topic, value) => {
    if (topic === "changes") (told.changes ??= []).push(value);
    else told[topic] = value;
  };
  say.told = told;
  for (const part of [example, refusals, states, leftLoop]) await part(say);
  return told;
}
