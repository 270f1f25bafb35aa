// Owns the sorted and filtered sequence of entries that the list shows. Sorting is incremental: what joined
// since the last `settle` is merged in by binary search. A sequence once handed out is never changed in place,
// so a view may keep showing an older one (while a pointer rests on it).

/** How long an entry that left stays in the sequence, so that its row can fade. */
export const FADE_MS = 160;

const JOINED_LIMIT = 4096;

export class Order {
  #all = [];
  #joined = [];
  #joinedLimit = JOINED_LIMIT;
  #words = [];
  #leaving = 0;
  #compare = byName;

  /** What the list shows, as of the last `settle`. @type {import("./store.js").Entry[]} */
  shown = [];

  replaceAll(entries) {
    this.#joined = [];
    this.#leaving = 0;
    this.#all = [...entries].sort(this.#compare);
    this.#filter();
  }

  joined(entry) {
    this.#joined.push(entry);
    if (this.#joined.length < this.#joinedLimit) return;
    // Nobody settles while the page is hidden: forget who came and went since, so that what waits stays bounded.
    this.#joined = this.#joined.filter((waiting) => waiting.left === null);
    this.#joinedLimit = Math.max(JOINED_LIMIT, 2 * this.#joined.length);
  }

  left() {
    this.#leaving += 1;
  }

  /** How many entries would be shown if it settled now. */
  online() {
    const online = (entry) => entry.left === null;
    return this.shown.filter(online).length + this.#joined.filter((e) => online(e) && this.matches(e)).length;
  }

  /**
   * Merges what changed; `keep` stays even if it left (the pointer rests on it).
   * Returns whether entries that left are still in, so that another settle is due.
   */
  settle(now, keep = null) {
    const arrived = this.#joined.filter((entry) => entry.left === null).sort(this.#compare);
    this.#joined = [];
    let fading = 0;
    const staying = this.#leaving === 0 ? this.#all : this.#all.filter((entry) => {
      if (entry.left === null) return true;
      if (now - entry.left >= FADE_MS && entry !== keep) return false;
      fading += 1;
      return true;
    });
    this.#leaving = fading;
    this.#all = merge(staying, arrived, this.#compare);
    this.#filter();
    return fading > 0;
  }

  sortBy(order) {
    this.#compare = order === "newest" ? byNewest : byName;
    this.replaceAll(this.#all.concat(this.#joined).filter((entry) => entry.left === null));
  }

  /** Keeps what holds every word of `text`. */
  filterBy(text) {
    this.#words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.#filter();
  }

  matches(entry) {
    return this.#words.every((word) => entry.fold.includes(word));
  }

  #filter() {
    this.shown = this.#words.length === 0 ? this.#all : this.#all.filter((entry) => this.matches(entry));
  }
}

function merge(sorted, arrived, compare) {
  if (arrived.length === 0) return sorted;
  const merged = [];
  let from = 0;
  for (const entry of arrived) {
    const to = position(sorted, entry, compare, from);
    for (; from < to; from += 1) merged.push(sorted[from]);
    merged.push(entry);
  }
  for (; from < sorted.length; from += 1) merged.push(sorted[from]);
  return merged;
}

function position(sorted, entry, compare, from) {
  let low = from;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compare(sorted[middle], entry) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Upper and lower case stand together; names that differ in case only are ordered by their exact text.
function byName(a, b) {
  if (a.lower !== b.lower) return a.lower < b.lower ? -1 : 1;
  if (a.username !== b.username) return a.username < b.username ? -1 : 1;
  return a.device < b.device ? -1 : Number(a.device > b.device);
}

const byNewest = (a, b) => b.joinedRevision - a.joinedRevision || byName(a, b);
