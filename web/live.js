// Owns this page's one connection to the cluster: the watch that keeps the store right, the regular question for the
// status, and the state of the link. It uses the public browser client only. It draws nothing: what it learns goes to
// the listeners, and `picture()` says how things stand.

import { hostOf } from "./dom.js";

/** How often the status is asked for while someone looks. */
const STATUS_MS = 2000;
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
  #picture = { state: "connecting", since: Date.now(), retryAt: null, status: null, welcome: null, refused: null, noQuorum: false, watching: false };
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
    this.#set({ state: "connecting", since: Date.now(), refused: null, watching: false });
    try {
      const rollcall = await Rollcall.connect({ servers, lazy: true, ...(token && { getToken: () => token }) });
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
    on("state", (event) => this.#stateChanged(event));
    on("failover", ({ to }) => {
      this.onNote({ tone: "link", text: `This page moved to ${hostOf(to)}` });
      this.#wake();
    });
  }

  #stateChanged({ state, retry_at_ms: retryAt, code }) {
    const { state: previous, since } = this.#picture;
    if (REFUSED.has(code)) this.#set({ refused: code });
    if (state === previous || (state === "connecting" && previous === "disconnected")) {
      // A try in between is still the same outage: the count goes on from when it began.
      return this.#set({ retryAt: retryAt ?? null });
    }
    if (state === "disconnected" && previous === "connected") this.onNote({ tone: "bad", text: "This page was cut off" });
    if (state === "connected" && previous === "disconnected") {
      this.onNote({ tone: "ok", text: `This page is back after ${Math.max(1, Math.round((Date.now() - since) / 1000))} s` });
    }
    this.#set({ state, since: Date.now(), retryAt: retryAt ?? null });
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
        try {
          const status = await rollcall.getStatus();
          if (run !== this.#run) return;
          this.#tellDifferences(this.#picture.status, status);
          // The status is answered without a quorum too: only a leader proves one.
          this.#reached(rollcall, { status, noQuorum: this.#picture.noQuorum && status.leader === null });
        } catch (error) {
          if (run !== this.#run || this.#failed(error)) return;
        }
      }
      await this.#sleep(STATUS_MS);
    }
  }

  #reached(rollcall, news) {
    // An answer proves the link, whatever was heard of it before.
    const linked = this.#picture.state === "connecting" ? { state: "connected", since: Date.now() } : {};
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
    if (!before || before.cluster !== after.cluster) return;
    if (after.leader !== before.leader && after.leader !== null) {
      this.onNote({ tone: "server", text: `Server ${after.leader} leads now` });
    } else if (after.leader === null && before.leader !== null) {
      this.onNote({ tone: "warn", text: "No server leads at the moment" });
    }
    for (const { node, state } of after.members ?? []) {
      const was = before.members?.find((member) => member.node === node);
      if (!was || isUp(was) === isUp({ state })) continue;
      this.onNote(isUp({ state }) ? { tone: "ok", text: `Server ${node} is back` } : { tone: "bad", text: `Server ${node} is missing` });
    }
  }

  #set(news) {
    this.#picture = { ...this.#picture, ...news };
    this.onPicture(this.#picture);
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

  /** Asks for the status now: the page became visible. */
  look() {
    this.#wake();
  }
}

/** Whether a member is heard from, as the answering server sees it. */
export const isUp = ({ state }) => state !== "down";
