/** What the studio's actions, panels and keys share: the state of one open image. */

import { isReviewer } from "./api.js";
import { NOTHING } from "./labelling.js";

export class StudioState {
  /**
   * @param {number} imageId
   * @param {ReturnType<typeof import("./settings.js").readSettings>} settings
   * @param {() => void} update redraws everything from the state; call it after each change
   */
  constructor(imageId, settings, update) {
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
    this.nextClassId = null; // of the masks that are made from now on
    /** @type {import("./labelling.js").Labelling} */
    this.labelling = NOTHING;
    /** @type {import("./draft.js").Draft | null} */
    this.draft = null;
    this.toolName = settings.tool;
    this.fit = settings.fit; // how accepted masks fit among the others
    this.snap = settings.snap; // whether what is drawn is joined to the borders of other masks
    this.strip = settings.strip; // whether the strip of thumbnails is shown
    const { holes, islands, smoothing: radius, least, cleanNew: always } = settings;
    this.cleaning = { holes, islands, radius, least, always }; // limits in pixels
    /** @type {"merge" | "subtract" | "line" | null} */
    this.picking = null; // what the next mask that is pointed at, or the next line, is for
    this.background = false; // whether clicks mean background
    this.radius = settings.radius; // of the brush, in image pixels
    /** @type {import("./saved_masks.js").SavedMask | null} */
    this.lit = null; // the mask that the pointer is over in the list
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

  /** The class of the selected mask, else that of the next one. */
  get classId() {
    return this.draft?.saved ? this.draft.saved.classId : this.nextClassId;
  }

  /** The attributes of the selected mask, else of the one in the making. */
  get attributes() {
    return this.draft?.attributes ?? {};
  }

  get className() {
    return this.classes.get(this.classId)?.name ?? null;
  }
}
