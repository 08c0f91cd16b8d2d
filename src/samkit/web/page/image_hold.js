/** Loading an image and its lease: take it, renew it, submit the image, go to the next one. */

import { OFFLINE, get, getItems, isReviewer, post, remove } from "./api.js";
import { confirmDialog, plural } from "./dom.js";
import { ImageLevels } from "./image.js";
import { banner, notify, notifyError } from "./notices.js";

const RENEW_MS = 60_000;
const UNREADABLE = [404, 409, 422]; // missing, changed, damaged or too large

export class ImageHold {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./stage.js").Stage} parts.stage
   * @param {import("./saved_masks.js").SavedMasks} parts.masks
   * @param {import("./outbox.js").Outbox} parts.outbox
   * @param {import("./clock.js").WorkClock} parts.clock
   */
  constructor({ state, stage, masks, outbox, clock }) {
    this.state = state;
    this.stage = stage;
    this.masks = masks;
    this.outbox = outbox;
    this.clock = clock;
    this.picture = null; // promise of the first picture
    this.renewal = 0;
  }

  /** Load the image, its project and classes. @throws {ApiError} there is no such image */
  async load() {
    const { state, stage } = this;
    state.image = await get(`images/${state.imageId}`);
    stage.show(new ImageLevels(state.image, () => stage.repaint()));
    state.update();
    this.picture = this.loadPicture();
    state.project = await get(`projects/${state.image.project_id}`);
    const classes = await getItems(`projects/${state.project.id}/classes`);
    state.classes = new Map(classes.map((one) => [one.id, one]));
  }

  /** Load the first picture; an image that cannot be read is a state of its own. */
  loadPicture() {
    return this.stage.levels.start().catch((error) => {
      if (UNREADABLE.includes(error.status)) this.showUnreadable(this.state.unreadable ?? error.message);
      else notifyError(error);
    });
  }

  showUnreadable(detail) {
    this.state.unreadable = detail;
    this.state.update();
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
      const mayTakeBack = error.status === 403 && (await this.hasFinished());
      const what = renewing ? "You no longer hold this image" : "You can view this image but not change it";
      banner("lease", `${what}: ${error.message}`, [
        mayTakeBack && { label: "Take back", act: () => this.takeBack(state.imageId), primary: true },
        { label: "Try again", act: () => this.take({ renewing }).then(() => state.update()), primary: !mayTakeBack },
        { label: "Next image", act: () => this.next() },
      ].filter(Boolean));
    }
    state.update();
  }

  /** Whether this user has submitted the image or set it aside, and might take that back. */
  async hasFinished() {
    const { submission } = await get(`images/${this.state.imageId}/submission`).catch(() => ({ submission: null }));
    return submission !== null && !submission.returned;
  }

  /** Take back what was made of an image, until somebody reviews it, and open it. */
  async takeBack(imageId) {
    const { state } = this;
    try {
      const lease = await post(`images/${imageId}/take_back`);
      notify("Taken back: submit it again when it is done.", "good");
      if (location.hash !== `#/image/${imageId}`) {
        location.hash = `#/image/${imageId}`; // already at another image
        return;
      }
      state.image = lease.image;
      state.held = true;
      banner("lease", null);
      banner("comment", null);
      state.update();
    } catch (error) {
      notifyError(error);
    }
  }

  /** Say what was done with the image, with a way back. */
  sayDone(text) {
    const { imageId } = this.state;
    notify(text, "good", { label: "Take back", act: () => this.takeBack(imageId) });
  }

  keepRenewing() {
    this.renewal = setInterval(() => this.state.held && this.take({ renewing: true }), RENEW_MS);
  }

  /** Say why the image was returned, skipped or reported, or what a quality audit asks for; reviewers may reopen it. */
  showReviewComment() {
    const { review, comment } = this.state.image;
    const words = { returned: "Returned by the reviewer", skipped: "Skipped", unusable: "Reported as unusable" }[review];
    if (!comment || (!words && review !== "none")) return;
    const actions = [
      ["skipped", "unusable"].includes(review) && isReviewer() && { label: "Reopen", act: () => this.reopen() },
      { label: "Got it", act: () => banner("comment", null) },
    ];
    banner("comment", words ? `${words}: “${comment}”` : comment, actions.filter(Boolean));
  }

  async reopen() {
    const { state } = this;
    try {
      state.image = await post(`images/${state.imageId}/reopen`, { version: state.image.version });
      banner("comment", null);
      notify("Reopened: it is offered to everybody again.", "good");
      await this.take();
    } catch (error) {
      notifyError(error);
    }
  }

  /** Stop renewing, and give the image back unless changes to it still wait to be sent. */
  close() {
    clearInterval(this.renewal);
    const { imageId, held } = this.state;
    if (held && !this.outbox.holds(imageId)) remove(`images/${imageId}/lease`).catch(() => {});
  }

  /** Whether the image may be finished now; says why if it may not. */
  async canFinish() {
    const { state, outbox } = this;
    if (state.held && !state.busy) await outbox.send();
    let hindrance = null;
    if (!state.held) hindrance = "You do not hold this image.";
    else if (state.busy) hindrance = "Accept or cancel the current mask first.";
    else if (outbox.holds(state.imageId)) hindrance = "Some masks are not saved yet. They will be sent as soon as the server answers.";
    if (hindrance) notify(hindrance, "bad");
    return hindrance === null;
  }

  /** Skip the image, or report that it cannot be used, and go on. @param {"skip" | "unusable"} act */
  async setAside(act, reason) {
    const { state } = this;
    if (!(await this.canFinish())) return;
    try {
      await post(`images/${state.imageId}/${act}`, { reason });
      state.held = false;
      this.sayDone(act === "skip" ? "Skipped." : "Reported as unusable.");
      await this.next();
    } catch (error) {
      notifyError(error);
    }
  }

  /** Ask about what is probably a mistake: no masks, or masks without a class. */
  async isMeantSo() {
    const { state, masks } = this;
    const { present } = masks;
    const yes = state.reviewing ? "Accept" : "Submit";
    if (!present.length) return confirmDialog(`${yes} without masks?`, "Nothing is marked on this image: it would count as one without objects.", yes, { byEnter: true });
    const unnamed = present.filter(({ classId }) => !state.classes.has(classId)).length;
    if (!state.classes.size || !unnamed) return true;
    return confirmDialog(`${yes} masks without a class?`, `${plural(unnamed, "mask")} of ${present.length} ${unnamed === 1 ? "has" : "have"} no class.`, yes, { byEnter: true });
  }

  /** Submit the image, or accept it in review, and go on. */
  async submit() {
    const { state } = this;
    if (!(await this.canFinish()) || !(await this.isMeantSo())) return undefined;
    try {
      if (state.reviewing && state.image.num_annotators > 1) {
        location.hash = `#/project/${state.project.id}/review/${state.imageId}`; // to choose among people's masks
        return undefined;
      }
      if (state.reviewing) {
        const image = await get(`images/${state.imageId}`);
        await post(`images/${state.imageId}/accept`, { version: image.version });
        state.held = false;
        location.hash = `#/project/${state.project.id}/review`;
        return undefined;
      }
      // Looking at masks that are right takes time, too, which none of their events has.
      await post(`images/${state.imageId}/submit?duration_ms=${this.clock.lap()}`);
      state.held = false;
      this.sayDone(`Submitted with ${plural(this.masks.present.length, "mask")}.`);
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
        notify("Nothing more to annotate now. Thank you!", "good");
        location.hash = `#/project/${project.id}`;
      }
    } catch (error) {
      notifyError(error);
    }
  }
}
