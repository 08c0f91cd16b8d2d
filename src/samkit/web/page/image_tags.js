/**
 * The tags of the open image. A change is shown at once and sent through the outbox, and is a step of
 * undo and redo like those of masks: the store has all states.
 */

import { get } from "./api.js";

export class ImageTags {
  /** @param {number} imageId @param {import("./outbox.js").Outbox} outbox @param {import("./saved_masks.js").SavedMasks} masks */
  constructor(imageId, outbox, masks) {
    Object.assign(this, { imageId, outbox, masks });
    this.key = `tags-${imageId}`;
    this.what = "tags";
    this.id = imageId;
    this.version = 0;
    this.saving = false;
    /** @type {string[]} */
    this.tags = [];
    masks.tags = this;
    this.onDone = ({ detail: { change, annotation } }) => change.key === this.key && this.acknowledge(change, annotation);
    outbox.addEventListener("done", this.onDone);
  }

  close() {
    this.outbox.removeEventListener("done", this.onDone);
  }

  async load() {
    const { tags, version } = await get(`images/${this.imageId}/tags`);
    Object.assign(this, { tags, version });
  }

  toggle(tag) {
    this.tags = this.tags.includes(tag) ? this.tags.filter((one) => one !== tag) : [...this.tags, tag];
    this.masks.send("replace", this, { tags: this.tags });
  }

  acknowledge(change, { version, tags }) {
    this.version = version;
    if (this.outbox.waiting.some(({ key }) => key === this.key)) return; // what is shown is newer
    this.saving = false;
    this.tags = tags;
    this.masks.changed();
  }
}
