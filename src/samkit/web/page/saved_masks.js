/**
 * The saved masks of an image. A change is shown at once and sent through the outbox. Undo and redo
 * are the store's own, which alone knows all states, and so they still work after a reload.
 *
 * @typedef {{key: string, id: number | null, version: number | null, mask: import("./rle.js").Mask,
 *   classId: number | null, attributes: import("./labelling.js").Values, deleted: boolean, visible: boolean, number: number, userId: number, userName: string, verdict: "accepted" | "rejected" | null,
 *   layer: MaskLayer | null, saving: boolean}} SavedMask
 */

import { getItems, signedIn } from "./api.js";
import { MaskLayer, maskColor } from "./layers.js";
import { areaOf, decodeRle, encodeRle, hasPixel } from "./rle.js";
import { imageStacks } from "./history.js";

/** Event: changed {}. */
export class SavedMasks extends EventTarget {
  /** @param {number} imageId @param {import("./outbox.js").Outbox} outbox @param {() => Map<number, {color: string}>} classes */
  constructor(imageId, outbox, classes) {
    super();
    this.imageId = imageId;
    this.outbox = outbox;
    this.classes = classes;
    this.byClass = true;
    /** @type {((userId: number) => string | undefined) | null} where masks have people's colours */
    this.colorOfPerson = null;
    /** @type {SavedMask[]} */
    this.all = [];
    this.listed = null; // what `present` and `stacked` give; null after each change
    this.sorted = null;
    // Steps for undo and redo, each with the keys of its masks; null until they are needed.
    this.stacks = null;
    this.loadingStacks = null; // a promise, while they are being loaded
    this.recent = []; // steps since the masks were loaded, while `stacks` is null
    this.step = null; // the step that changes are part of
    /** @type {import("./image_tags.js").ImageTags | null} whose changes are steps, too */
    this.tags = null;
    this.onDone = ({ detail: { change, annotation } }) => this.acknowledge(change, annotation);
    outbox.addEventListener("done", this.onDone);
  }

  close() {
    this.outbox.removeEventListener("done", this.onDone);
  }

  /** The masks that are not deleted, oldest first. */
  get present() {
    this.listed ??= this.all.filter(({ deleted }) => !deleted);
    return this.listed;
  }

  /** The masks that are not deleted, as they lie: the largest lowest. */
  get stacked() {
    this.sorted ??= [...this.present].sort((a, b) => areaOf(b.mask) - areaOf(a.mask));
    return this.sorted;
  }

  /** The smallest mask at a place that is shown; null if there is none. */
  at([x, y]) {
    const fits = ({ mask, visible }) => visible && hasPixel(mask, Math.floor(x), Math.floor(y));
    return [...this.stacked].reverse().find(fits) ?? null;
  }

  async load() {
    const annotations = await getItems(`images/${this.imageId}/annotations?deleted=true`);
    const hidden = new Set(this.all.filter(({ visible }) => !visible).map(({ id }) => id));
    this.all = annotations.map((annotation, i) => ({
      key: `a${annotation.id}`,
      number: i + 1,
      visible: !hidden.has(annotation.id),
      layer: null,
      saving: false,
      ...contentOf(annotation),
    }));
    this.stacks = annotations.length ? null : { past: [], future: [] };
    this.recent = [];
    this.changed();
  }

  find(key) {
    return this.all.find((one) => one.key === key) ?? (this.tags?.key === key ? this.tags : null);
  }

  colorOf({ classId, number, userId }) {
    const chosen = this.colorOfPerson?.(userId);
    if (chosen) return chosen;
    const own = this.byClass ? this.classes().get(classId)?.color : null;
    return own ?? maskColor(number - 1);
  }

  layerOf(item) {
    const color = this.colorOf(item);
    item.layer = item.layer?.mask === item.mask ? item.layer.recolored(color) : new MaskLayer(item.mask, color);
    return item.layer;
  }

  /** @returns {SavedMask} */
  add({ mask, classId, attributes = {}, events, score }) {
    const key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
    const item = {
      key,
      id: null,
      version: null,
      mask,
      classId,
      attributes,
      deleted: false,
      visible: true,
      number: this.all.length + 1,
      userId: signedIn.user.id,
      userName: signedIn.user.name,
      layer: null,
      saving: true,
    };
    this.all.push(item);
    const body = { rle: encodeRle(mask), class_id: classId, attributes, events, score, request_id: key };
    this.send("create", item, body);
    return item;
  }

  /** Where the mask stays the same, so does its score. */
  replace(item, { mask, classId, attributes = item.attributes, events, score = null }) {
    Object.assign(item, { mask, classId, attributes, verdict: null });
    this.send("replace", item, { rle: encodeRle(mask), class_id: classId, attributes, events, score });
  }

  remove(item) {
    item.deleted = true;
    this.send("delete", item, {});
  }

  /** Make several changes that are undone together. @param {() => void} act */
  together(act) {
    const step = [];
    this.step = step;
    try {
      act();
    } finally {
      this.step = null;
    }
    if (step.length) this.note(step);
  }

  /** Note a step, which follows all others. */
  note(step) {
    (this.stacks?.past ?? this.recent).push(step);
    if (this.stacks) this.stacks.future = [];
  }

  /**
   * Undo or redo the last step of saved masks.
   * @param {"undo" | "redo"} kind
   * @returns {Promise<SavedMask[]>} the changed masks; none if there is nothing to do
   */
  async stepHistory(kind) {
    this.loadingStacks ??= this.stacks ? null : this.loadStacks();
    try {
      this.stacks ??= await this.loadingStacks; // one for all steps that are asked for meanwhile
    } finally {
      this.loadingStacks = null;
    }
    const [from, to] = kind === "undo" ? [this.stacks.past, this.stacks.future] : [this.stacks.future, this.stacks.past];
    const step = from.pop();
    if (step === undefined) return [];
    to.push(step);
    const items = (kind === "undo" ? [...step].reverse() : step).map((key) => this.find(key));
    for (const item of items) {
      item.saving = true;
      this.outbox.add(this.change(kind, item, {}));
    }
    this.changed();
    return items;
  }

  async loadStacks() {
    await this.outbox.send();
    const changes = await getItems(`images/${this.imageId}/changes`);
    const { past, future } = imageStacks(changes, signedIn.user.id);
    const keys = new Map(this.all.filter(({ id }) => id !== null).map(({ id, key }) => [id, key]));
    if (this.tags) keys.set(null, this.tags.key);
    const stepsOf = (ids) => ids.filter((id) => keys.has(id)).map((id) => [keys.get(id)]);
    // The store knows changes, not which of them were made together.
    const earlier = stepsOf(past).slice(0, -this.recent.flat().length || undefined);
    return { past: [...earlier, ...this.recent], future: stepsOf(future) };
  }

  send(kind, item, body) {
    item.saving = true;
    if (this.step) this.step.push(item.key);
    else this.note([item.key]);
    this.outbox.add(this.change(kind, item, body));
    this.changed();
  }

  change(kind, { what, key, id, version }, body) {
    return { kind, what, imageId: this.imageId, key, id, version, body };
  }

  acknowledge(change, annotation) {
    if (change.imageId !== this.imageId) return;
    const item = this.find(change.key);
    if (!item || item === this.tags) return;
    const later = this.outbox.waiting.some(({ key }) => key === change.key);
    item.id = annotation.id;
    item.version = annotation.version;
    if (later) return this.changed(); // the shown mask is newer than the acknowledged one
    item.saving = false;
    if (annotation.rle && (change.kind === "undo" || change.kind === "redo")) {
      Object.assign(item, contentOf(annotation));
    }
    return this.changed();
  }

  changed() {
    this.listed = this.sorted = null;
    this.dispatchEvent(new Event("changed"));
  }
}

function contentOf({ id, version, rle, class_id: classId, attributes, stage, deleted, verdict, user_id: userId, user_name: userName }) {
  return { id, version, mask: decodeRle(rle), classId, attributes, stage, deleted, verdict, userId, userName };
}
