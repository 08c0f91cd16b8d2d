/** The part of the side panel that has the attributes of the current mask and the image's tags. */

import { el, fill, select } from "./dom.js";
import { attributesOf, sameValues, withValue } from "./labelling.js";
import { announce } from "./notices.js";
import { t } from "./texts.js";
import { attributeName } from "./words.js";

const NUMBERED = 9; // attributes and tags that have a key

export class AttributePanel {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./saved_masks.js").SavedMasks} parts.masks
   * @param {import("./image_tags.js").ImageTags} parts.tags
   * @param {import("./clock.js").WorkClock} parts.clock
   * @param {() => void} parts.leave gives the focus back to the image
   */
  constructor({ state, masks, tags, clock, leave }) {
    Object.assign(this, { state, masks, tags, clock, leave });
    this.values = el("div.values", { role: "group", "aria-label": t("Attributes of the mask") });
    this.ofMask = el("div", { hidden: true }, el("h2", {}, t("Attributes")), this.values);
    this.chips = el("div.chips", { role: "group", "aria-label": t("Tags of the image") });
    this.ofImage = el("div", { hidden: true }, el("h2", {}, t("Tags")), this.chips);
    this.element = el("section.attributes", {}, this.ofMask, this.ofImage);
    this.drawn = "";
  }

  update() {
    const { state, tags } = this;
    const { labelling, attributes, atWork, held } = state;
    const drawn = JSON.stringify([labelling, attributes, atWork, held, tags.tags, state.selectedKey]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.ofMask.hidden = !atWork;
    if (atWork) fill(this.values, ...attributesOf(labelling).map((one, i) => this.fieldOf(one, i, attributes[one.name])), ...this.others(labelling, attributes));
    const all = [...new Set([...labelling.tags, ...tags.tags])];
    this.ofImage.hidden = !all.length;
    fill(this.chips, ...all.map((tag, i) => this.chip(`tag-${tag}`, tag, tags.tags.includes(tag), keyHint("Alt+⇧+", i), () => this.toggleTag(tag))));
    this.element.hidden = this.ofMask.hidden && this.ofImage.hidden;
  }

  chip(key, text, isOn, hint, act) {
    return el("button.chip.small", { type: "button", "data-key": key, "aria-pressed": String(isOn), disabled: !this.state.held, title: hint, onclick: act }, text);
  }

  fieldOf({ name, kind, choices }, i, value) {
    const shown = attributeName(name);
    const hint = keyHint("Alt+", i);
    if (kind === "flag") return this.chip(`attribute-${name}`, shown, value === true, hint, () => this.set(name, value !== true));
    const props = { "data-key": `attribute-${name}`, "aria-label": shown, title: hint, disabled: !this.state.held };
    let input;
    if (kind === "choice") {
      const known = [...new Set([...choices, value ?? choices[0]])];
      input = select([["", "–"], ...known.map((one) => [one, one])], value ?? "", props);
      input.addEventListener("change", () => this.take(name, input.value));
    } else if (kind === "number") {
      input = el("input", { ...props, type: "number", step: "any", value: value ?? "" });
      input.addEventListener("change", () => this.take(name, input.value === "" ? null : Number(input.value)));
    } else {
      input = el("input", { ...props, type: "text", maxlength: "1000", value: value ?? "", autocomplete: "off" });
      input.addEventListener("change", () => this.take(name, input.value.trim()));
    }
    input.addEventListener("keydown", ({ key }) => ["Enter", "Escape"].includes(key) && this.leave());
    return el("label.value", {}, el("span", {}, shown), input);
  }

  /** Values of the mask whose attributes are no longer offered: they can only be taken away. */
  others(labelling, values) {
    const offered = new Set(attributesOf(labelling).map(({ name }) => name));
    const gone = Object.entries(values).filter(([name]) => !offered.has(name));
    return gone.map(([name, value]) => this.chip(`attribute-${name}`, value === true ? name : `${name} ${value}`, true, t("No longer offered: click to take it away"), () => this.set(name, null)));
  }

  take(name, value) {
    this.set(name, value);
    this.leave();
  }

  /** Set an attribute of the selected mask, or of the one in the making. */
  set(name, value) {
    const { state } = this;
    const { draft, selected: item } = state;
    const values = withValue(state.attributes, name, value);
    if (!state.held || !state.atWork || sameValues(values, state.attributes)) return;
    draft.attributes = values; // saved with the mask, if it is new or being corrected
    if (item && !draft.changed) {
      const events = [{ kind: "attributes", data: { [name]: value }, duration_ms: this.clock.lap() }];
      this.masks.replace(item, { mask: item.mask, classId: item.classId, attributes: values, events });
    }
    announce(t("{name}: {value}.", { name: attributeName(name), value: name in values ? (values[name] === true ? t("yes") : values[name]) : t("none") }));
    state.update();
  }

  toggleTag(tag) {
    if (!this.state.held) return;
    this.tags.toggle(tag);
    announce(t("{name}: {value}.", { name: tag, value: this.tags.tags.includes(tag) ? t("yes") : t("no") }));
    this.state.update();
  }

  /** By a key: turn a flag over, go to the next choice, or enter the field. */
  press(index) {
    const { state } = this;
    const one = attributesOf(state.labelling)[index];
    if (!one || !state.atWork) return;
    const { name, kind, choices } = one;
    const value = state.attributes[name];
    if (kind === "flag") this.set(name, value !== true);
    else if (kind === "choice") this.set(name, choices[choices.indexOf(value) + 1] ?? null);
    else this.focus(name);
  }

  pressTag(index) {
    const tag = this.state.labelling.tags[index];
    if (tag) this.toggleTag(tag);
  }

  /** Put the focus on a field, at first the first one. */
  focus(name = null) {
    const fields = [...this.element.querySelectorAll("button, select, input")].filter((one) => one.offsetParent);
    (fields.find((one) => one.dataset.key === `attribute-${name}`) ?? fields[0])?.focus();
  }
}

const keyHint = (keys, i) => (i < NUMBERED ? `${keys}${i + 1}` : null);
