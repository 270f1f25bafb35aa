// The whole public surface of the browser client, used as an application uses it, with the exact type of all that comes
// back. It is compiled and never run (`cargo xtask test types`). What must not compile is in refused.ts.

import * as client from "rollcall-client";
import { Rollcall, Watch } from "rollcall-client";
import type {
  Address, Change, ConnectOptions, ErrorCode, Filter, Json, Meta, Registered, Registration, RollcallError, RollcallEvents,
  ServerUrl, State, Status, User, UserAddress, UserGone, UserHere, Welcome,
} from "rollcall-client";
import * as ordering from "rollcall-client/order.js";
import { Order } from "rollcall-client/order.js";
import type { Gap, OrderEvent, OrderOptions, Tagged } from "rollcall-client/order.js";
import { exactly, type Equal, type Holds } from "./exact.js";

// What there is: something new has to be used below as well ---------------------------------------------------------

export type Exports = Holds<Equal<keyof typeof client, "Rollcall" | "Watch">>;
export type OfClass = Holds<Equal<keyof typeof Rollcall, "prototype" | "connect">>;
export type OfRollcall = Holds<Equal<keyof Rollcall,
  | "connectUser" | "disconnectUser" | "getUserAddress" | "getSequenceNumber" | "subscribe" | "getStatus" | "ping"
  | "welcome" | "state" | "on" | "off" | "close" | "free" | typeof Symbol.dispose>>;
export type OfWatch = Holds<Equal<keyof Watch,
  | "users" | "revision" | "next" | "return" | "unsubscribe" | "free" | typeof Symbol.dispose | typeof Symbol.asyncIterator>>;
export type OfOptions = Holds<Equal<keyof ConnectOptions,
  "servers" | "clientId" | "timeout" | "minReconnectDelay" | "maxReconnectDelay" | "getToken" | "lazy">>;
export type OfEvents = Holds<Equal<keyof RollcallEvents,
  "state" | "failover" | "resync" | "sessionreplaced" | "registrationrenewed" | "registrationlost" | "message">>;

// Connecting --------------------------------------------------------------------------------------------------------

export async function connecting(maybe: string | undefined): Promise<Rollcall> {
  exactly<Promise<Rollcall>>()(Rollcall.connect({ servers: ["ws://127.0.0.1:7101/ws"] }));
  const servers: readonly ServerUrl[] = ["ws://127.0.0.1:7101/ws", "ws://127.0.0.1:7102/ws"];
  const options: Required<ConnectOptions> = {
    servers,
    clientId: "somebody",
    timeout: 5000,
    minReconnectDelay: 100,
    maxReconnectDelay: 5000,
    getToken: async () => "secret",
    lazy: true,
  };
  await Rollcall.connect(options);
  // An option that is not known is as good as left out.
  await Rollcall.connect({ servers, clientId: maybe, timeout: undefined, getToken: undefined, lazy: undefined });
  for (const getToken of [() => "secret", () => null, () => undefined, async () => null]) {
    await Rollcall.connect({ servers, getToken });
  }
  return Rollcall.connect({ servers });
}

// Registrations, lookups, numbers -----------------------------------------------------------------------------------

export async function calls(rollcall: Rollcall): Promise<void> {
  const meta: Meta = { role: "host", rooms: [1, 2], nested: { calm: true, since: null } };
  const registration: Required<Registration> = { ip: "203.0.113.7", port: 4711, device: "phone", meta };
  exactly<Promise<Registered>>()(rollcall.connectUser("ann", registration));
  await rollcall.connectUser("ann", { ip: "observed", port: 4711 });
  await rollcall.connectUser("ann", { ip: "2001:db8::7", port: 443, device: undefined, meta: undefined });
  exactly<Promise<Registered>>()(rollcall.disconnectUser("ann"));
  const { username, device, revision } = await rollcall.disconnectUser("ann", { device: "phone" });
  exactly<string>()(username);
  exactly<string>()(device);
  exactly<number>()(revision);

  const names: readonly string[] = ["ann", "bob"];
  const found = await rollcall.getUserAddress(names);
  exactly<UserAddress>()(found);
  exactly<User[]>()(found.users);
  exactly<string[]>()(found.unknown);
  exactly<number>()(found.revision);
  exactly<User | undefined>()(found.users[0]);
  const first = found.users[0]?.addresses[0];
  exactly<Address | undefined>()(first);
  if (first?.meta) exactly<Json | undefined>()(first.meta["role"]);
  for (const { device, ip, port, revision } of found.users.flatMap((user) => user.addresses)) {
    exactly<string>()(device);
    exactly<string>()(ip);
    exactly<number>()(port);
    exactly<number>()(revision);
  }

  exactly<Promise<number>>()(rollcall.getSequenceNumber());
  exactly<Promise<number>>()(rollcall.getSequenceNumber(5));
  exactly<Promise<void>>()(rollcall.ping());
  exactly<Promise<Status>>()(rollcall.getStatus());
  exactly<Welcome | null>()(rollcall.welcome);
  exactly<State>()(rollcall.state);
  exactly<void>()(rollcall.close());
}

export type RegisteredIs = Holds<Equal<Registered, { username: string; device: string; revision: number }>>;
export type UserIs = Holds<Equal<User, { username: string; addresses: Address[] }>>;
export type AddressIs = Holds<Equal<Address, { device: string; ip: string; port: number; meta?: Meta; revision: number }>>;
export type UserAddressIs = Holds<Equal<UserAddress, { users: User[]; unknown: string[]; revision: number }>>;

// Watching ----------------------------------------------------------------------------------------------------------

export async function watching(rollcall: Rollcall): Promise<void> {
  const filters: Filter[] = [{ usernames: ["ann", "bob"] }, { prefix: "team-" }, { all: true }];
  for (const filter of filters) exactly<Promise<Watch>>()(rollcall.subscribe(filter));
  const names: readonly string[] = ["ann"];
  await rollcall.subscribe({ usernames: names });
  await rollcall.subscribe({ all: true });
  const watch = await rollcall.subscribe({ prefix: "team-" });
  exactly<User[]>()(watch.users);
  exactly<number>()(watch.revision);

  for await (const change of watch) {
    exactly<Change>()(change);
    exactly<UserHere | UserGone>()(change);
    exactly<"UserConnected" | "UserUpdated" | "UserDisconnected">()(change.type);
    exactly<boolean>()(change.online);
    if (change.type === "UserDisconnected") {
      exactly<UserGone>()(change);
      exactly<"left" | "expired">()(change.reason);
    } else {
      exactly<UserHere>()(change);
      exactly<string>()(change.ip);
      exactly<number>()(change.port);
      exactly<Meta | undefined>()(change.meta);
    }
  }
  exactly<string>()(inWords({ type: "UserDisconnected", username: "ann", device: "default", reason: "expired", revision: 7, online: false, origin: "server/1" }));

  const next = await watch.next();
  exactly<IteratorResult<Change, undefined>>()(next);
  if (next.done) exactly<undefined>()(next.value);
  else exactly<Change>()(next.value);
  exactly<Promise<IteratorResult<Change, undefined>>>()(watch.return());
  exactly<Watch>()(watch[Symbol.asyncIterator]());
  const iterable: AsyncIterable<Change> = watch;
  for await (const { username, device, revision, origin } of iterable) {
    exactly<string>()(username);
    exactly<string>()(device);
    exactly<number>()(revision);
    exactly<string>()(origin);
  }
  exactly<Promise<void>>()(watch.unsubscribe());
}

/** Each case is known, and no further one: else this would lack a return. */
function inWords(change: Change): string {
  switch (change.type) {
    case "UserConnected":
    case "UserUpdated":
      return `${change.username} is at ${change.ip}:${change.port}`;
    case "UserDisconnected":
      return `${change.username} ${change.reason}`;
  }
}

// Messages in one order ---------------------------------------------------------------------------------------------

export type ExportsOfOrdering = Holds<Equal<keyof typeof ordering, "Order">>;
export type OfOrder = Holds<Equal<keyof Order,
  | "push" | "note" | "join" | "leave" | "end" | "poll" | "missing" | "next" | "return" | typeof Symbol.asyncIterator>>;
export type OfOrderOptions = Holds<Equal<keyof OrderOptions, "begin" | "patience" | "capacity" | "now">>;
export type GapIs = Holds<Equal<Gap, { from: string; first: number; last: number }>>;

interface Said {
  from: string;
  previous: number;
  number: number;
  text: string;
}

export async function ordered(maybe: number | undefined): Promise<void> {
  const options: Required<OrderOptions> = { begin: 7, patience: 500, capacity: 100, now: () => 0 };
  const order = new Order<Said>(options);
  exactly<Order<Tagged>>()(new Order());
  new Order({ begin: maybe, patience: undefined });
  exactly<void>()(order.push({ from: "ann#7", previous: 0, number: 8, text: "hello" }));
  exactly<void>()(order.note({ from: "ann#7", previous: 8, number: 9 }));
  exactly<void>()(new Order().push({ number: 8 }));
  exactly<void>()(order.join("bob#9"));
  exactly<void>()(order.leave("bob#9"));
  exactly<Gap[]>()(order.missing);
  exactly<OrderEvent<Said> | undefined>()(order.poll());
  for await (const event of order) {
    exactly<OrderEvent<Said>>()(event);
    if (event.type === "Missing") {
      exactly<string>()(event.from);
      exactly<number>()(event.first);
      exactly<number>()(event.last);
    } else {
      exactly<"Message" | "Late">()(event.type);
      exactly<Said>()(event.message);
    }
  }
  exactly<Promise<IteratorResult<OrderEvent<Said>, undefined>>>()(order.next());
  exactly<Promise<IteratorResult<OrderEvent<Said>, undefined>>>()(order.return());
  exactly<Order<Said>>()(order[Symbol.asyncIterator]());
  exactly<void>()(order.end());
}

// Events ------------------------------------------------------------------------------------------------------------

export function listening(rollcall: Rollcall): void {
  rollcall.on("state", ({ state, previous, retry_at_ms, code }) => {
    exactly<"connecting" | "connected" | "disconnected" | "closed">()(state);
    exactly<State>()(previous);
    exactly<number | undefined>()(retry_at_ms);
    exactly<ErrorCode | undefined>()(code);
  });
  rollcall.on("failover", ({ from, to, reason }) => {
    exactly<string>()(from);
    exactly<string>()(to);
    exactly<string>()(reason);
  });
  rollcall.on("resync", (event) => exactly<Record<string, never>>()(event));
  rollcall.on("sessionreplaced", (event) => exactly<{ username: string; device: string }>()(event));
  rollcall.on("registrationrenewed", (event) => exactly<{ username: string; device: string }>()(event));
  rollcall.on("registrationlost", (event) => exactly<{ username: string; device: string; code: ErrorCode }>()(event));
  rollcall.on("message", (event) => exactly<{ direction: "out" | "in"; text: string; at_ms: number }>()(event));
  const listener = ({ state }: RollcallEvents["state"]): void => exactly<State>()(state);
  exactly<void>()(rollcall.on("state", listener));
  exactly<void>()(rollcall.off("state", listener));
  const ignoring = (): void => {};
  for (const name of ["state", "failover", "resync", "sessionreplaced", "registrationrenewed", "registrationlost", "message"] as const) {
    rollcall.on(name, ignoring);
    rollcall.off(name, ignoring);
  }
}

export type StateEventIs = Holds<Equal<RollcallEvents["state"],
  { state: State; previous: State; retry_at_ms?: number; code?: ErrorCode }>>;

// Failures ----------------------------------------------------------------------------------------------------------

export type ErrorCodeIs = Holds<Equal<ErrorCode,
  | "malformed" | "unknown_type" | "invalid_argument" | "too_large" | "username_taken" | "not_owner" | "not_found"
  | "unauthenticated" | "forbidden" | "rate_limited" | "overloaded" | "no_quorum" | "outcome_unknown" | "stale_request"
  | "internal" | "timeout" | "closed" | "unreachable">>;

export async function failing(rollcall: Rollcall): Promise<ErrorCode | undefined> {
  try {
    await rollcall.connectUser("ann", { ip: "observed", port: 4711 });
    return undefined;
  } catch (error) {
    const { code, field, message } = error as RollcallError;
    exactly<ErrorCode>()(code);
    exactly<string | undefined>()(field);
    exactly<string>()(message);
    const isError: Error = error as RollcallError;
    return isError instanceof Error ? code : undefined;
  }
}

// What servers say of themselves ------------------------------------------------------------------------------------

export type StatusIs = Holds<Equal<Status, {
  node: number; cluster: string; role: "leader" | "follower" | "candidate" | "blank"; leader: number | null; epoch: number;
  readable: boolean; commit: number; revision: number;
  members: {
    node: number; url: ServerUrl; state: "up" | "down"; role?: "leader" | "follower" | "candidate" | "blank"; epoch?: number;
    lag?: number; links?: number;
  }[];
  version: string; uptime_ms: number; connections: number; sessions: number; registrations: number; users: number;
  subscriptions: number;
}>>;

export type WelcomeIs = Holds<Equal<Welcome, {
  node: number; client: string; version: number; cluster: string; session: number; resumed: boolean; next_id: number;
  observed: { ip: string; port: number }; leader: number | null; members: { node: number; url: ServerUrl }[];
  limits: {
    window: number; message_bytes: number; usernames: number; sequence_count: number; meta_bytes: number;
    subscriptions: number; devices: number;
  };
  session_grace_ms: number; heartbeat_ms: number;
}>>;
