// What the types must refuse: mistakes that are likely, one on the line below each `@ts-expect-error`. A mistake that
// compiles is an error of that line. It is compiled and never run (`cargo xtask test types`).

import { Rollcall, Watch } from "rollcall-client";
import { Order } from "rollcall-client/order.js";
import type { Change, ErrorCode, Filter, Meta, Registration, Status } from "rollcall-client";
// @ts-expect-error a name that the package does not export
import { Rollcal } from "rollcall-client";
// @ts-expect-error a file of the package that is its own business
import * as bindings from "rollcall-client/rollcall_bindings.js";
import { exactly } from "./exact.js";

export const unused = [Rollcal, bindings];

export async function connecting(): Promise<void> {
  const servers = ["ws://127.0.0.1:7101/ws"];
  // @ts-expect-error nobody is made a client without `connect`
  new Rollcall();
  // @ts-expect-error `servers` is required
  await Rollcall.connect({ timeout: 100 });
  // @ts-expect-error options are required
  await Rollcall.connect();
  // @ts-expect-error one server is a list of one
  await Rollcall.connect({ servers: "ws://127.0.0.1:7101/ws" });
  // @ts-expect-error a misspelt option
  await Rollcall.connect({ servers, timeOut: 100 });
  // @ts-expect-error a time is a number of milliseconds
  await Rollcall.connect({ servers, timeout: "5s" });
  // @ts-expect-error a token comes from a function
  await Rollcall.connect({ servers, getToken: "secret" });
  // @ts-expect-error a token is text
  await Rollcall.connect({ servers, getToken: () => 42 });
  // @ts-expect-error the client comes as a promise
  Rollcall.connect({ servers }).close();
}

export async function calling(rollcall: Rollcall): Promise<void> {
  // @ts-expect-error a port is a number
  await rollcall.connectUser("ann", { ip: "203.0.113.7", port: "4711" });
  // @ts-expect-error a port is required
  await rollcall.connectUser("ann", { ip: "203.0.113.7" });
  // @ts-expect-error an address is required
  await rollcall.connectUser("ann", { port: 4711 });
  // @ts-expect-error a misspelt option
  await rollcall.connectUser("ann", { ip: "observed", port: 4711, divice: "phone" });
  // @ts-expect-error the registration is required
  await rollcall.connectUser("ann");
  // @ts-expect-error metadata is an object
  await rollcall.connectUser("ann", { ip: "observed", port: 4711, meta: "calm" });
  // @ts-expect-error a function is nothing that JSON can write
  const meta: Meta = { call: () => {} };
  // @ts-expect-error a device is named by options
  await rollcall.disconnectUser("ann", "phone");
  // @ts-expect-error one name is a list of one
  await rollcall.getUserAddress("ann");
  // @ts-expect-error a count is a number
  await rollcall.getSequenceNumber("5");
  const { users } = await rollcall.getUserAddress(["ann"]);
  // @ts-expect-error a misspelt field
  users[0]?.adresses;
  // @ts-expect-error nobody may be there
  users[0].addresses;
  // @ts-expect-error not every registration has metadata
  users[0]?.addresses[0]?.meta["role"];
  // @ts-expect-error the state is read-only
  rollcall.state = "connected";
  // @ts-expect-error there is no welcome before the first link
  rollcall.welcome.node;
  // @ts-expect-error a call that does not exist
  rollcall.unsubscribe(1);
  exactly<Meta>()(meta);
}

export async function watching(rollcall: Rollcall): Promise<void> {
  // @ts-expect-error two filters at once
  await rollcall.subscribe({ prefix: "team-", all: true });
  // @ts-expect-error two filters at once
  await rollcall.subscribe({ usernames: ["ann"], prefix: "team-" });
  // @ts-expect-error no filter
  await rollcall.subscribe({});
  // @ts-expect-error a filter is required
  await rollcall.subscribe();
  // @ts-expect-error `all` says yes or is left out
  await rollcall.subscribe({ all: false });
  // @ts-expect-error a misspelt filter
  await rollcall.subscribe({ username: ["ann"] });
  // @ts-expect-error nobody makes a watch but `subscribe`
  new Watch();
  const watch = await rollcall.subscribe({ all: true });
  // @ts-expect-error changes come one after the other, with `for await`
  for (const change of watch) exactly<Change>()(change);
  for await (const change of watch) {
    // @ts-expect-error who is gone has no address
    change.ip;
    // @ts-expect-error who is there has no reason
    change.reason;
    // @ts-expect-error a type that no change has
    if (change.type === "UserLeft") return;
    // @ts-expect-error a misspelt field
    change.userName;
    if (change.type === "UserDisconnected") {
      // @ts-expect-error who is gone has no address
      change.port;
    }
  }
}

export function ordering(order: Order<{ from: string; previous: number; number: number; text: string }>): void {
  // @ts-expect-error a number is required
  order.note({ from: "ann", previous: 3 });
  // @ts-expect-error what the application's messages have is required
  order.push({ from: "ann", previous: 3, number: 4 });
  // @ts-expect-error messages have numbers
  new Order<{ text: string }>();
  // @ts-expect-error a misspelt option
  new Order({ patient: 100 });
  // @ts-expect-error a time is a number of milliseconds
  new Order({ patience: "1s" });
  // @ts-expect-error what is missing is read-only
  order.missing = [];
  const event = order.poll();
  // @ts-expect-error there may be nothing
  event.type;
  // @ts-expect-error what is missing has no message
  if (event?.type === "Missing") event.message;
  // @ts-expect-error a type that no event has
  if (event?.type === "message") return;
}

export function listening(rollcall: Rollcall): void {
  // @ts-expect-error an event that does not exist
  rollcall.on("close", () => {});
  // @ts-expect-error an event that does not exist
  rollcall.off("sessionReplaced", () => {});
  // @ts-expect-error a misspelt field
  rollcall.on("state", ({ prev }) => prev);
  // @ts-expect-error a field of another event
  rollcall.on("failover", ({ username }) => username);
  // @ts-expect-error a listener is required
  rollcall.on("state");
  // @ts-expect-error a state that does not exist
  rollcall.on("state", ({ state }) => state === "open");
}

// @ts-expect-error a code that does not exist
export const code: ErrorCode = "taken";
// @ts-expect-error two filters at once
export const filter: Filter = { usernames: ["ann"], all: true };
// @ts-expect-error an address is text
export const registration: Registration = { ip: 0x7f000001, port: 4711 };
// @ts-expect-error a role that does not exist
export const role: Status["role"] = "master";
