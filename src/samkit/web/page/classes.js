/** The classes of a project: name, colour, order, merging and deleting, for reviewers. */

import { getItems, isReviewer, patch, post, put, remove } from "./api.js";
import { confirmDialog, el, fill, openDialog, select } from "./dom.js";
import { icon } from "./icons.js";
import { keyField } from "./key_field.js";
import { STUDIO_KEYS, bindingOf, shownKey } from "./keys.js";
import { LabellingForm } from "./labelling_form.js";
import { notify, notifyError } from "./notices.js";
import { swatch } from "./swatch.js";
import { shownNumber, t, tn } from "./texts.js";

/** Show the page. @param {Element} place @param {{id: number}} project */
export async function showClasses(place, project) {
  const page = new ClassTable(place, project);
  await page.load();
  return page;
}

class ClassTable {
  constructor(place, project) {
    this.place = place;
    this.path = `projects/${project.id}/classes`;
    this.classes = [];
    this.counts = new Map();
    this.labelling = new LabellingForm(project);
  }

  async load() {
    const [classes, counts] = await Promise.all([getItems(this.path), getItems(`${this.path}/counts`), this.labelling.load()]);
    this.classes = classes;
    this.counts = new Map(counts.map((one) => [one.class_id, one]));
    this.draw();
  }

  /** Change something and show what is there then. */
  async change(act, done) {
    try {
      await act();
      if (done) notify(done, "good");
    } catch (error) {
      notifyError(error);
    }
    await this.load().catch(notifyError);
  }

  draw() {
    const head = [t("Key"), t("Colour"), t("Name"), t("Masks"), t("Images"), ""].map((name) => el("th", { scope: "col" }, name));
    const rows = this.classes.map((one, i) => this.row(one, i));
    const without = this.counts.get(null);
    if (without) rows.push(el("tr", {}, el("td"), el("td", {}, swatch(null)), el("td.quiet", {}, t("no class")), number(without.num_masks), number(without.num_images), el("td")));
    const table = el("table.class-table", {}, el("caption.visually-hidden", {}, t("Classes")), el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
    const none = el("p.message", {}, t("No classes yet: masks have none."));
    fill(this.place, isReviewer() && this.form(), rows.length ? el("div.table-card", {}, el("div.table-scroll", { tabindex: "0", role: "region", "aria-label": t("Classes") }, table)) : none, this.labelling.element);
  }

  form() {
    const name = el("input", { required: true, maxlength: "200", placeholder: t("New class"), "aria-label": t("New class"), "data-key": "new-class" });
    const form = el("form.row", {}, name, el("button.primary", { type: "submit" }, icon("plus"), t("Add")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.change(() => post(this.path, { name: name.value.trim() }));
    });
    return form;
  }

  row(one, i) {
    const { id, name, color } = one;
    const { num_masks: masks = 0, num_images: images = 0 } = this.counts.get(id) ?? {};
    const hint = i < 9 && el("kbd", {}, `⇧${i + 1}`);
    const key = el("span.row", {}, one.key && el("kbd", {}, shownKey(one.key)), hint);
    const ownKey = keyField(one.key, t("Key of {name}", { name }), (pressed) => this.setKey(one, pressed), { "data-key": `key-${id}` });
    if (!isReviewer()) return el("tr", {}, el("td", {}, key), el("td", {}, swatch(color)), el("td", {}, name), number(masks), number(images), el("td"));
    const colour = el("input.colour", { type: "color", value: color, "aria-label": t("Colour of {name}", { name }), onchange: () => this.change(() => patch(`classes/${id}`, { color: colour.value })) });
    const title = el("input", { value: name, maxlength: "200", "aria-label": t("Name of {name}", { name }), "data-key": `name-${id}`, onchange: () => this.rename(one, title.value.trim()) });
    const glyph = (act, label, what, disabled = false) => el("button.icon", { type: "button", title: label, "aria-label": `${label}: ${name}`, "data-key": `${label}-${id}`, disabled, onclick: what }, icon(act));
    const last = this.classes.length - 1;
    return el(
      "tr",
      {},
      el("td", {}, el("span.row", {}, ownKey, hint)),
      el("td", {}, colour),
      el("td.wide", {}, title),
      number(masks),
      number(images),
      el("td", {}, el("span.row.end", {}, glyph("up", t("Move up"), () => this.move(i, i - 1), i === 0), glyph("down", t("Move down"), () => this.move(i, i + 1), i === last), glyph("merge", t("Merge"), () => this.askToMerge(one), last === 0), glyph("bin", t("Delete"), () => this.delete(one, masks)))),
    );
  }

  async rename(one, name) {
    if (!name || name === one.name) return this.draw();
    const same = this.classes.find((other) => other.name === name);
    if (same) {
      const sure = await confirmDialog(t("Merge the classes?"), t("There is a class “{name}” already. All masks of “{old}” would be “{name}” from now on, which cannot be undone.", { name, old: one.name }), t("Merge"));
      return sure ? this.change(() => post(`classes/${one.id}/merge`, { into: same.id }), t("Merged.")) : this.draw();
    }
    return this.change(() => patch(`classes/${one.id}`, { name }));
  }

  setKey(one, key) {
    const action = key && bindingOf(STUDIO_KEYS, key);
    if (action) {
      notify(t("{key} is a key of the studio already: {action}.", { key: shownKey(key), action: action.text }), "bad");
      return this.draw();
    }
    return this.change(() => patch(`classes/${one.id}`, { key }));
  }

  move(from, to) {
    const ids = this.classes.map(({ id }) => id);
    ids.splice(to, 0, ...ids.splice(from, 1));
    return this.change(() => put(`${this.path}/order`, { class_ids: ids }));
  }

  askToMerge(one) {
    const others = this.classes.filter(({ id }) => id !== one.id);
    const into = select(others.map(({ id, name }) => [String(id), name]), String(others[0].id), { "aria-label": t("Class that is left") });
    const form = el("form", { method: "dialog" }, el("p", {}, t("All masks of “{name}” get the other class, also in their earlier states, and “{name}” is gone. This cannot be undone.", { name: one.name })), into, el("footer", {}, el("button.primary", { value: "yes" }, t("Merge"))));
    openDialog(t("Merge {name} into…", { name: one.name }), form, { onclose: (value) => value === "yes" && this.change(() => post(`classes/${one.id}/merge`, { into: Number(into.value) }), t("Merged.")) });
  }

  async delete(one, masks) {
    if (masks) return notify(tn("{n} mask has the class {name}: merge it into another one.", "{n} masks have the class {name}: merge it into another one.", masks, { name: one.name }), "bad");
    const sure = await confirmDialog(t("Delete {name}?", { name: one.name }), t("No mask has this class."), t("Delete"), { byEnter: true });
    return sure ? this.change(() => remove(`classes/${one.id}`)) : undefined;
  }
}

const number = (value) => el("td.number", {}, shownNumber(value));
