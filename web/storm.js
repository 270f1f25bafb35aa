// Owns when single happenings become a storm: many changes in a short time are told as one line that counts on
// ("214 people joined in 2 s") instead of pushing everything else away. Pure: time comes with each happening.

/** More single happenings than this within `CALM_MS` are a storm. */
const SINGLES = 6;
/** A storm ends when nothing happened for this long. */
const CALM_MS = 1000;
/** A storm that lasts longer goes on in a new line, so that each line's figures mean something. */
const LONGEST_MS = 10_000;
/** Names shown of a storm. */
const SAMPLE = 3;

/**
 * @typedef {object} Item  One line of the feed.
 * @property {number} id
 * @property {"single"|"storm"|"note"} type
 * @property {number} at       When it began (ms).
 * @property {number} until    When its last change came (ms).
 * @property {object} counts   For a storm: how many `joined`, `left`, `changed`.
 * @property {string[]} sample For a storm: some of the names.
 */

export class Storms {
  /** Newest first. @type {Item[]} */
  items = [];

  #limit;
  #nextId = 1;

  constructor(limit) {
    this.#limit = limit;
  }

  /** `happening`: `{kind: "joined"|"left"|"changed", username, text…}`; the line it ends up in may be a storm's. */
  add(happening, now) {
    const newest = this.items[0];
    if (newest?.type === "storm" && now - newest.until < CALM_MS && now - newest.at < LONGEST_MS) {
      return absorb(newest, happening, now);
    }
    const recent = this.#recentSingles(now);
    if (recent < SINGLES && !continues(newest, now)) {
      return this.#put({ type: "single", at: now, until: now, happening });
    }
    const singles = this.items.splice(0, recent);
    const storm = { type: "storm", at: singles.at(-1)?.at ?? now, until: now, counts: { joined: 0, left: 0, changed: 0 }, sample: [] };
    this.#put(storm);
    for (const single of singles.reverse()) absorb(storm, single.happening, single.at);
    absorb(storm, happening, now);
  }

  /** Something that is not about a person; it stands alone and ends a storm. */
  note(note, now) {
    this.#put({ type: "note", at: now, until: now, note });
  }

  #put(item) {
    item.id = this.#nextId;
    this.#nextId += 1;
    this.items.unshift(item);
    if (this.items.length > this.#limit) this.items.length = this.#limit;
  }

  #recentSingles(now) {
    const end = this.items.findIndex((item) => item.type !== "single" || now - item.at >= CALM_MS);
    return end === -1 ? this.items.length : end;
  }
}

/** Whether a storm that has become too long is still going on. */
const continues = (newest, now) => newest?.type === "storm" && now - newest.until < CALM_MS;

function absorb(storm, { kind, username }, now) {
  storm.counts[kind] += 1;
  storm.until = now;
  if (storm.sample.length < SAMPLE && !storm.sample.includes(username)) storm.sample.push(username);
}
