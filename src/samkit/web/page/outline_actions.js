/** What an annotator does with the outline of the mask at work: its corners, and how many there are. */

import { boxOf, cut, unite } from "./rle.js";
import { announce } from "./notices.js";

import { reshaped, ringsOf } from "./outlines.js";
import { tn } from "./texts.js";

const LEAST_PX = 0.8; // corners stay within such a distance of the outline
const SHARE = 0.004; // of the diagonal of the mask's box
const STEP = 1.5; // by which the distance grows or shrinks

export class OutlineActions {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./draft_actions.js").DraftActions} parts.draft
   * @param {import("./saved_actions.js").SavedActions} parts.saved
   * @param {import("./clock.js").WorkClock} parts.clock
   */
  constructor({ state, draft, saved, clock }) {
    Object.assign(this, { state, draft, saved, clock });
    this.factor = 1; // of the distance
    this.simplified = { mask: null, rings: [], isWanted: false }; // isWanted: somebody asked for other corners
  }

  /** The rings of the mask at work: those that somebody drew or moved, else the simplified outline. */
  get rings() {
    const { draft } = this.state;
    const mask = draft && !draft.waits ? draft.mask : null;
    if (!mask) return [];
    const { simplified } = this;
    if (simplified.mask === mask && (simplified.isWanted || !draft.state.outline)) return simplified.rings;
    return draft.state.outline ?? this.simplify(mask);
  }

  simplify(mask, isWanted = false) {
    this.simplified = { mask, rings: ringsOf(mask, this.toleranceOf(mask)), isWanted };
    return this.simplified.rings;
  }

  toleranceOf(mask) {
    const [x0, y0, x1, y1] = boxOf(mask) ?? [0, 0, 0, 0];
    return this.factor * Math.max(LEAST_PX, SHARE * Math.hypot(x1 - x0, y1 - y0));
  }

  /** Change the mask by its outline. @param {number[][][]} rings */
  reshape(rings) {
    const { rings: before } = this;
    const draft = this.draft.forChange();
    if (!draft) return;
    const round = rings.map((ring) => ring.map(([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10]));
    const { mask } = draft;
    const wanted = reshaped(mask, before, round, this.toleranceOf(mask));
    const added = cut(wanted, mask);
    draft.reshape(unite(cut(wanted, added), this.draft.snap(added)), round, this.clock.lap());
    this.state.update();
  }

  /** Select the mask at a place, unless one is being changed. */
  selectOther(xy) {
    if (!this.state.busy) this.saved.selectAt(xy);
  }

  /** Have fewer corners, or more. @param {1 | -1} direction */
  changeDetail(direction) {
    const { draft } = this.state;
    if (!draft?.mask || draft.waits) return;
    const { mask } = draft;
    this.factor = Math.min(20, Math.max(0.1, this.factor * STEP ** direction));
    announce(tn("{n} corner.", "{n} corners.", this.simplify(mask, true).flat().length));
    this.state.update();
  }
}
