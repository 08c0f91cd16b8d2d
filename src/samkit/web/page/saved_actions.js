/** What an annotator does with saved masks: select, delete, show or hide them, set their class. */

import { ApiError, getItems, post } from "./api.js";
import { Draft } from "./draft.js";
import { promptsOf } from "./history.js";
import { announce, notify, notifyError } from "./notices.js";
import { areaOf, hasPixel } from "./rle.js";

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
  }

  /** Select the smallest visible mask at a place. */
  selectAt([x, y]) {
    const hits = this.masks.present.filter(({ mask, visible }) => visible && hasPixel(mask, Math.floor(x), Math.floor(y)));
    const smallest = hits.sort((a, b) => areaOf(a.mask) - areaOf(b.mask))[0];
    if (smallest) this.select(smallest);
  }

  /** Select a saved mask, to correct it. @param {import("./saved_masks.js").SavedMask} item */
  async select(item) {
    const { state } = this;
    if (state.busy) return notify("Accept or cancel the current mask first.", "bad");
    if (item.key === state.selectedKey) return undefined;
    const draft = new Draft(state.image.size_hw, { mask: item.mask, item, events: [] });
    state.draft = draft;
    state.classId = item.classId;
    this.painter.showPreview(null);
    announce(`Mask ${item.number} selected, ${state.className ?? "no class"}.`);
    state.update();
    if (item.id === null || item.saving) return undefined;
    // Its prompts come a moment later; until then it can be corrected as a plain mask.
    try {
      const [revisions, events] = await Promise.all([getItems(`annotations/${item.id}/history`), getItems(`annotations/${item.id}/events`)]);
      if (state.draft !== draft || draft.history.canUndo || draft.history.canRedo) return undefined;
      state.draft = new Draft(state.image.size_hw, { mask: item.mask, item, events: promptsOf(revisions, events) });
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
    this.select(present[(from + step + present.length) % present.length]);
  }

  deleteSelected() {
    const { selected } = this.state;
    if (selected) this.deleteMask(selected);
  }

  deleteMask(item) {
    const { state } = this;
    if (!state.held) return;
    if (item.key === state.selectedKey) state.draft = null;
    this.masks.remove(item);
    announce(`Mask ${item.number} deleted. Ctrl+Z brings it back.`);
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

  /** Set the class of the selected mask, and of those that follow. */
  setClass(classId) {
    const { state } = this;
    state.classId = classId;
    const item = state.selected;
    if (item && state.held && item.classId !== classId && !state.draft.changed) {
      const events = [{ kind: "class", data: { class_id: classId }, duration_ms: this.clock.lap() }];
      this.masks.replace(item, { mask: item.mask, classId, events });
    }
    try {
      localStorage.setItem(this.classMemory, classId ?? "");
    } catch {
      // the browser's storage is full or forbidden
    }
    announce(`Class: ${state.className ?? "none"}.`);
    state.update();
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

  /** Go on with the class that was last used in the project. */
  restoreClass() {
    try {
      const id = Number(localStorage.getItem(this.classMemory));
      this.state.classId = this.state.classes.has(id) ? id : null;
    } catch {
      this.state.classId = null;
    }
  }

  get classMemory() {
    return `samkit.class.${this.state.project.id}`;
  }
}
