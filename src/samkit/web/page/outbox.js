/**
 * Changes of masks on their way to the server, in order. What was not acknowledged stays here, also
 * in the browser's own storage, and is sent again: new masks carry a request_id, so that the store
 * keeps one where an answer was lost; other changes name the version that they are based on, and
 * where that one is gone it is looked up whether the change had arrived after all.
 *
 * @typedef {{kind: "create" | "replace" | "delete" | "undo" | "redo", photoId: number, key: string,
 *   id: number | null, version: number | null, body: object}} Change
 *   `key` names the mask on the page, also before the store has given it a number.
 */

import { ApiError, OFFLINE, getItems, post, put, remove } from "./api.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const PASSING = [OFFLINE, 429, 502, 503, 504]; // states that end without anybody's doing

/** Events: changed {}, done {change, annotation}, refused {change, error}. */
export class Outbox extends EventTarget {
  /** @param {string} name of the place in the browser's storage @param {Storage} storage */
  constructor(name, storage = localStorage) {
    super();
    this.name = name;
    this.storage = storage;
    /** @type {Change[]} */
    this.waiting = this.restore();
    this.failure = null; // why it stands still
    this.tries = 0;
    this.working = null;
    this.timer = 0;
  }

  get isEmpty() {
    return this.waiting.length === 0;
  }

  /** @param {Change} change */
  add(change) {
    this.waiting.push(change);
    this.save();
    if (!this.failure) this.send();
  }

  /** Send all that waits. @returns {Promise<boolean>} whether nothing is left */
  send() {
    clearTimeout(this.timer);
    this.working ??= this.run().finally(() => {
      this.working = null;
    });
    return this.working;
  }

  /** Give up what waits, after its owner has said so. */
  clear() {
    this.waiting = [];
    this.failure = null;
    this.save();
  }

  /** Stop trying; what waits stays in the browser's storage. */
  stop() {
    clearTimeout(this.timer);
    this.stopped = true;
  }

  async run() {
    while (this.waiting.length && !this.stopped) {
      const [change] = this.waiting;
      try {
        const annotation = await deliver(change);
        this.failure = null;
        this.tries = 0;
        this.waiting.shift();
        this.pass(change.key, annotation);
        this.save();
        this.tell("done", { change, annotation });
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        this.failure = error;
        this.tell("changed");
        if (PASSING.includes(error.status)) {
          const wait = RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)];
          this.timer = setTimeout(() => this.send(), wait);
        } else {
          this.tell("refused", { change, error });
        }
        return false;
      }
    }
    return this.isEmpty;
  }

  /** Later changes of the same mask are based on what the store has now. */
  pass(key, { id, version }) {
    for (const change of this.waiting) if (change.key === key) Object.assign(change, { id, version });
  }

  save() {
    try {
      if (this.isEmpty) this.storage.removeItem(this.name);
      else this.storage.setItem(this.name, JSON.stringify(this.waiting));
    } catch {
      // The browser's storage is full or forbidden: what waits is still in memory.
    }
    this.tell("changed");
  }

  restore() {
    try {
      return JSON.parse(this.storage.getItem(this.name) ?? "[]");
    } catch {
      return [];
    }
  }

  tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

async function deliver({ kind, photoId, id, version, body }) {
  if (kind === "create") return post(`photos/${photoId}/annotations`, body);
  try {
    if (kind === "replace") return await put(`annotations/${id}`, { ...body, version });
    if (kind === "delete") {
      const gone = await remove(`annotations/${id}?version=${version}`);
      return gone ?? { id, version: version + 1, deleted: true };
    }
    return await post(`annotations/${id}/${kind}`, { version });
  } catch (error) {
    const arrived = error.status === 409 && (await arrivedBefore(kind, photoId, id, version, body));
    if (arrived) return arrived;
    throw error;
  }
}

/** The annotation, if it is what this change makes of the version that it is based on. */
async function arrivedBefore(kind, photoId, id, version, body) {
  const all = await getItems(`photos/${photoId}/annotations?deleted=true`);
  const now = all.find((one) => one.id === id);
  if (!now || now.version !== version + 1) return null;
  const { change, deleted } = (await getItems(`annotations/${id}/history`)).at(-1);
  if (kind === "undo" || kind === "redo") return change === kind ? now : null;
  if (kind === "delete") return deleted && change === "edit" ? now : null;
  const same = now.rle.counts === body.rle.counts && now.class_id === body.class_id;
  return same && change === "edit" && !deleted ? now : null;
}
