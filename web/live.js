// Owns this page's one connection to the cluster: the watch that keeps the store right, the regular question for the
// status, and the state of the link. It uses the public browser client only. It draws nothing: what it learns goes to
// the listeners, and `picture()` says how things stand.

import { hostOf } from "./dom.js";
import { census, isUp, MOVING_MS, standing } from "./standing.js";

/** How often the status is asked for while someone looks. Servers answer it by themselves, from what they know. */
const STATUS_MS = 1000;
/** How often while it is about to be another one: a leader is looked for, a server catches up, this page moves. */
const UNSETTLED_MS = 250;
/** What lasts longer than this is not about to change. */
const SETTLED_MS = 15_000;
/** The longest wait before another server is tried. Someone looks at this page, and there are few such pages. */
const RECONNECT_LONGEST_MS = 2000;
/** Wait before asking again for a watch that was refused; doubles up to the longest. */
const AGAIN_MS = 500;
const AGAIN_LONGEST_MS = 8000;

/** Refusals that asking again cannot cure. */
const REFUSED = new Set(["unauthenticated", "forbidden"]);

export class Live {
  /** Called after each change of the picture. */
  onPicture = () => {};
  /** Called with `{tone, text}` when something worth a line in the feed happened. */
  onNote = () => {};

  rollcall = null;

  #store;
  #picture = {
    /** As the client says it, but a try in between two failures is still "disconnected". */
    state: "connecting",
    /** When the state began, or the outage that it is part of. */
    since: Date.now(),
    retryAt: null,
    /** Tries that have failed since a server last answered. */
    tries: 0,
    status: null,
    statusAt: 0,
    /** Since when a status is owed by the server of the link. */
    asked: null,
    /** Since when the statuses name no leader. */
    unledSince: null,
    /** Since when there is something that should soon be otherwise. */
    unsettledSince: null,
    welcome: null,
    refused: null,
    noQuorum: false,
    watching: false,
    standing: "connecting",
  };
  /** Since when it is cut off, as the feed has said. */
  #cutOffSince = null;
  /** The last life of the cluster that is known. */
  #life = "";
  #wakers = new Set();
  #run = 0;

  constructor(store) {
    this.#store = store;
  }

  picture() {
    return this.#picture;
  }

  /** Connects, for good; called again, it starts anew (with a token). */
  async start({ Rollcall, servers, token }) {
    this.#run += 1;
    const run = this.#run;
    this.rollcall?.close();
    this.#set({ state: "connecting", since: Date.now(), tries: 0, refused: null, watching: false });
    try {
      const options = { servers, lazy: true, maxReconnectDelay: RECONNECT_LONGEST_MS };
      const rollcall = await Rollcall.connect({ ...options, ...(token && { getToken: () => token }) });
      if (run !== this.#run) return rollcall.close();
      this.rollcall = rollcall;
    } catch (error) {
      return this.#failed(error);
    }
    this.#listen(this.rollcall, run);
    void this.#watch(this.rollcall, run);
    void this.#poll(this.rollcall, run);
  }

  #listen(rollcall, run) {
    const on = (name, work) => rollcall.on(name, (event) => run === this.#run && work(event ?? {}));
    on("state", (event) => this.#stateChanged(event, rollcall.welcome));
    on("failover", ({ to }) => {
      const node = rollcall.welcome?.node;
      this.onNote({ tone: "link", text: `This page moved to ${node === undefined ? "" : `server ${node}, `}${hostOf(to)}` });
      this.#wake();
    });
  }

  #stateChanged({ state, retry_at_ms: retryAt, code }, welcome = null) {
    const { state: previous, tries } = this.#picture;
    if (REFUSED.has(code)) this.#set({ refused: code });
    if (state === "connecting" && previous !== "connected") {
      // A try in between is still the same outage: the count goes on from when it began.
      this.#set({ retryAt: null });
    } else if (state === "disconnected" && previous !== "connected") {
      this.#set({ state, tries: tries + 1, retryAt: retryAt ?? null });
    } else if (state !== previous) {
      const now = Date.now();
      const asked = state === "connected" && !document.hidden ? now : null;
      this.#set({ state, since: now, tries: 0, asked, retryAt: retryAt ?? null, welcome: welcome ?? this.#picture.welcome });
      // By then it has moved, or is cut off.
      if (state !== "connected") setTimeout(() => this.look(), MOVING_MS + 1);
    }
    this.#wake();
  }

  /** Keeps the store right for as long as this run lasts. */
  async #watch(rollcall, run) {
    let wait = AGAIN_MS;
    while (run === this.#run) {
      try {
        const watch = await rollcall.subscribe({ all: true });
        if (run !== this.#run) return;
        this.#store.reset(watch.users);
        this.#reached(rollcall, { watching: true, noQuorum: false });
        wait = AGAIN_MS;
        for await (const change of watch) {
          if (run !== this.#run) return;
          this.#store.apply(change);
        }
      } catch (error) {
        if (run !== this.#run || this.#failed(error)) return;
      }
      await this.#sleep(wait);
      wait = Math.min(2 * wait, AGAIN_LONGEST_MS);
    }
  }

  /** Asks for the status regularly while the page is visible, and at once when something happened. */
  async #poll(rollcall, run) {
    while (run === this.#run) {
      if (!document.hidden) {
        this.#picture.asked ??= Date.now();
        try {
          const status = await rollcall.getStatus();
          if (run !== this.#run) return;
          this.#takeStatus(rollcall, status);
        } catch (error) {
          if (run !== this.#run || this.#failed(error)) return;
        }
      }
      await this.#sleep(this.#isUnsettled() ? UNSETTLED_MS : STATUS_MS);
    }
  }

  #takeStatus(rollcall, status) {
    const now = Date.now();
    const { status: before, unledSince, unsettledSince, noQuorum } = this.#picture;
    const unled = status.leader === null;
    const settled = !unled && census(status).blank.length === 0;
    this.#tellDifferences(before, status);
    this.#reached(rollcall, {
      status,
      statusAt: now,
      asked: null,
      tries: 0,
      // The status is answered without a quorum too: only a leader proves one.
      noQuorum: noQuorum && unled,
      unledSince: unled ? (unledSince ?? now) : null,
      unsettledSince: settled ? null : (unsettledSince ?? now),
    });
  }

  #isUnsettled() {
    const { state, since, unsettledSince } = this.#picture;
    const from = state === "disconnected" ? since : unsettledSince;
    return from !== null && Date.now() - from < SETTLED_MS;
  }

  #reached(rollcall, news) {
    const linked = this.#picture.state !== "connected" && rollcall.state === "connected" ? { state: "connected", since: Date.now() } : {};
    this.#set({ ...linked, ...news, welcome: rollcall.welcome ?? this.#picture.welcome });
  }

  /** Takes note of a failure; returns whether it is final. */
  #failed(error) {
    const code = error?.code;
    if (REFUSED.has(code)) {
      this.#set({ refused: code });
      return true;
    }
    if (code === "no_quorum") this.#set({ noQuorum: true });
    if (code === undefined) console.error(error);
    return code === "closed";
  }

  #tellDifferences(before, after) {
    const life = this.#life;
    this.#life = after.cluster || life;
    if (!before) return;
    if (life !== "" && life !== this.#life) {
      return this.onNote({ tone: "warn", text: "The cluster began anew: its memory was lost" });
    }
    // A server that knows no cluster yet does not know its leader either.
    const led = before.cluster === after.cluster && before.leader !== after.leader;
    if (led && after.leader !== null) this.onNote({ tone: "server", text: `Server ${after.leader} leads now` });
    if (led && after.leader === null) this.onNote({ tone: "warn", text: "No server leads at the moment" });
    for (const member of after.members) {
      const was = before.members.find(({ node }) => node === member.node);
      if (!was || isUp(was) === isUp(member)) continue;
      const back = `Server ${member.node} is back${member.role === "blank" ? " and catches up" : ""}`;
      this.onNote(isUp(member) ? { tone: "ok", text: back } : { tone: "bad", text: `Server ${member.node} is missing` });
    }
  }

  #set(news) {
    const { standing: before } = this.#picture;
    const picture = { ...this.#picture, ...news };
    picture.standing = standing(picture, Date.now());
    this.#picture = picture;
    if (picture.standing !== before) this.#tellStanding();
    this.onPicture(picture);
  }

  /** Says in the feed what became of the link; a move to another server says so itself. */
  #tellStanding() {
    const { standing: now, status, since } = this.#picture;
    if (now === "silent") this.onNote({ tone: "bad", text: `Server ${status.node} does not answer` });
    if (now === "cut off" && status) {
      this.#cutOffSince = since;
      this.onNote({ tone: "bad", text: "This page was cut off" });
    } else if (now === "live" && this.#cutOffSince !== null) {
      const seconds = Math.max(1, Math.round((Date.now() - this.#cutOffSince) / 1000));
      this.#cutOffSince = null;
      this.onNote({ tone: "ok", text: `This page is back after ${seconds} s` });
    }
  }

  /** Sleeps for `ms`, or until something happens that makes asking at once worthwhile. */
  #sleep(ms) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#wakers.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#wakers.add(done);
    });
  }

  #wake = () => {
    for (const done of this.#wakers) done();
  };

  /** Looks again: the page became visible, or time has passed. */
  look() {
    this.#set({});
    this.#wake();
  }

  /** How things stand depends on the time too. */
  tick() {
    this.#set({});
  }
}
