// @ts-self-types="./order.d.ts"
// Messages in one order: takes messages that bear numbers of the cluster's one sequence, as they arrive, and gives
// them in the order of their numbers, with what is missing. It needs no connection and no WebAssembly. The rules, and
// what they guarantee, are those of shared/src/order.rs; the tests hold both against each other.

export class Order {
  #patience;
  #capacity;
  #now;
  #base; // nothing up to here counts; not known before the first message is given, if nobody said
  #given = 0; // the largest number given or reported missing: what is not larger is late
  #chains = new Map(); // by sender
  #forgotten = 0; // beyond no number of senders that were forgotten
  #held = []; // messages that wait, in order
  #late = [];
  #lost = []; // what was reported missing, so that it is known when it comes
  #ended = false;
  #left = false; // nobody reads any more
  #readers = [];
  #timer;

  constructor({ begin, patience = 1000, capacity = 1024, now = () => performance.now() } = {}) {
    if (begin !== undefined) this.#given = this.#base = Math.max(0, integer("begin", begin, 0) - 1);
    if (!(patience >= 0)) throw invalid("patience", "is not milliseconds");
    this.#patience = patience;
    this.#capacity = integer("capacity", capacity, 1);
    this.#now = now;
  }

  push(message) {
    const { from, previous, number } = tag(message, 1);
    if (this.#left || number <= this.#base) return;
    const place = this.#held.findLastIndex((held) => held.number < number) + 1;
    if (this.#held[place]?.number === number) return;
    const at = this.#lost.findIndex((gap) => gap.from === from && gap.first <= number && number <= gap.last);
    const late = at >= 0 || number <= this.#given;
    if (late && at < 0 && this.#chains.get(from)?.covers(number)) return; // it was given before
    const since = this.#now();
    this.#chain(from).add({ previous, number, since, note: false });
    if (at >= 0) {
      const [gap] = this.#lost.splice(at, 1);
      if (previous >= gap.first) this.#remember({ ...gap, last: previous });
      if (number < gap.last) this.#remember({ ...gap, first: number + 1 });
    }
    if (late) this.#late.push({ type: "Late", message });
    else this.#held.splice(place, 0, { number, message, since: Math.min(since, this.#held[place]?.since ?? since) });
    this.#serve();
  }

  note(note) {
    const { from, previous, number } = tag(note, 0);
    if (this.#left) return;
    this.#chain(from).add({ previous, number, since: this.#now(), note: true });
    this.#serve();
  }

  join(from) {
    const chain = this.#find(from);
    if (chain) chain.awaited = true;
  }

  leave(from) {
    const chain = this.#chains.get(from);
    if (chain) chain.awaited = false;
    this.#serve();
  }

  end() {
    this.#ended = true;
    this.#serve();
  }

  poll() {
    if (this.#late.length > 0) return this.#late.shift();
    const due = this.#due();
    const forced = this.#ended || this.#isFull() || due <= this.#now();
    const next = this.#held[0]?.number ?? Infinity;
    const blocked = this.#blocked();
    if (blocked?.gap < next) return forced ? this.#giveUp(blocked) : undefined;
    return next < Infinity && (forced || this.#isNext(next)) ? this.#give() : undefined;
  }

  get missing() {
    if (this.#base === undefined) return [];
    return [...this.#chains.values()].flatMap((chain) => chain.ranges());
  }

  next() {
    return new Promise((resolve) => {
      this.#readers.push(resolve);
      this.#serve();
    });
  }

  return() {
    this.#ended = this.#left = true;
    this.#held = [];
    this.#late = [];
    this.#chains.clear();
    return this.next();
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** Gives its readers what there is, and comes back when more is due. */
  #serve() {
    clearTimeout(this.#timer);
    while (this.#readers.length > 0) {
      const value = this.poll();
      if (value === undefined && !this.#ended) {
        const wait = Math.ceil(this.#due() - this.#now());
        if (wait >= 0) this.#timer = setTimeout(() => this.#serve(), Math.min(wait, LONGEST_WAIT));
        return;
      }
      this.#readers.shift()({ value, done: value === undefined });
    }
  }

  /** When something that waits is due; NaN where nothing waits. */
  #due() {
    const gaps = this.#base === undefined ? [] : [...this.#chains.values()].map((chain) => chain.pieces[0]);
    const times = [this.#held[0], ...gaps].filter(Boolean).map(({ since }) => since);
    return times.length > 0 ? Math.min(...times) + this.#patience : NaN;
  }

  /** The sender of the message that is missing first. */
  #blocked() {
    let first;
    if (this.#base === undefined) return first;
    for (const chain of this.#chains.values()) {
      if (chain.gap < (first?.gap ?? Infinity)) first = chain;
    }
    return first;
  }

  #isFull() {
    const gaps = [...this.#chains.values()].reduce((sum, chain) => sum + chain.pieces.length, 0);
    return this.#held.length + this.#late.length >= this.#capacity || gaps > this.#capacity + 2 * SENDERS;
  }

  /** Whether no smaller number can come. */
  #isNext(number) {
    if (this.#base === undefined) return false;
    if (number === this.#given + 1) return true;
    return [...this.#chains.values()].every((chain) => !chain.awaited || chain.through >= number - 1);
  }

  #give() {
    const { number, message } = this.#held.shift();
    if (this.#base === undefined) {
      this.#base = number - 1;
      for (const chain of this.#chains.values()) chain.raise(this.#base);
    }
    this.#given = number;
    return { type: "Message", message };
  }

  #giveUp(chain) {
    const gap = chain.giveUp();
    this.#given = Math.max(this.#given, gap.last);
    this.#remember(gap);
    return { type: "Missing", ...gap };
  }

  #remember(gap) {
    if (this.#lost.length >= GAPS) this.#lost.shift();
    this.#lost.push(gap);
  }

  /** What is known of a sender, where there is room for more. */
  #chain(from) {
    const chain = this.#isFull() ? undefined : this.#find(from);
    if (!chain) throw failure("overloaded", "as many messages wait as may; read some first");
    return chain;
  }

  #find(from) {
    let chain = this.#chains.get(from);
    if (!chain && (this.#chains.size < SENDERS || this.#forget())) {
      chain = new Chain(from, Math.max(this.#base ?? 0, this.#forgotten));
      this.#chains.set(from, chain);
    }
    return chain;
  }

  /** Forgets the sender that has been silent for longest, one that has left if there is any. */
  #forget() {
    const whole = [...this.#chains.values()].filter((chain) => chain.pieces.length === 0);
    whole.sort((a, b) => a.awaited - b.awaited || a.through - b.through);
    if (whole.length === 0) return false;
    this.#forgotten = Math.max(this.#forgotten, whole[0].through);
    return this.#chains.delete(whole[0].from);
  }
}

/** What is known of one sender's numbers; see shared/src/order/chain.rs. */
class Chain {
  awaited = true;
  pieces = []; // { previous, number, since, note }: what is known beyond gaps, in order

  constructor(from, through) {
    this.from = from;
    this.through = through;
  }

  /** The last number of the first gap. */
  get gap() {
    return this.pieces[0]?.previous;
  }

  ranges() {
    let end = this.through;
    return this.pieces.map(({ previous, number }) => {
      const gap = { from: this.from, first: end + 1, last: previous };
      end = number;
      return gap;
    });
  }

  covers(number) {
    return number <= this.through || this.pieces.some((it) => it.previous < number && number <= it.number);
  }

  add(piece) {
    if (piece.previous <= this.through) return this.raise(piece.number);
    const last = this.pieces.filter((it) => it.note)[1];
    if (piece.note && last && last.previous !== piece.previous) {
      // Of mere notes two are kept, the first and the last: who sends nothing else takes no room.
      if (last.previous > piece.previous) return;
      this.pieces.splice(this.pieces.indexOf(last), 1);
    }
    const from = this.pieces.findLastIndex((it) => it.number < piece.previous) + 1;
    for (let known; (known = this.pieces[from]); ) {
      // What comes later has waited for this gap too.
      piece.since = Math.min(piece.since, known.since);
      if (known.previous > piece.number) break;
      piece.previous = Math.min(piece.previous, known.previous);
      piece.number = Math.max(piece.number, known.number);
      piece.note &&= known.note;
      this.pieces.splice(from, 1);
    }
    this.pieces.splice(from, 0, piece);
  }

  raise(number) {
    this.through = Math.max(this.through, number);
    while (this.gap <= this.through) this.through = Math.max(this.through, this.pieces.shift().number);
  }

  giveUp() {
    const [gap] = this.ranges();
    this.through = this.pieces.shift().number;
    return gap;
  }
}

function tag({ number, from = "", previous = number - 1 }, least) {
  integer("number", number, least);
  if (integer("previous", previous, 0) > number - least) throw invalid("previous", "is not before number");
  if (typeof from !== "string") throw invalid("from", "is not a string");
  return { from, previous, number };
}

function integer(field, value, least) {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw invalid(field, `is not an integer from ${least} on`);
}

const invalid = (field, why) => Object.assign(failure("invalid_argument", `${field} ${why}`), { field });

const failure = (code, message) => Object.assign(new Error(`rollcall: ${message}`), { code });

/** How many senders are remembered, and how many gaps that were given up. */
const SENDERS = 1024;
const GAPS = 1024;

/** Of a timer, in milliseconds. */
const LONGEST_WAIT = 2 ** 31 - 1;
