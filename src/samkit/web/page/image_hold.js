/** Loading an image and its lease: take it, renew it, submit the image, go to the next one. */

import { OFFLINE, get, getItems, post, remove } from "./api.js";
import { plural } from "./dom.js";
import { ImageLevels } from "./image.js";
import { banner, notify, notifyError } from "./notices.js";

const RENEW_MS = 60_000;

export class ImageHold {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./stage.js").Stage} parts.stage
   * @param {import("./saved_masks.js").SavedMasks} parts.masks
   * @param {import("./outbox.js").Outbox} parts.outbox
   */
  constructor({ state, stage, masks, outbox }) {
    this.state = state;
    this.stage = stage;
    this.masks = masks;
    this.outbox = outbox;
    this.picture = null; // promise of the first picture
    this.renewal = 0;
  }

  /** Load the image, its project and classes. @throws {ApiError} there is no such image */
  async load() {
    const { state, stage } = this;
    state.image = await get(`images/${state.imageId}`);
    stage.show(new ImageLevels(state.image, () => stage.repaint()));
    state.update();
    this.picture = stage.levels.start().catch(notifyError);
    state.project = await get(`projects/${state.image.project_id}`);
    const classes = await getItems(`projects/${state.project.id}/classes`);
    state.classes = new Map(classes.map((one) => [one.id, one]));
  }

  /** Take the lease, or renew it. */
  async take({ renewing = false } = {}) {
    const { state } = this;
    try {
      const lease = await post(`images/${state.imageId}/lease`);
      state.image = lease.image;
      state.held = true;
      banner("lease", null);
    } catch (error) {
      if (error.status === OFFLINE || error.status === 401) return;
      state.held = false;
      const what = renewing ? "You no longer hold this image" : "You can view this image but not change it";
      banner("lease", `${what}: ${error.message}`, [
        { label: "Try again", act: () => this.take({ renewing }).then(() => state.update()), primary: true },
        { label: "Next image", act: () => this.next() },
      ]);
    }
    state.update();
  }

  keepRenewing() {
    this.renewal = setInterval(() => this.state.held && this.take({ renewing: true }), RENEW_MS);
  }

  showReviewComment() {
    const { review, comment } = this.state.image;
    if (review !== "returned" || !comment) return;
    banner("comment", `Returned by the reviewer: “${comment}”`, [{ label: "Got it", act: () => banner("comment", null) }]);
  }

  /** Stop renewing, and give the image back unless changes to it still wait to be sent. */
  close() {
    clearInterval(this.renewal);
    const { imageId, held } = this.state;
    if (held && !this.outbox.holds(imageId)) remove(`images/${imageId}/lease`).catch(() => {});
  }

  /** Submit the image, or accept it in review, and go on. */
  async submit() {
    const { state } = this;
    if (!state.held) return notify("You do not hold this image.", "bad");
    if (state.busy) return notify("Accept or cancel the current mask first.", "bad");
    await this.outbox.send();
    if (this.outbox.holds(state.imageId)) return notify("Some masks are not saved yet. They will be sent as soon as the server answers.", "bad");
    try {
      if (state.reviewing) {
        const image = await get(`images/${state.imageId}`);
        await post(`images/${state.imageId}/accept`, { version: image.version });
        state.held = false;
        location.hash = `#/project/${state.project.id}/review`;
        return undefined;
      }
      await post(`images/${state.imageId}/submit`);
      state.held = false;
      notify(`Submitted with ${plural(this.masks.present.length, "mask")}.`, "good");
      return await this.next();
    } catch (error) {
      return notifyError(error);
    }
  }

  async next() {
    const { project } = this.state;
    try {
      const { lease } = await post(`projects/${project.id}/next`);
      if (lease) location.hash = `#/image/${lease.image.id}`;
      else {
        notify("All images are done. Thank you!", "good");
        location.hash = `#/project/${project.id}`;
      }
    } catch (error) {
      notifyError(error);
    }
  }
}
