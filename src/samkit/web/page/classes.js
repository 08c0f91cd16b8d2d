/** The classes of a project: name, colour, order, merging and deleting, for reviewers. */

import { getItems, isReviewer, patch, post, put, remove } from "./api.js";
import { confirmDialog, el, fill, openDialog, plural, select } from "./dom.js";
import { icon } from "./icons.js";
import { notify, notifyError } from "./notices.js";
import { swatch } from "./swatch.js";

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
  }

  async load() {
    const [classes, counts] = await Promise.all([getItems(this.path), getItems(`${this.path}/counts`)]);
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
    const head = ["Key", "Colour", "Name", "Masks", "Images", ""].map((name) => el("th", { scope: "col" }, name));
    const rows = this.classes.map((one, i) => this.row(one, i));
    const without = this.counts.get(null);
    if (without) rows.push(el("tr", {}, el("td"), el("td", {}, swatch(null)), el("td.quiet", {}, "no class"), number(without.num_masks), number(without.num_images), el("td")));
    const table = el("table.class-table", {}, el("caption.visually-hidden", {}, "Classes"), el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
    const none = el("p.message", {}, "No classes yet: masks have none.");
    fill(this.place, isReviewer() && this.form(), rows.length ? el("div.table-card", {}, el("div.table-scroll", { tabindex: "0", role: "region", "aria-label": "Classes" }, table)) : none);
  }

  form() {
    const name = el("input", { required: true, maxlength: "200", placeholder: "New class", "aria-label": "New class", "data-key": "new-class" });
    const form = el("form.row", {}, name, el("button.primary", { type: "submit" }, icon("plus"), "Add"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.change(() => post(this.path, { name: name.value.trim() }));
    });
    return form;
  }

  row(one, i) {
    const { id, name, color } = one;
    const { num_masks: masks = 0, num_images: images = 0 } = this.counts.get(id) ?? {};
    const key = i < 9 ? el("kbd", {}, `⇧${i + 1}`) : "";
    if (!isReviewer()) return el("tr", {}, el("td", {}, key), el("td", {}, swatch(color)), el("td", {}, name), number(masks), number(images), el("td"));
    const colour = el("input.colour", { type: "color", value: color, "aria-label": `Colour of ${name}`, onchange: () => this.change(() => patch(`classes/${id}`, { color: colour.value })) });
    const title = el("input", { value: name, maxlength: "200", "aria-label": `Name of ${name}`, "data-key": `name-${id}`, onchange: () => this.rename(one, title.value.trim()) });
    const glyph = (act, label, what, disabled = false) => el("button.icon", { type: "button", title: label, "aria-label": `${label}: ${name}`, "data-key": `${label}-${id}`, disabled, onclick: what }, icon(act));
    const last = this.classes.length - 1;
    return el(
      "tr",
      {},
      el("td", {}, key),
      el("td", {}, colour),
      el("td.wide", {}, title),
      number(masks),
      number(images),
      el("td", {}, el("span.row.end", {}, glyph("up", "Move up", () => this.move(i, i - 1), i === 0), glyph("down", "Move down", () => this.move(i, i + 1), i === last), glyph("merge", "Merge", () => this.askToMerge(one), last === 0), glyph("bin", "Delete", () => this.delete(one, masks)))),
    );
  }

  async rename(one, name) {
    if (!name || name === one.name) return this.draw();
    const same = this.classes.find((other) => other.name === name);
    if (same) {
      const sure = await confirmDialog("Merge the classes?", `There is a class “${name}” already. All masks of “${one.name}” would be “${name}” from now on, which cannot be undone.`, "Merge");
      return sure ? this.change(() => post(`classes/${one.id}/merge`, { into: same.id }), "Merged.") : this.draw();
    }
    return this.change(() => patch(`classes/${one.id}`, { name }));
  }

  move(from, to) {
    const ids = this.classes.map(({ id }) => id);
    ids.splice(to, 0, ...ids.splice(from, 1));
    return this.change(() => put(`${this.path}/order`, { class_ids: ids }));
  }

  askToMerge(one) {
    const others = this.classes.filter(({ id }) => id !== one.id);
    const into = select(others.map(({ id, name }) => [String(id), name]), String(others[0].id), { "aria-label": "Class that is left" });
    const form = el("form", { method: "dialog" }, el("p", {}, `All masks of “${one.name}” get the other class, also in their earlier states, and “${one.name}” is gone. This cannot be undone.`), into, el("footer", {}, el("button.primary", { value: "yes" }, "Merge")));
    openDialog(`Merge ${one.name} into…`, form, { onclose: (value) => value === "yes" && this.change(() => post(`classes/${one.id}/merge`, { into: Number(into.value) }), "Merged.") });
  }

  async delete(one, masks) {
    if (masks) return notify(`${plural(masks, "mask")} ${masks === 1 ? "has" : "have"} the class ${one.name}: merge it into another one.`, "bad");
    const sure = await confirmDialog(`Delete ${one.name}?`, "No mask has this class.", "Delete", { byEnter: true });
    return sure ? this.change(() => remove(`classes/${one.id}`)) : undefined;
  }
}

const number = (value) => el("td.number", {}, value.toLocaleString("en"));
