/**
 * Outbox of changes to masks, sent to the server in order. Changes stay here and in the browser's
 * storage until they are acknowledged, and are sent again if necessary. New masks carry a request_id,
 * so that the store adds a mask only once when an answer was lost. Other changes name the version
 * they are based on; if the server has a newer one, the outbox checks whether the change had arrived
 * after all. A refused change holds up later changes of its image only.
 *
 * Each tab has its own entry in the storage, and holds a lock of the same name while it is open. The
 * next tab takes over what a closed tab has left.
 *
 * @typedef {{kind: "create" | "replace" | "delete" | "undo" | "redo", what?: "tags", imageId: number, key: string,
 *   id: number | null, version: number | null, body: object}} Change
 *   `key` identifies the mask on the page, also before the store has given it an id. Where `what` is
 *   "tags", it is not a mask that changes, but the tags of the image.
 */

import { ApiError, OFFLINE, get, getItems, post, put, remove } from "./api.js";
import { sameValues } from "./labelling.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const PASSING = [OFFLINE, 429, 502, 503, 504, 507]; // temporary failures, such as a full disk
const SIGNED_OUT = 401;

/** Events: changed {}, done {change, annotation}, refused {change, error}. */
export class Outbox extends EventTarget {
  /** Open a user's outbox in this tab. @param {number} userId */
  static async open(userId) {
    const prefix = `samkit.outbox.${userId}.`;
    const outbox = new Outbox(prefix + (crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`));
    await hold(outbox.name, () => outbox.whenStopped);
    await Promise.all(namesOf(outbox.storage, prefix).map((name) => outbox.takeOver(name)));
    return outbox;
  }

  /** @param {string} name of the place in the browser's storage @param {Storage} storage */
  constructor(name, storage = localStorage) {
    super();
    this.name = name;
    this.storage = storage;
    /** @type {Change[]} */
    this.waiting = [];
    this.failure = null; // why sending has stopped
    /** @type {Set<number>} images whose changes the server refused */
    this.refused = new Set();
    this.tries = 0;
    this.working = null;
    this.timer = 0;
    this.whenStopped = new Promise((resolve) => {
      this.release = resolve;
    });
  }

  get isEmpty() {
    return this.waiting.length === 0;
  }

  get isStuck() {
    return !this.isEmpty && (this.failure !== null || this.refused.size > 0);
  }

  /** Whether changes of an image are waiting. */
  holds(imageId) {
    return this.waiting.some((change) => change.imageId === imageId);
  }

  /** @param {Change} change */
  add(change) {
    this.waiting.push(change);
    this.save();
    if (!this.failure) this.work();
  }

  /** Send all waiting changes, including refused ones. @returns {Promise<void>} after all attempts */
  send() {
    this.refused.clear();
    return this.work();
  }

  work() {
    clearTimeout(this.timer);
    this.working ??= this.run().finally(() => {
      this.working = null;
    });
    return this.working;
  }

  /** Discard the waiting changes of an image, with the user's consent. */
  discard(imageId) {
    this.waiting = this.waiting.filter((change) => change.imageId !== imageId);
    this.refused.delete(imageId);
    this.save();
  }

  /** Discard the waiting changes of one mask, which rest on one another. @param {Change} change */
  discardChange({ imageId, key }) {
    this.waiting = this.waiting.filter((other) => other.key !== key);
    this.refused.delete(imageId);
    this.save();
  }

  /** Base the waiting changes of a mask on the store's newer version, with the user's consent. */
  rebase(key, version) {
    for (const change of this.waiting) if (change.key === key) change.version = version;
    this.save();
  }

  /** Stop sending; waiting changes stay in the browser's storage. */
  stop() {
    clearTimeout(this.timer);
    this.stopped = true;
    this.release();
  }

  async run() {
    for (let change = this.next(); change && !this.stopped; change = this.next()) {
      try {
        const annotation = await deliver(change);
        this.failure = null;
        this.tries = 0;
        this.waiting = this.waiting.filter((other) => other !== change);
        this.pass(change.key, annotation);
        this.save();
        this.tell("done", { change, annotation });
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        const passing = PASSING.includes(error.status);
        this.failure = passing || error.status === SIGNED_OUT ? error : null;
        if (!this.failure) this.refused.add(change.imageId);
        this.tell("changed");
        if (!this.failure) this.tell("refused", { change, error });
        else if (passing) {
          const wait = RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)];
          this.timer = setTimeout(() => this.work(), wait);
        }
        if (this.failure) return;
      }
    }
  }

  next() {
    return this.waiting.find(({ imageId }) => !this.refused.has(imageId));
  }

  /** Take over another tab's changes as soon as that tab is closed. */
  async takeOver(name) {
    if (name === this.name) return;
    const take = () => {
      if (this.stopped) return;
      this.waiting = [...read(this.storage, name), ...this.waiting];
      if (this.save()) this.storage.removeItem(name);
    };
    if (await hold(name, take)) return;
    navigator.locks.request(name, () => {
      take();
      this.send();
    });
  }

  /** Base later changes of the same mask on the store's new version. */
  pass(key, { id, version }) {
    for (const change of this.waiting) if (change.key === key) Object.assign(change, { id, version });
  }

  /** @returns {boolean} whether the browser's storage has the changes, and not only the memory */
  save() {
    let saved = true;
    try {
      if (this.isEmpty) this.storage.removeItem(this.name);
      else this.storage.setItem(this.name, JSON.stringify(this.waiting));
    } catch {
      saved = false; // the storage is full or forbidden
    }
    this.tell("changed");
    return saved;
  }

  tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * Hold a lock while `work` runs, if it is free now. Browsers offer no locks to pages from another
 * computer without TLS; every lock counts as free there.
 * @param {() => void | Promise<void>} work
 * @returns {Promise<boolean>} whether the lock was free; resolves when `work` has begun
 */
function hold(name, work) {
  if (!navigator.locks) {
    work();
    return Promise.resolve(true);
  }
  return new Promise((resolve) => {
    navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      const working = lock && work();
      resolve(lock !== null);
      return working;
    });
  });
}

function namesOf(storage, prefix) {
  return Object.keys(storage).filter((name) => name.startsWith(prefix));
}

function read(storage, name) {
  try {
    return JSON.parse(storage.getItem(name) ?? "[]");
  } catch {
    return [];
  }
}

async function deliver({ kind, what, imageId, id, version, body }) {
  if (what === "tags") return deliverTags(kind, imageId, version, body);
  if (kind === "create") return post(`images/${imageId}/annotations`, body);
  try {
    if (kind === "replace") return await put(`annotations/${id}`, { ...body, version });
    if (kind === "delete") {
      const gone = await remove(`annotations/${id}?version=${version}`);
      return gone ?? { id, version: version + 1, deleted: true };
    }
    return await post(`annotations/${id}/${kind}`, { version });
  } catch (error) {
    const arrived = error.status === 409 && (await arrivedBefore(kind, imageId, id, version, body));
    if (arrived) return arrived;
    throw error;
  }
}

async function deliverTags(kind, imageId, version, body) {
  const path = `images/${imageId}/tags`;
  try {
    return withId(await (kind === "replace" ? put(path, { ...body, version }) : post(`${path}/${kind}`, { version })));
  } catch (error) {
    if (error.status !== 409) throw error;
    const last = (await getItems(`${path}/history`)).at(-1);
    const same = kind === "replace" ? last?.change === "edit" && String([...last.tags].sort()) === String([...body.tags].sort()) : last?.change === kind;
    if (!same || last.version !== version + 1) throw error;
    return withId(await get(path));
  }
}

const withId = (tags) => ({ ...tags, id: tags.image_id });

/** The annotation, if it is the result of this change; null otherwise. */
async function arrivedBefore(kind, imageId, id, version, body) {
  const all = await getItems(`images/${imageId}/annotations?deleted=true`);
  const now = all.find((one) => one.id === id);
  if (!now || now.version !== version + 1) return null;
  const { change, deleted } = (await getItems(`annotations/${id}/history`)).at(-1);
  if (kind === "undo" || kind === "redo") return change === kind ? now : null;
  if (kind === "delete") return deleted && change === "edit" ? now : null;
  const same = now.rle.counts === body.rle.counts && now.class_id === body.class_id && sameValues(now.attributes, body.attributes ?? now.attributes);
  return same && change === "edit" && !deleted ? now : null;
}
