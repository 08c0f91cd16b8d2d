/** What an annotator does with saved masks: select, delete, show or hide them, set their class. */

import { ApiError, getItems, post, signedIn } from "./api.js";
import { Draft } from "./draft.js";
import { promptsOf } from "./history.js";
import { announce, notify, notifyError } from "./notices.js";
import { boxOf } from "./rle.js";
import { t } from "./texts.js";
import { showBox } from "./view.js";

export class SavedActions {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./stage.js").Stage} parts.stage
   * @param {import("./studio_paint.js").DraftPainter} parts.painter
   * @param {import("./saved_masks.js").SavedMasks} parts.masks
   * @param {import("./clock.js").WorkClock} parts.clock
   */
  constructor({ state, stage, painter, masks, clock }) {
    this.state = state;
    this.stage = stage;
    this.painter = painter;
    this.masks = masks;
    this.clock = clock;
    /** What is done with a mask that is pointed at while `state.picking`. @type {(item: object | null) => void} */
    this.onPick = () => {};
  }

  /** Select the smallest visible mask at a place. */
  selectAt(xy) {
    this.choose(this.masks.at(xy));
  }

  /** Select a mask that was pointed at, or do with it what was asked for. */
  choose(item) {
    const { picking } = this.state;
    if (picking && picking !== "line") this.onPick(item);
    else if (item) this.selectListed(item);
  }

  /** Select a saved mask, to correct it. @param {import("./saved_masks.js").SavedMask} item */
  async select(item) {
    const { state } = this;
    if (state.busy) return notify(t("Accept or cancel the current mask first."), "bad");
    if (item.key === state.selectedKey) return undefined;
    const saved = { mask: item.mask, item, classId: item.classId, attributes: item.attributes, events: [] };
    const draft = new Draft(state.image.size_hw, saved);
    state.draft = draft;
    this.painter.showPreview(null);
    announce(t("Mask {n} selected, {name}.", { n: item.number, name: state.className ?? t("no class") }));
    state.update();
    if (item.id === null || item.saving) return undefined;
    // Its prompts come a moment later; until then it can be corrected as a plain mask.
    try {
      const [revisions, events] = await Promise.all([getItems(`annotations/${item.id}/history`), getItems(`annotations/${item.id}/events`)]);
      if (state.draft !== draft || draft.history.canUndo || draft.history.canRedo) return undefined;
      state.draft = new Draft(state.image.size_hw, { ...draft.saved, attributes: draft.attributes, events: promptsOf(revisions, events) });
      state.update();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // without its prompts it is a plain mask
    }
    return undefined;
  }

  /** @param {1 | -1} step */
  selectNext(step) {
    const { present } = this.masks;
    if (!present.length) return;
    const at = present.findIndex(({ key }) => key === this.state.selectedKey);
    const from = at < 0 && step < 0 ? 0 : at;
    this.selectListed(present[(from + step + present.length) % present.length]);
  }

  /** Select a mask that may be out of sight, and bring it into sight. */
  selectListed(item) {
    const { stage } = this;
    const box = boxOf(item.mask);
    if (box && stage.view) {
      const view = showBox(stage.view, box);
      if (view !== stage.view) stage.look(view);
    }
    return this.select(item);
  }

  /** Light up a mask, as the pointer is over it in the list; null for none. */
  lightUp(item) {
    this.state.lit = item;
    this.stage.redraw();
  }

  deleteSelected() {
    const { selected } = this.state;
    if (selected) this.deleteMask(selected);
  }

  deleteMask(item) {
    const { state } = this;
    if (!state.held) return;
    state.picking = null;
    if (item.key === state.selectedKey) state.draft = null;
    this.masks.remove(item);
    announce(t("Mask {n} deleted. Ctrl+Z brings it back.", { n: item.number }));
    state.update();
  }

  toggleVisible(item) {
    item.visible = !item.visible;
    this.state.update();
  }

  toggleAll() {
    this.stage.showMasks = !this.stage.showMasks;
    this.state.update();
  }

  setOpacity(value) {
    this.stage.opacity = Math.min(1, Math.max(0.1, value));
    this.state.update();
  }

  /** @param {boolean} byClass whether masks have their class's colour, or each its own */
  colorByClass(byClass) {
    this.masks.byClass = byClass;
    this.state.update();
  }

  /** Set the class of the selected mask, or of the masks that follow if none is selected. */
  setClass(classId) {
    const { state } = this;
    const { draft, selected: item } = state;
    if (item && !state.held) return;
    if (item) draft.saved.classId = classId; // a mask that is being corrected is saved when it is accepted
    else this.setNextClass(classId);
    if (item && item.classId !== classId && !draft.changed) {
      const events = [{ kind: "class", data: { class_id: classId }, duration_ms: this.clock.lap() }];
      this.masks.replace(item, { mask: item.mask, classId, events });
    }
    announce(t("Class: {name}.", { name: state.className ?? t("none") }));
    state.update();
  }

  setNextClass(classId) {
    this.state.nextClassId = classId;
    try {
      localStorage.setItem(this.classKey, classId ?? "");
    } catch {
      // the browser's storage is full or forbidden
    }
  }

  async addClass(name) {
    const { state } = this;
    try {
      const added = await post(`projects/${state.project.id}/classes`, { name });
      state.classes = new Map(state.classes).set(added.id, added);
      this.setClass(added.id);
    } catch (error) {
      notifyError(error);
    }
  }

  /** Go on with the class that was last used in the project, at first with its first one. */
  restoreClass() {
    const { state } = this;
    const [first = null] = state.classes.keys();
    let known = null;
    try {
      known = localStorage.getItem(this.classKey);
    } catch {
      // the browser's storage is forbidden
    }
    if (known === "") state.nextClassId = null; // masks without a class were chosen
    else state.nextClassId = state.classes.has(Number(known)) ? Number(known) : first;
  }

  get classKey() {
    return `samkit.class.${signedIn.user.id}.${this.state.project.id}`;
  }
}
