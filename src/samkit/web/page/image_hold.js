/** Loading an image and its lease: take it, renew it, submit the image, go to the next one. */

import { OFFLINE, get, getItems, isReviewer, post, remove } from "./api.js";
import { confirmDialog } from "./dom.js";
import { openImage } from "./image.js";
import { banner, notify, notifyError } from "./notices.js";
import { t, tn } from "./texts.js";

const RENEW_MS = 60_000;
const TILING_MS = 700; // after which a word says what takes so long
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

  /** Whether the image is on the screen; another page may be asked for while this one opens. */
  get isShown() {
    return this.stage.element.isConnected;
  }

  /** Load the image, its project and classes. @throws {ApiError} there is no such image */
  async load() {
    const { state, stage } = this;
    state.image = await get(`images/${state.imageId}`);
    stage.show(openImage(state.image, () => stage.repaint()));
    state.update();
    this.picture = this.loadPicture();
    state.project = await get(`projects/${state.image.project_id}`);
    const classes = await getItems(`projects/${state.project.id}/classes`);
    state.classes = new Map(classes.map((one) => [one.id, one]));
    state.labelling = await get(`projects/${state.project.id}/labelling`);
  }

  /** Load the first picture; an image that cannot be read is a state of its own. */
  loadPicture() {
    const { levels } = this.stage;
    const say = () => levels.isTiled && this.isShown && banner("tiles", t("This image is large: it is being cut into tiles, once."), [], "info");
    const timer = setTimeout(say, TILING_MS);
    return levels.start().catch((error) => {
      if (UNREADABLE.includes(error.status)) this.showUnreadable(this.state.unreadable ?? error.message);
      else notifyError(error);
    }).finally(() => {
      clearTimeout(timer);
      if (this.isShown) banner("tiles", null);
    });
  }

  showUnreadable(detail) {
    this.state.unreadable = detail;
    this.state.update();
  }

  /** Take the lease and load the masks, which nobody else changes from then on; or renew the lease. */
  async take({ renewing = false } = {}) {
    const { state } = this;
    try {
      const lease = await post(`images/${state.imageId}/lease`);
      state.image = lease.image;
      if (!state.held && !renewing) await this.masks.load(); // a mask that is made before would not be in the list
      state.held = true;
      if (this.isShown) banner("lease", null);
    } catch (error) {
      if (error.status === OFFLINE || error.status === 401) return;
      state.held = false;
      const mayTakeBack = error.status === 403 && (await this.hasFinished());
      if (!this.isShown) return;
      const why = { why: error.message };
      const what = renewing ? t("You no longer hold this image: {why}", why) : t("You can view this image but not change it: {why}", why);
      banner("lease", what, [
        mayTakeBack && { label: t("Take back"), act: () => this.takeBack(state.imageId), primary: true },
        { label: t("Try again"), act: () => this.take({ renewing }).then(() => state.update()), primary: !mayTakeBack },
        { label: t("Next image"), act: () => this.next() },
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
      notify(t("Taken back: submit it again when it is done."), "good");
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
    notify(text, "good", { label: t("Take back"), act: () => this.takeBack(imageId) });
  }

  keepRenewing() {
    this.renewal = setInterval(() => this.state.held && this.take({ renewing: true }), RENEW_MS);
  }

  /** Say why the image was returned, skipped or reported, or what a quality audit asks for; reviewers may reopen it. */
  showReviewComment() {
    const { review, comment } = this.state.image;
    const words = { returned: t("Returned by the reviewer: “{comment}”", { comment }), skipped: t("Skipped: “{comment}”", { comment }), unusable: t("Reported as unusable: “{comment}”", { comment }) }[review];
    if (!comment || (!words && review !== "none")) return;
    const actions = [
      ["skipped", "unusable"].includes(review) && isReviewer() && { label: t("Reopen"), act: () => this.reopen() },
      { label: t("Got it"), act: () => banner("comment", null) },
    ];
    banner("comment", words ?? comment, actions.filter(Boolean));
  }

  async reopen() {
    const { state } = this;
    try {
      state.image = await post(`images/${state.imageId}/reopen`, { version: state.image.version });
      banner("comment", null);
      notify(t("Reopened: it is offered to everybody again."), "good");
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
    if (!state.held) hindrance = t("You do not hold this image.");
    else if (state.busy) hindrance = t("Accept or cancel the current mask first.");
    else if (outbox.holds(state.imageId)) hindrance = t("Some masks are not saved yet. They will be sent as soon as the server answers.");
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
      this.sayDone(act === "skip" ? t("Skipped.") : t("Reported as unusable."));
      await this.next();
    } catch (error) {
      notifyError(error);
    }
  }

  /** Ask about what is probably a mistake: no masks, or masks without a class. */
  async isMeantSo() {
    const { state, masks } = this;
    const { present } = masks;
    const yes = state.reviewing ? t("Accept") : t("Submit");
    if (!present.length) return confirmDialog(state.reviewing ? t("Accept without masks?") : t("Submit without masks?"), t("Nothing is marked on this image: it would count as one without objects."), yes, { byEnter: true });
    const unnamed = present.filter(({ classId }) => !state.classes.has(classId)).length;
    if (!unnamed || (!state.classes.size && !state.labelling.class_required)) return true;
    if (state.labelling.class_required) {
      notify(tn("{n} mask of {total} has no class, which the project requires: choose one for each.", "{n} masks of {total} have no class, which the project requires: choose one for each.", unnamed, { total: present.length }), "bad");
      return false;
    }
    return confirmDialog(state.reviewing ? t("Accept masks without a class?") : t("Submit masks without a class?"), tn("{n} mask of {total} has no class.", "{n} masks of {total} have no class.", unnamed, { total: present.length }), yes, { byEnter: true });
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
      this.sayDone(tn("Submitted with {n} mask.", "Submitted with {n} masks.", this.masks.present.length));
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
        notify(t("Nothing more to annotate now. Thank you!"), "good");
        location.hash = `#/project/${project.id}`;
      }
    } catch (error) {
      notifyError(error);
    }
  }
}
