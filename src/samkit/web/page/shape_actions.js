/**
 * What an annotator does with the shapes of saved masks: merge two, take one away from another, split
 * into parts, clean up; and how masks that are accepted fit among the others. All that one action
 * changes is one step of Undo.
 */

import { signedIn } from "./api.js";
import { el, field, openDialog } from "./dom.js";
import { divide } from "./dividing.js";
import { announce, notify } from "./notices.js";
import { areaOf, cut, sameMask, unite } from "./rle.js";
import { cleanUp, outside, overlap, partsOf } from "./shapes.js";
import { t, tn } from "./texts.js";

/** How accepted masks fit among the others: as they are, or without overlap. */
export const FITS = ["free", "under", "over"];
export const FIT_WORDS = { free: t("Masks may overlap"), under: t("New masks go under the others"), over: t("New masks go over the others") };
/** What is asked for, for each action that needs something more. */
export const PICK_WORDS = { merge: t("Click the mask to merge with"), subtract: t("Click the mask to take away"), line: t("Draw a line across the mask") };
const MAX_PARTS = 50; // of a mask that is split

export class ShapeActions {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./saved_masks.js").SavedMasks} parts.masks
   * @param {import("./saved_actions.js").SavedActions} parts.saved
   * @param {import("./clock.js").WorkClock} parts.clock
   */
  constructor({ state, masks, saved, clock }) {
    Object.assign(this, { state, masks, saved, clock });
    this.fitted = { mask: null, others: null, left: null }; // the last result for the stage
  }

  nextFit() {
    const { state } = this;
    state.fit = FITS[(FITS.indexOf(state.fit) + 1) % FITS.length];
    notify(`${FIT_WORDS[state.fit]}${t(".")}`);
    state.update();
  }

  /** The masks that may be changed together with one: where people work independently, one person's. */
  others(item) {
    const { image } = this.state;
    const maker = item?.userId ?? signedIn.user.id;
    const isSame = ({ userId }) => image.num_annotators === 1 || userId === maker;
    return this.masks.present.filter((one) => one !== item && isSame(one));
  }

  /** The mask at work as it would be accepted, without cleaning up. */
  shown(draft) {
    const { mask } = draft;
    if (!mask || this.state.fit !== "under" || !draft.changed) return mask;
    const { present } = this.masks;
    if (this.fitted.mask !== mask || this.fitted.others !== present) {
      const left = outside(mask, this.others(draft.saved?.item ?? null).map((one) => one.mask));
      this.fitted = { mask, others: present, left };
    }
    return this.fitted.left;
  }

  /**
   * What is saved of a finished draft.
   * @returns {{mask: import("./rle.js").Mask, events: object[], score: number | null}}
   */
  finish(draft) {
    const { fit, cleaning } = this.state;
    const done = [];
    let { mask } = draft;
    const become = (next, data) => {
      if (areaOf(next) === areaOf(mask) && sameMask(next, mask)) return;
      mask = next;
      done.push(shapeEvent(data));
    };
    if (cleaning.always) become(cleanUp(mask, cleaning), cleanData(cleaning));
    const others = this.others(draft.saved?.item ?? null).map((one) => one.mask);
    if (fit === "under") {
      become(outside(mask, others), { action: "under" });
      if (cleaning.always) become(cleanUp(mask, slivers(cleaning)), cleanData(slivers(cleaning)));
    }
    return { mask, events: [...draft.events, ...done], score: done.length ? null : draft.score };
  }

  /** Take a mask that was accepted away from those that it lies over, if masks go over the others. */
  putOver(item) {
    if (this.state.fit === "over") this.takeFromOthers(item);
  }

  /** Take a mask away from all others. @returns {number} how many were changed */
  takeFromOthers(item) {
    let [changed, covered] = [0, 0];
    for (const other of this.others(item)) {
      if (!overlap(other.mask, item.mask)) continue;
      const left = cut(other.mask, item.mask);
      if (areaOf(left) === areaOf(other.mask)) continue;
      changed += 1;
      if (areaOf(left) > 0) {
        this.masks.replace(other, { ...this.withoutSlivers(left, { action: "over" }), classId: other.classId });
      } else {
        this.masks.remove(other);
        covered += 1;
      }
    }
    if (covered) notify(tn("{n} mask lay under it completely and is deleted. Ctrl+Z brings it back.", "{n} masks lay under it completely and are deleted. Ctrl+Z brings them back.", covered));
    return changed;
  }

  /** What is saved of a mask that others were cut out of, cleaned up if accepted masks are. */
  withoutSlivers(left, data, duration = 0) {
    const { cleaning } = this.state;
    const mask = cleaning.always ? cleanUp(left, slivers(cleaning)) : left;
    const events = [shapeEvent(data, duration)];
    if (!sameMask(mask, left)) events.push(shapeEvent(cleanData(slivers(cleaning))));
    return { mask, events };
  }

  /** Put the selected mask over or under the others: what several have stays in one. @param {"over" | "under"} where */
  order(where) {
    const item = this.selected;
    if (!item) return undefined;
    if (where === "over") {
      let changed = 0;
      this.masks.together(() => {
        changed = this.takeFromOthers(item);
      });
      notify(changed ? tn("It lies over {n} other mask now.", "It lies over {n} other masks now.", changed) : t("It overlaps no other mask."));
      return undefined;
    }
    const left = outside(item.mask, this.others(item).map((one) => one.mask));
    if (!areaOf(left)) return notify(t("The other masks cover it completely: nothing is left of it."), "bad");
    if (sameMask(left, item.mask)) return notify(t("It overlaps no other mask."));
    this.masks.replace(item, { ...this.withoutSlivers(left, { action: "under" }, this.clock.lap()), classId: item.classId });
    notify(t("It lies under the others now."));
    return this.selectAgain(item);
  }

  replace(item, mask, data, duration = 0) {
    this.masks.replace(item, { mask, classId: item.classId, events: [shapeEvent(data, duration)] });
  }

  /** The selected mask if its shape may be changed now; says why if it may not. */
  get selected() {
    const { state } = this;
    const item = state.selected;
    let hindrance = null;
    if (!state.held) hindrance = t("You do not hold this image, so you cannot change it.");
    else if (!item) hindrance = t("Select a mask first: Ctrl and click it.");
    else if (state.busy) hindrance = t("Accept or cancel the current mask first.");
    if (hindrance) notify(hindrance, "bad");
    return hindrance ? null : item;
  }

  /** Ask for the mask to merge with or to take away, or the line to split by. @param {keyof typeof PICK_WORDS} action */
  pick(action) {
    const { state } = this;
    if (!this.selected) return;
    state.picking = action;
    announce(`${PICK_WORDS[action]}${t(".")}`);
    state.update();
  }

  /** Do what was asked for with the mask that was clicked. */
  combine(other) {
    const { state, masks } = this;
    const action = state.picking;
    const item = state.selected;
    state.picking = null;
    if (!item || !other || other === item) return state.update();
    const mask = action === "merge" ? unite(item.mask, other.mask) : cut(item.mask, other.mask);
    if (!areaOf(mask)) {
      notify(t("Nothing would be left of the mask."), "bad");
      return state.update();
    }
    masks.together(() => {
      this.replace(item, mask, { action, annotation_id: other.id }, this.clock.lap());
      if (action === "merge") masks.remove(other);
    });
    announce(action === "merge" ? t("Merged with mask {n}.", { n: other.number }) : t("Mask {n} taken away.", { n: other.number }));
    return this.selectAgain(item);
  }

  /** Split the selected mask into its connected parts. */
  split() {
    const item = this.selected;
    if (!item) return;
    const parts = partsOf(item.mask);
    if (parts.length < 2) notify(t("The mask is in one part."));
    else if (parts.length > MAX_PARTS) notify(tn("The mask has {n} part: clean it up first.", "The mask has {n} parts: clean it up first.", parts.length), "bad");
    else this.splitInto(item, parts, { action: "split" });
  }

  /** Split the selected mask by a line that was drawn over it. @param {number[][]} points */
  divide(points) {
    const { state } = this;
    const item = state.selected;
    state.picking = null;
    const parts = item && divide(item.mask, points);
    const round = points.map(([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10]);
    if (parts) this.splitInto(item, parts, { action: "split", line: round });
    else if (item) notify(t("The line does not divide the mask: draw it from one edge to another."), "bad");
    state.update();
  }

  splitInto(item, parts, what) {
    const data = { ...what, annotation_id: item.id };
    this.masks.together(() => {
      this.replace(item, parts[0], data, this.clock.lap());
      for (const mask of parts.slice(1)) this.masks.add({ mask, classId: item.classId, attributes: item.attributes, events: [shapeEvent(data)], score: null });
    });
    notify(tn("Split into {n} mask.", "Split into {n} masks.", parts.length), "good");
    this.selectAgain(item);
  }

  selectAgain(item) {
    this.state.draft = null;
    return this.saved.select(item);
  }

  /** Ask how to clean up, and which masks. */
  askToCleanUp() {
    const { state } = this;
    if (!state.held || state.busy) {
      notify(state.held ? t("Accept or cancel the current mask first.") : t("You do not hold this image, so you cannot change it."), "bad");
      return;
    }
    const { cleaning, selected } = state;
    const input = (name, max) => el("input", { type: "number", name, min: "0", max: String(max), step: "1", value: String(cleaning[name]), required: true });
    const always = el("input", { type: "checkbox", name: "always", checked: cleaning.always });
    const form = el(
      "form.clean-up",
      {},
      field(t("Fill holes up to"), input("holes", 1e8), t("pixels; 0 for none")),
      field(t("Drop islands up to"), input("islands", 1e8), t("pixels; the largest part always stays")),
      field(t("Smooth"), input("radius", 50), t("pixels around each pixel of which most decide; 0 for not at all")),
      field(t("Least size"), input("least", 1e8), t("pixels; smaller masks are deleted, where all are cleaned up")),
      el("label.check", {}, always, t("Clean up each mask that is accepted")),
      el("footer", {}, el("button", { type: "submit", value: "all" }, t("Clean up all")), selected && el("button.primary", { type: "submit", value: "one" }, t("Clean up mask {n}", { n: selected.number })), !selected && el("button.primary", { type: "submit", value: "none" }, t("Done"))),
    );
    const dialog = openDialog(t("Clean up"), form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const limits = ["holes", "islands", "radius", "least"].map((name) => [name, Number(form.elements[name].value)]);
      state.cleaning = { ...Object.fromEntries(limits), always: always.checked };
      dialog.close();
      if (event.submitter?.value === "all") this.cleanUpAll();
      else if (event.submitter?.value === "one") this.cleanUpOne(selected);
      state.update();
    });
  }

  cleanUpOne(item) {
    const { cleaning } = this.state;
    const mask = cleanUp(item.mask, cleaning);
    if (sameMask(mask, item.mask)) notify(t("There is nothing to clean up."));
    else {
      this.replace(item, mask, cleanData(cleaning), this.clock.lap());
      this.selectAgain(item);
    }
  }

  cleanUpAll() {
    const { cleaning, image } = this.state;
    const own = this.masks.present.filter(({ userId }) => image.num_annotators === 1 || userId === signedIn.user.id);
    let [changed, deleted] = [0, 0];
    this.state.draft = null;
    this.masks.together(() => {
      for (const item of own) {
        const mask = cleanUp(item.mask, cleaning);
        if (areaOf(mask) < cleaning.least) {
          this.masks.remove(item);
          deleted += 1;
        } else if (!sameMask(mask, item.mask)) {
          this.replace(item, mask, cleanData(cleaning));
          changed += 1;
        }
      }
    });
    const done = tn("{n} mask cleaned up, {deleted} deleted.", "{n} masks cleaned up, {deleted} deleted.", changed, { deleted });
    notify(changed + deleted ? `${done} ${t("Ctrl+Z takes it back.")}` : done, "good");
  }
}

const shapeEvent = (data, duration = 0) => ({ kind: "shape", data, duration_ms: duration });

/** What is dropped of a mask after others were cut out of it. */
const slivers = ({ islands }) => ({ holes: 0, islands, radius: 0 });
const cleanData = ({ holes, islands, radius }) => ({ action: "clean", holes, islands, radius });
