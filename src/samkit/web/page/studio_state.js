/** What the studio's actions, panels and keys share: the state of one open image. */

import { isReviewer } from "./api.js";

export class StudioState {
  /**
   * @param {number} imageId
   * @param {() => void} update redraws everything from the state; call it after each change
   */
  constructor(imageId, update) {
    this.imageId = imageId;
    this.update = update;
    this.image = null;
    this.project = null;
    this.held = false; // whether this user has the lease
    this.encoded = false; // whether the server can answer prompts
    this.lost = false; // whether the connection to the server is down
    this.unreadable = null; // why the image cannot be read
    /** @type {Map<number, {id: number, name: string, color: string}>} */
    this.classes = new Map();
    this.classId = null;
    /** @type {import("./draft.js").Draft | null} */
    this.draft = null;
    this.toolName = "point";
    this.background = false; // whether clicks mean background
    this.radius = 12; // of the brush, in image pixels
    this.pointer = null; // [x, y] in the image
    this.crosshair = null; // [x, y] of the keyboard's pointer
    this.pressed = false; // whether the keyboard holds the tool down
    this.space = { held: false, used: false };
  }

  /** The saved mask that is selected, or null. */
  get selected() {
    return this.draft?.saved?.item ?? null;
  }

  get selectedKey() {
    return this.selected?.key ?? null;
  }

  /** Whether there is an unfinished mask, or a saved one is selected. */
  get atWork() {
    return this.draft !== null && (this.draft.changed || this.draft.saved !== null);
  }

  /** Whether leaving would lose work. */
  get busy() {
    return this.draft?.changed === true;
  }

  /** Whether a reviewer corrects a submitted image. */
  get reviewing() {
    return isReviewer() && ["submitted", "accepted"].includes(this.image?.review);
  }

  get className() {
    return this.classes.get(this.classId)?.name ?? null;
  }
}
