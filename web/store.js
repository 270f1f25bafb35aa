// Owns who is online, as the watch tells it: one entry per device of a user. It knows nothing of the page.
// Each applied change is handed to the listeners with the entry and what it means for the person.

/**
 * @typedef {object} Entry  One registration. Its identity is kept through updates.
 * @property {string} username
 * @property {string} device
 * @property {string} ip
 * @property {number} port
 * @property {object|undefined} meta
 * @property {number} revision
 * @property {number} joinedRevision  Fixed at its start, so that "newest first" does not move on updates.
 * @property {number|null} since      When this page saw it join (ms), null if it was here before.
 * @property {number|null} left       When it left (ms); null while online.
 * @property {number} version         Grows with each update, so that a view knows what it has drawn.
 * @property {string} lower           The name in lower case: what the order compares first.
 * @property {string} fold            All of it in lower case: what the filter searches.
 */

export class Store {
  #entries = new Map();
  #devices = new Map();
  #listeners = new Set();

  /** Registrations online. */
  get size() {
    return this.#entries.size;
  }

  /** People online: users with at least one device. */
  get people() {
    return this.#devices.size;
  }

  values() {
    return this.#entries.values();
  }

  get(username, device) {
    return this.#entries.get(key(username, device));
  }

  devicesOf(username) {
    return this.#devices.get(username) ?? 0;
  }

  /** `listener(event)` with `{kind: "joined"|"updated"|"renewed"|"left"|"reset", entry, wholePerson, reason, moved, now}`. */
  onChange(listener) {
    this.#listeners.add(listener);
  }

  /** The first full set, or one that replaces what was shown before. */
  reset(users) {
    const known = this.#entries;
    this.#entries = new Map();
    this.#devices = new Map();
    for (const { username, addresses } of users) {
      for (const found of addresses) {
        const before = known.get(key(username, found.device));
        this.#insert(newEntry({ username, ...found }, before?.since ?? null));
      }
    }
    this.#tell({ kind: "reset", now: Date.now() });
  }

  /** One pushed change. */
  apply(change, now = Date.now()) {
    const { username, device } = change;
    const entry = this.#entries.get(key(username, device));
    if (change.type === "UserDisconnected") {
      if (!entry) return;
      this.#entries.delete(key(username, device));
      const left = this.devicesOf(username) - 1;
      if (left > 0) this.#devices.set(username, left);
      else this.#devices.delete(username);
      entry.left = now;
      entry.version += 1;
      this.#tell({ kind: "left", entry, wholePerson: left === 0, reason: change.reason, now });
    } else if (entry) {
      const moved = entry.ip !== change.ip || entry.port !== change.port;
      const renewed = !moved && details(entry) === details(change);
      fill(entry, change);
      entry.version += 1;
      // Only the revision is new: a cluster that lost its memory was told the same again.
      this.#tell({ kind: renewed ? "renewed" : "updated", entry, moved, now });
    } else if (change.type === "UserConnected" || change.type === "UserUpdated") {
      const wholePerson = this.devicesOf(username) === 0;
      const joined = newEntry(change, now);
      this.#insert(joined);
      this.#tell({ kind: "joined", entry: joined, wholePerson, now });
    }
  }

  #insert(entry) {
    this.#entries.set(key(entry.username, entry.device), entry);
    this.#devices.set(entry.username, this.devicesOf(entry.username) + 1);
  }

  #tell(event) {
    for (const listener of this.#listeners) listener(event);
  }
}

// No name holds a control character (the contract), so NUL separates the two without doubt.
const key = (username, device) => `${username}\0${device}`;

function newEntry(source, since) {
  const { username, device, revision } = source;
  const entry = { username, device, joinedRevision: revision, since, left: null, version: 0, lower: username.toLowerCase() };
  fill(entry, source);
  return entry;
}

function fill(entry, { ip, port, meta, revision }) {
  Object.assign(entry, { ip, port, meta, revision });
  entry.fold = `${entry.username}\n${entry.device}\n${ip}:${port}\n${details(entry)}`.toLowerCase();
}

const details = ({ meta }) => (meta === undefined ? "" : JSON.stringify(meta));
