/**
 * The kept masks of an image. A change is shown at once and goes through the outbox; undo and redo
 * are the store's own, since it alone knows all states, and so they go on after a reload.
 *
 * @typedef {{key: string, id: number | null, version: number | null, mask: import("./rle.js").Mask,
 *   classId: number | null, deleted: boolean, visible: boolean, number: number, userName: string,
 *   layer: MaskLayer | null, saving: boolean}} Kept
 */

import { getItems, session } from "./api.js";
import { MaskLayer, maskColor } from "./layers.js";
import { decodeRle, encodeRle } from "./rle.js";
import { imageStacks } from "./history.js";

/** Event: changed {}. */
export class KeptMasks extends EventTarget {
  /** @param {number} imageId @param {import("./outbox.js").Outbox} outbox @param {() => Map<number, {color: string}>} classes */
  constructor(imageId, outbox, classes) {
    super();
    this.imageId = imageId;
    this.outbox = outbox;
    this.classes = classes;
    this.byClass = true;
    /** @type {Kept[]} */
    this.all = [];
    this.stacks = null; // keys of masks that undo and redo touch; null until they are asked for
    this.onDone = ({ detail: { change, annotation } }) => this.acknowledge(change, annotation);
    outbox.addEventListener("done", this.onDone);
  }

  close() {
    this.outbox.removeEventListener("done", this.onDone);
  }

  /** Those that are there, the first one first. */
  get present() {
    return this.all.filter(({ deleted }) => !deleted);
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
    this.changed();
  }

  find(key) {
    return this.all.find((one) => one.key === key) ?? null;
  }

  colorOf({ classId, number }) {
    const own = this.byClass ? this.classes().get(classId)?.color : null;
    return own ?? maskColor(number - 1);
  }

  layerOf(kept) {
    const color = this.colorOf(kept);
    kept.layer = kept.layer?.mask === kept.mask ? kept.layer.recolored(color) : new MaskLayer(kept.mask, color);
    return kept.layer;
  }

  /** @returns {Kept} */
  add({ mask, classId, events, score }) {
    const key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
    const kept = {
      key,
      id: null,
      version: null,
      mask,
      classId,
      deleted: false,
      visible: true,
      number: this.all.length + 1,
      userName: session.user.name,
      layer: null,
      saving: true,
    };
    this.all.push(kept);
    const body = { rle: encodeRle(mask), class_id: classId, events, score, request_id: key };
    this.send("create", kept, body);
    return kept;
  }

  replace(kept, { mask, classId, events }) {
    kept.mask = mask;
    kept.classId = classId;
    this.send("replace", kept, { rle: encodeRle(mask), class_id: classId, events });
  }

  remove(kept) {
    kept.deleted = true;
    this.send("delete", kept, {});
  }

  /**
   * Undo or redo the last change of kept masks.
   * @param {"undo" | "redo"} kind
   * @returns {Promise<Kept | null>} the mask that it touches; null if there is nothing to do
   */
  async travel(kind) {
    this.stacks ??= await this.loadStacks();
    const [from, to] = kind === "undo" ? [this.stacks.past, this.stacks.future] : [this.stacks.future, this.stacks.past];
    const key = from.pop();
    if (key === undefined) return null;
    to.push(key);
    const kept = this.find(key);
    kept.saving = true;
    this.outbox.add(this.change(kind, kept, {}));
    this.changed();
    return kept;
  }

  async loadStacks() {
    await this.outbox.send();
    const mine = this.all.filter(({ id }) => id !== null);
    const histories = await Promise.all(
      mine.map(async ({ id }) => ({ id, revisions: await getItems(`annotations/${id}/history`) })),
    );
    const { past, future } = imageStacks(histories, session.user.id);
    const keyOf = (id) => mine.find((one) => one.id === id).key;
    return { past: past.map(keyOf), future: future.map(keyOf) };
  }

  send(kind, kept, body) {
    kept.saving = true;
    this.stacks?.past.push(kept.key);
    if (this.stacks) this.stacks.future = [];
    this.outbox.add(this.change(kind, kept, body));
    this.changed();
  }

  change(kind, { key, id, version }, body) {
    return { kind, imageId: this.imageId, key, id, version, body };
  }

  acknowledge(change, annotation) {
    if (change.imageId !== this.imageId) return;
    const kept = this.find(change.key);
    if (!kept) return;
    const later = this.outbox.waiting.some(({ key }) => key === change.key);
    kept.id = annotation.id;
    kept.version = annotation.version;
    if (later) return this.changed(); // what is shown is newer than what was acknowledged
    kept.saving = false;
    if (annotation.rle && (change.kind === "undo" || change.kind === "redo")) {
      Object.assign(kept, contentOf(annotation));
    }
    return this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("changed"));
  }
}

function contentOf({ id, version, rle, class_id: classId, deleted, user_name: userName }) {
  return { id, version, mask: decodeRle(rle), classId, deleted, userName };
}
