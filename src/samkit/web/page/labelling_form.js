/** What people are asked for besides masks, on the page of classes: attributes, tags, required classes. */

import { get, getItems, isReviewer, put } from "./api.js";
import { confirmDialog, el, fill, select } from "./dom.js";
import { icon } from "./icons.js";
import { FLAGS, NOTHING } from "./labelling.js";
import { notify, notifyError } from "./notices.js";
import { shownNumber, t, tn } from "./texts.js";
import { attributeName } from "./words.js";

const KINDS = [["flag", t("yes or no")], ["choice", t("choice")], ["number", t("number")], ["text", t("text")]];

export class LabellingForm {
  /** @param {{id: number}} project */
  constructor(project) {
    this.path = `projects/${project.id}/labelling`;
    /** @type {import("./labelling.js").Labelling} */
    this.labelling = NOTHING;
    this.counts = [];
    this.changing = Promise.resolve();
    // They stay the same, with what is being typed in them.
    this.forms = isReviewer() && [this.attributeForm(), this.tagForm()];
    this.element = el("section.labelling");
  }

  async load() {
    [this.labelling, this.counts] = await Promise.all([get(this.path), getItems(`${this.path}/counts`)]);
    this.draw();
  }

  /** Change something, after what was changed before. @param {(labelling: import("./labelling.js").Labelling) => object} make */
  change(make) {
    this.changing = this.changing.then(async () => {
      try {
        await put(this.path, { ...this.labelling, ...make(this.labelling) });
      } catch (error) {
        notifyError(error);
      }
      await this.load().catch(notifyError);
    });
    return this.changing;
  }

  /** How many masks have an attribute, or images a tag. */
  count(name, value) {
    return this.counts.filter((one) => one.name === name && (value === undefined || one.value === value)).reduce((sum, one) => sum + one.count, 0);
  }

  draw() {
    const { attributes, tags, class_required: required } = this.labelling;
    const isOpen = isReviewer();
    const given = FLAGS.map((name) => el("tr", {}, el("td", {}, attributeName(name)), el("td.quiet", {}, t("yes or no")), el("td"), number(this.count(name)), el("td")));
    const head = [t("Attribute of masks"), t("Kind"), t("Choices"), t("Masks"), ""].map((name) => el("th", { scope: "col" }, name));
    const table = el("table", {}, el("caption.visually-hidden", {}, t("Attributes")), el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...given, ...attributes.map((one) => this.row(one, isOpen))));
    const chips = tags.map((tag) => el("span.chip", {}, tag, el("span.count", {}, this.count("", tag).toLocaleString("en")), isOpen && el("button.icon.small", { type: "button", "aria-label": t("Remove the tag {tag}", { tag }), "data-key": `untag-${tag}`, onclick: () => this.removeTag(tag) }, icon("cross"))));
    const rule = t("Each mask needs a class before its image can be submitted");
    const check = !isOpen ? required && el("p", {}, rule) : el("label.check", {}, el("input", { type: "checkbox", checked: required, "data-key": "class-required", onchange: ({ target }) => this.change(() => ({ class_required: target.checked })) }), rule);
    fill(
      this.element,
      el("h2", {}, t("Attributes and tags")),
      el("div.table-card", {}, el("div.table-scroll", { tabindex: "0", role: "region", "aria-label": t("Attributes") }, table)),
      isOpen && this.forms[0],
      el("div.row", {}, el("strong", {}, t("Tags of images")), ...chips, !tags.length && el("span.quiet", {}, t("none"))),
      isOpen && this.forms[1],
      check,
    );
  }

  row({ name, kind, choices }, isOpen) {
    const words = KINDS.find(([key]) => key === kind)[1];
    const field = kind === "choice" && isOpen ? el("input", { value: choices.join(", "), "aria-label": t("Choices of {name}", { name }), "data-key": `choices-${name}`, onchange: ({ target }) => this.setChoices(name, target.value) }) : choices.join(", ");
    const bin = isOpen && el("button.icon", { type: "button", "aria-label": t("Remove the attribute {name}", { name }), "data-key": `remove-${name}`, onclick: () => this.removeAttribute(name) }, icon("bin"));
    return el("tr", {}, el("td", {}, name), el("td.quiet", {}, words), el("td.wide", {}, field), number(this.count(name)), el("td", {}, bin));
  }

  attributeForm() {
    const name = el("input", { required: true, maxlength: "100", placeholder: t("New attribute"), "aria-label": t("New attribute"), "data-key": "new-attribute" });
    const kind = select(KINDS, "flag", { "aria-label": t("Kind"), "data-key": "new-kind", onchange: () => choices.toggleAttribute("hidden", kind.value !== "choice") });
    const choices = el("input", { hidden: true, placeholder: t("Choices, with commas between"), "aria-label": t("Choices"), "data-key": "new-choices" });
    return form([name, kind, choices], () => {
      const added = { name: name.value.trim(), kind: kind.value, choices: kind.value === "choice" ? split(choices.value) : [] };
      return this.change(({ attributes }) => ({ attributes: [...attributes, added] }));
    });
  }

  tagForm() {
    const name = el("input", { required: true, maxlength: "100", placeholder: t("New tag"), "aria-label": t("New tag"), "data-key": "new-tag" });
    return form([name], () => {
      const tag = name.value.trim();
      return this.change(({ tags }) => ({ tags: [...tags, tag] }));
    });
  }

  setChoices(name, text) {
    const choices = split(text);
    return this.change(({ attributes }) => ({ attributes: attributes.map((one) => (one.name === name ? { ...one, choices } : one)) }));
  }

  async removeAttribute(name) {
    const count = this.count(name);
    if (count && !(await confirmDialog(t("Remove {name}?", { name }), tn("{n} mask has it: the values stay with the masks and in exports, but are no longer offered.", "{n} masks have it: the values stay with the masks and in exports, but are no longer offered.", count), t("Remove")))) return undefined;
    if (!count) notify(t("{name} removed: no mask had it.", { name }));
    return this.change(({ attributes }) => ({ attributes: attributes.filter((one) => one.name !== name) }));
  }

  async removeTag(tag) {
    const count = this.count("", tag);
    if (count && !(await confirmDialog(t("Remove {name}?", { name: tag }), tn("{n} image has it: the tag stays with the images and in exports, but is no longer offered.", "{n} images have it: the tag stays with the images and in exports, but is no longer offered.", count), t("Remove")))) return undefined;
    return this.change(({ tags }) => ({ tags: tags.filter((one) => one !== tag) }));
  }
}

function form(fields, submit) {
  const made = el("form.row", {}, ...fields, el("button", { type: "submit" }, icon("plus"), t("Add")));
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
    made.reset();
  });
  return made;
}

const split = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);

const number = (value) => el("td.number", {}, shownNumber(value));
