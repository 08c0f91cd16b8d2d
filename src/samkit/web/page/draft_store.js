/**
 * Unfinished masks in the browser's IndexedDB, where they survive a crash of the page, the browser or
 * the computer: one record for each person, image and mask. A tab holds a lock while it is open, so that
 * another one does not take over what is still at work. Without IndexedDB nothing is stored.
 *
 * @typedef {{userId: number, imageId: number, mask: number | "new", tab: string, at: number,
 *   version: number | null, classId: number | null, draft: ReturnType<import("./draft.js").Draft["record"]> | null,
 *   corners: {points: number[][], erase: boolean} | null}} DraftRecord
 *   mask: the id of the saved mask that is corrected, at this version; corners: of an unfinished polygon
 */

const NAME = "samkit";
const STORE = "drafts";
const KEY = ["userId", "imageId", "mask", "tab"];
const MAX_AGE_MS = 30 * 24 * 3600 * 1000; // older ones are forgotten

const tab = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
const lockOf = (one) => `samkit.draft.${one}`;
const keyOf = (record) => KEY.map((name) => record[name]);
let database = null; // promise of the database, or of null

export class DraftStore {
  /** @param {number} userId @param {number} imageId */
  constructor(userId, imageId) {
    Object.assign(this, { userId, imageId });
    this.stored = null; // key of the record that is there
    this.last = Promise.resolve(); // changes are made in order
  }

  /**
   * Store a draft in place of the one before; null if there is none any more.
   * @param {Omit<DraftRecord, "userId" | "imageId" | "tab" | "at"> | null} content
   */
  put(content) {
    const { userId, imageId, stored } = this;
    const record = content && { ...content, userId, imageId, tab, at: Date.now() };
    this.stored = record && keyOf(record);
    if (!record && !stored) return;
    this.change((drafts) => {
      if (stored) drafts.delete(stored);
      if (record) drafts.put(record);
    });
  }

  /** The newest draft of the image that no open tab works on. @returns {Promise<DraftRecord | null>} */
  async find() {
    const { userId, imageId } = this;
    const busy = await busyLocks();
    let found = null;
    await this.change((drafts) => {
      const range = IDBKeyRange.bound([userId, imageId], [userId, imageId, []]); // arrays come after all else
      drafts.getAll(range).onsuccess = ({ target }) => {
        const free = target.result.filter((record) => record.tab === tab || !busy.has(lockOf(record.tab)));
        found = free.sort((a, b) => b.at - a.at)[0] ?? null;
      };
    });
    return found;
  }

  /** Go on with a record that was found: the next change replaces it. @param {DraftRecord} record */
  takeOver(record) {
    this.stored = keyOf(record);
  }

  /** @param {(drafts: IDBObjectStore) => void} act @returns {Promise<void>} after it is done, or has failed */
  change(act) {
    this.last = this.last.then(async () => {
      database ??= open();
      const opened = await database;
      if (!opened) return;
      await new Promise((resolve) => {
        const transaction = opened.transaction(STORE, "readwrite");
        // Where the storage is full, the draft is in the memory only.
        transaction.oncomplete = transaction.onabort = resolve;
        act(transaction.objectStore(STORE));
      });
    });
    return this.last;
  }
}

/** @returns {Promise<IDBDatabase | null>} null where it is forbidden or broken */
function open() {
  navigator.locks?.request(lockOf(tab), () => new Promise(() => {})); // until the tab is closed
  return new Promise((resolve) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: KEY }).createIndex("at", "at");
    request.onerror = request.onblocked = () => resolve(null);
    request.onsuccess = () => {
      forgetOld(request.result);
      resolve(request.result);
    };
  }).catch(() => null);
}

function forgetOld(opened) {
  const drafts = opened.transaction(STORE, "readwrite").objectStore(STORE);
  const old = IDBKeyRange.upperBound(Date.now() - MAX_AGE_MS);
  drafts.index("at").openKeyCursor(old).onsuccess = ({ target: { result: cursor } }) => {
    if (!cursor) return;
    drafts.delete(cursor.primaryKey);
    cursor.continue();
  };
}

/** Names of the locks that open tabs hold; none where browsers offer no locks, without TLS. */
async function busyLocks() {
  const { held } = (await navigator.locks?.query()) ?? { held: [] };
  return new Set(held.map(({ name }) => name));
}
