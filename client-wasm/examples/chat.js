// A chat of several tabs. Rollcall says who is here and gives the numbers; the messages themselves travel from tab to
// tab over a bad network; `Order` puts them in the order of their numbers and says which are missing.

import { Rollcall } from "../client/rollcall.js";
import { Order } from "../client/order.js";
import { Network } from "./network.js";
import * as view from "./view.js";

const PREFIX = "chat-";
const PATIENCE_MS = 3000;
const scheme = location.protocol === "https:" ? "wss" : "ws";

const rollcall = await Rollcall.connect({ servers: [`${scheme}://${location.host}/ws`], lazy: true });
const network = new Network("rollcall-chat-example", arrive, (message) => me && view.lost(message));
view.state(rollcall.state);
rollcall.on("state", ({ state }) => view.state(state));

/** Who is here: a name, and which life of it. */
const people = new Map();
/** This tab's place in the chat, once it has joined. */
let me = null;
/** What arrives while this tab does not know yet where it begins. */
let early = null;

async function join(name) {
  early = [];
  // Whoever takes a number after this one has this tab among its listeners: from here on nothing may be missing.
  const begin = await rollcall.getSequenceNumber();
  // A tab that is loaded again does not know its last number: it is another sender, of the same name.
  const life = begin;
  await rollcall.connectUser(PREFIX + name, { ip: "observed", port: 1, meta: { life } });
  const order = new Order({ begin, patience: PATIENCE_MS });
  me = { name, from: `${name}#${life}`, order, last: 0, seen: begin, cluster: rollcall.welcome.cluster };
  follow(await rollcall.subscribe({ prefix: PREFIX }));
  read(order);
  early.forEach(arrive);
  setInterval(tellNothing, 1000);
}

/** Messages wait for whoever is here, until that one has said something later. */
async function follow(watch) {
  for (const { username, addresses } of watch.users) here(username, addresses[0]);
  view.people(people, me);
  for await (const { type, username, ...change } of watch) {
    if (type === "UserDisconnected") gone(username);
    else here(username, change);
    view.people(people, me);
  }
}

function here(username, { meta }) {
  gone(username);
  const name = username.slice(PREFIX.length);
  const from = `${name}#${meta?.life}`;
  people.set(username, { name, from });
  me.order.join(from);
}

function gone(username) {
  const known = people.get(username);
  if (known) me.order.leave(known.from);
  people.delete(username);
}

/** What is in order, or missing. */
async function read(order) {
  for await (const event of order) {
    view.ordered(event, me);
    view.waiting(order);
  }
}

/** One message after the other: each names the one before. */
let sending = Promise.resolve();
let unsent = 0;

function say(text) {
  unsent += 1;
  const sent = sending.then(() => send(text)).finally(() => {
    unsent -= 1;
    tellNothing();
  });
  sending = sent.catch(() => {}); // told to who asked; the next one goes on
  return sent;
}

async function send(text) {
  const number = await rollcall.getSequenceNumber();
  const message = { from: me.from, name: me.name, previous: me.last, number, text };
  me.last = number;
  network.send(message);
  arrive(message);
}

/** Says that nothing was sent after the last message. Who waits for a number must not: it may be a small one. */
function tellNothing() {
  if (unsent > 0) return;
  const note = { from: me.from, previous: me.last, number: Math.max(me.last, me.seen) };
  network.send(note);
  me.order.note(note);
  view.waiting(me.order);
}

/** The network has brought something, sooner or later. */
function arrive(message) {
  if (!me) return void early?.push(message);
  if (rollcall.welcome.cluster !== me.cluster) return location.reload(); // numbers have begun anew
  if (message.text === undefined) {
    me.order.note(message);
  } else {
    view.arrived(message, me);
    me.order.push(message);
    const isNews = message.number > me.seen;
    me.seen = Math.max(me.seen, message.number);
    if (isNews && message.from !== me.from) tellNothing();
  }
  view.waiting(me.order);
}

view.start({ join, say, network });

// For the tests.
window.rollcallChat = { network };
