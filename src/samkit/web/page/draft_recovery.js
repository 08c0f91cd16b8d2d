/** Keeps what is drawn or clicked but not saved, and brings it back when the image is opened again. */

import { signedIn } from "./api.js";
import { Draft } from "./draft.js";
import { DraftStore } from "./draft_store.js";
import { notify } from "./notices.js";
import { t } from "./texts.js";

export class DraftRecovery {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./studio_tools.js").StudioTools} parts.tools
   * @param {import("./saved_masks.js").SavedMasks} parts.masks
   * @param {import("./draft_actions.js").DraftActions} parts.draft
   */
  constructor({ state, tools, masks, draft }) {
    Object.assign(this, { state, tools, masks, draft });
    this.store = new DraftStore(signedIn.user.id, state.imageId);
    this.stored = null; // what the store has
    this.isOn = false; // not before what was left is back
  }

  /** Store the draft if it has changed; called after each change. */
  keep() {
    if (!this.isOn) return;
    const { draft, classId } = this.state;
    const { points, erase } = this.tools.polygon;
    const isDrawn = draft?.changed === true;
    const now = isDrawn || points.length ? { state: isDrawn && draft.state, answers: draft?.answers.size, classId, corners: String(points) } : null;
    if (sameContent(now, this.stored)) return;
    this.stored = now;
    const item = (isDrawn && draft.saved?.item) || null;
    this.store.put(
      now && {
        mask: item?.id ?? "new",
        version: item?.version ?? null,
        classId,
        draft: isDrawn ? draft.record() : null,
        corners: points.length ? { points: [...points], erase } : null,
      },
    );
  }

  /** Bring back what was left on the image, if it may be changed. */
  async restore() {
    const { state, tools } = this;
    const record = state.held ? await this.store.find() : null;
    this.isOn = true;
    if (!record || state.draft) return;
    this.store.takeOver(record);
    const item = this.masks.present.find(({ id }) => id === record.mask);
    const isSame = item?.version === record.version;
    if (record.draft) {
      const saved = item && isSame ? { mask: item.mask, item, classId: record.classId, events: [] } : null;
      state.draft = Draft.from(record.draft, state.image.size_hw, saved);
      if (!saved && state.classes.has(record.classId)) state.nextClassId = record.classId;
    }
    if (record.corners) {
      Object.assign(tools.polygon, record.corners);
      state.toolName = "polygon";
    }
    const isNew = record.mask !== "new" && !isSame; // nothing of what others made meanwhile is overwritten
    notify(isNew ? t("What was not saved is back, as a new mask: the saved one has changed since.") : t("What was not saved is back."), "good", {
      label: t("Throw away"),
      act: () => this.draft.throwAway(),
    });
    state.update();
  }

  /** Stop; what is stored stays. */
  close() {
    this.isOn = false;
  }
}

const sameContent = (one, other) =>
  one === other || (one && other && Object.keys(one).every((name) => one[name] === other[name]));
