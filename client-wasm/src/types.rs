//! The TypeScript types of results and events, and the making of event objects.

use rollcall_shared::codec::json::Write as _;
use rollcall_shared::id::{Device, Username};
use rollcall_shared::session::{Code, State, WatchChange};
use rollcall_shared::time::Instant;
use wasm_bindgen::prelude::*;

use crate::host;

pub(crate) fn state(
    state: State,
    previous: State,
    retry_at: Option<Instant>,
    code: Option<Code>,
) -> JsValue {
    let event =
        host::object(&[("state", state.as_str().into()), ("previous", previous.as_str().into())]);
    if let Some(at) = retry_at {
        let wait_ms = at.as_micros().saturating_sub(host::now().as_micros()) / 1000;
        host::set(&event, "retry_at_ms", &((host::unix_ms() + wait_ms) as f64).into());
    }
    if let Some(code) = code {
        host::set(&event, "code", &code.as_str().into());
    }
    event
}

pub(crate) fn failover(from: &str, to: &str, reason: &str) -> JsValue {
    host::object(&[("from", from.into()), ("to", to.into()), ("reason", reason.into())])
}

pub(crate) fn registration(username: &Username, device: &Device, code: Option<Code>) -> JsValue {
    let event =
        host::object(&[("username", username.as_str().into()), ("device", device.as_str().into())]);
    if let Some(code) = code {
        host::set(&event, "code", &code.as_str().into());
    }
    event
}

pub(crate) fn traced(direction: &str, text: &str) -> JsValue {
    host::object(&[
        ("direction", direction.into()),
        ("text", text.into()),
        ("at_ms", (host::unix_ms() as f64).into()),
    ])
}

/// A change as it is pushed: its payload, with the message's type and origin beside it.
pub(crate) fn change(change: &WatchChange) -> JsValue {
    let mut payload = String::new();
    change.change.write(&mut payload);
    let value = host::json(&payload);
    host::set(&value, "type", &change.kind.tag().into());
    host::set(&value, "origin", &(&*change.origin).into());
    value
}

// An option that may be left out may also be `undefined`, whatever `exactOptionalPropertyTypes` says:
// that is how it is read. What comes back has no property where there is nothing to say. The
// references are for what wasm-bindgen and `for await` take for granted.
#[cfg_attr(not(test), expect(dead_code, reason = "wasm-bindgen's use of it is not seen as one"))]
const TYPES: &str = r#"
/// <reference lib="es2018.asynciterable" />
/// <reference lib="esnext.disposable" />

/** A WebSocket URL, such as "ws://127.0.0.1:7101/ws". */
export type ServerUrl = string;

export interface ConnectOptions {
  /** Servers to try in turn. One is enough: the client learns of the others. */
  servers: readonly ServerUrl[];
  /** Who this client is: a secret of 1–64 of `A-Z a-z 0-9 . _ -`. By default random, and kept over reloads of the tab. */
  clientId?: string | undefined;
  /** How long a call may take with all its retries, in milliseconds. Default 5000. */
  timeout?: number | undefined;
  /** The shortest wait before a lost link is opened again, in milliseconds. Default 100. */
  minReconnectDelay?: number | undefined;
  /** The longest wait before a lost link is opened again, in milliseconds. Default 5000. */
  maxReconnectDelay?: number | undefined;
  /** Gives the token to show, before each link is opened. */
  getToken?: (() => string | null | undefined | Promise<string | null | undefined>) | undefined;
  /** Resolve at once instead of waiting for a server; calls wait for one then. */
  lazy?: boolean | undefined;
}

/** Why a call failed. */
export type ErrorCode =
  | "malformed" | "unknown_type" | "invalid_argument" | "too_large"
  | "username_taken" | "not_owner" | "not_found"
  | "unauthenticated" | "forbidden" | "rate_limited" | "overloaded"
  | "no_quorum" | "outcome_unknown" | "stale_request" | "internal"
  | "timeout" | "closed" | "unreachable";

/** What failed calls reject with. */
export interface RollcallError extends Error {
  code: ErrorCode;
  /** The argument at fault. */
  field?: string;
}

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
/** What an application keeps with a registration: at most 1024 bytes as JSON. */
export type Meta = { readonly [key: string]: Json };

export interface Registration {
  /** An IPv4 or IPv6 address, or "observed": the one the server sees this client at. */
  ip: string;
  /** 1 … 65535. */
  port: number;
  /** Which of the user's devices; "default" if left out. */
  device?: string | undefined;
  meta?: Meta | undefined;
}

export interface Registered {
  username: string;
  device: string;
  revision: number;
}

export interface Address {
  device: string;
  ip: string;
  port: number;
  meta?: Meta;
  revision: number;
}

export interface User {
  username: string;
  addresses: Address[];
}

export interface UserAddress {
  /** Who is online. */
  users: User[];
  /** Who is not. */
  unknown: string[];
  /** The revision all of it is true at. */
  revision: number;
}

/** Whom a watch is about: exactly one of these. */
export type Filter =
  | { usernames: readonly string[]; prefix?: undefined; all?: undefined }
  | { prefix: string; usernames?: undefined; all?: undefined }
  | { all: true; usernames?: undefined; prefix?: undefined };

interface ChangeBase {
  username: string;
  device: string;
  revision: number;
  /** Whether any device of the user is there after it. */
  online: boolean;
  /** The server that told, as "server/2". */
  origin: string;
}

/** A device appeared, or is reached differently. */
export interface UserHere extends ChangeBase {
  type: "UserConnected" | "UserUpdated";
  ip: string;
  port: number;
  meta?: Meta;
}

/** A device is gone. */
export interface UserGone extends ChangeBase {
  type: "UserDisconnected";
  reason: "left" | "expired";
}

export type Change = UserHere | UserGone;

/** How one server sees itself and the cluster. */
export interface Status {
  node: number;
  /** This life of the cluster; "" while the server does not know it. */
  cluster: string;
  /** A blank server holds nothing yet and waits to be taken in. */
  role: "leader" | "follower" | "candidate" | "blank";
  leader: number | null;
  /** The number of the leadership. */
  epoch: number;
  /** Whether the server would answer lookups by itself now. */
  readable: boolean;
  /** The last entry of the log that the server knows to be committed. */
  commit: number;
  revision: number;
  /** All servers as this one sees them. What is not known of one is left out. */
  members: {
    node: number;
    url: ServerUrl;
    /** Whether it is linked to the server that answers, and heard from. */
    state: "up" | "down";
    role?: "leader" | "follower" | "candidate" | "blank";
    epoch?: number;
    /** Entries of the leader's log that it had not received yet. */
    lag?: number;
    /** Client links of it. */
    links?: number;
  }[];
  version: string;
  uptime_ms: number;
  connections: number;
  sessions: number;
  registrations: number;
  users: number;
  subscriptions: number;
}

export interface Welcome {
  node: number;
  client: string;
  version: number;
  cluster: string;
  session: number;
  resumed: boolean;
  next_id: number;
  observed: { ip: string; port: number };
  leader: number | null;
  members: { node: number; url: ServerUrl }[];
  limits: {
    window: number;
    message_bytes: number;
    usernames: number;
    sequence_count: number;
    meta_bytes: number;
    subscriptions: number;
    devices: number;
  };
  session_grace_ms: number;
  heartbeat_ms: number;
}

export type State = "connecting" | "connected" | "disconnected" | "closed";

export interface RollcallEvents {
  /** `retry_at_ms`: when it tries again, as `Date.now()` counts; `code`: why it closed. */
  state: { state: State; previous: State; retry_at_ms?: number; code?: ErrorCode };
  /** Another server serves this client now. */
  failover: { from: ServerUrl; to: ServerUrl; reason: string };
  /** A watch missed changes; the differences follow as changes. */
  resync: Record<string, never>;
  /** Another session of the same principal took over a registration: it is held no more. */
  sessionreplaced: { username: string; device: string };
  /** A registration had ended with its session and was made again: others saw it go and come. */
  registrationrenewed: { username: string; device: string };
  /** A registration ended with its session and was refused afterwards: it is held no more. */
  registrationlost: { username: string; device: string; code: ErrorCode };
  /** A message as it travels. It may show the client id and the token, which are secrets. */
  message: { direction: "out" | "in"; text: string; at_ms: number };
}

export interface Rollcall {
  /** Calls `listener` for every event of this name, until `off`. */
  on<Name extends keyof RollcallEvents>(event: Name, listener: (event: RollcallEvents[Name]) => void): void;
  /** Calls `listener` no more. */
  off<Name extends keyof RollcallEvents>(event: Name, listener: (event: RollcallEvents[Name]) => void): void;
}

export interface Watch {
  /** The next change; `done` once the watch has ended. Rejects, once, where the cluster ended it. */
  next(): Promise<IteratorResult<Change, undefined>>;
  /** Ends the watch, as leaving a `for await` loop does. */
  return(): Promise<IteratorResult<Change, undefined>>;
  [Symbol.asyncIterator](): Watch;
}
"#;

#[wasm_bindgen(typescript_custom_section)]
const SECTION: &str = TYPES;

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_shared::message::ErrorCode;

    /// The texts of a union of texts, sorted.
    fn union(name: &str) -> Vec<&'static str> {
        let start = format!("export type {name} =");
        let (_, rest) = TYPES.split_once(&start).expect("the type is there");
        let (body, _) = rest.split_once(';').expect("it ends");
        let mut texts: Vec<_> = body.split('"').skip(1).step_by(2).collect();
        texts.sort_unstable();
        texts
    }

    #[test]
    fn the_codes_are_those_that_calls_fail_with() {
        let codes = ErrorCode::ALL.into_iter().map(Code::Refused);
        let codes = codes.chain([Code::Timeout, Code::Closed, Code::Unreachable]);
        let mut codes: Vec<_> = codes.map(Code::as_str).collect();
        codes.sort_unstable();
        assert_eq!(union("ErrorCode"), codes);
    }

    #[test]
    fn the_states_are_those_a_session_has() {
        let states = [State::Closed, State::Connected, State::Connecting, State::Disconnected];
        assert_eq!(union("State"), states.map(State::as_str));
    }
}
