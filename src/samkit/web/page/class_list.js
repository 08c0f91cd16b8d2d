/**
 * The list of classes in the studio, with a field to find one: arrow keys go through what was found,
 * Enter chooses. A class that is not there can be added by reviewers, who are asked first.
 */

import { isReviewer } from "./api.js";
import { confirmDialog, el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { shownKey } from "./keys.js";
import { swatch } from "./swatch.js";
import { t } from "./texts.js";

const NONE = { id: null, name: t("no class"), color: null };

export class ClassList {
  /**
   * @param {object} actions
   * @param {(classId: number | null) => void} actions.choose
   * @param {(name: string) => void} actions.add
   * @param {() => void} actions.leave gives the focus back to the image
   */
  constructor({ choose, add, leave }) {
    Object.assign(this, { choose, add, leave });
    this.classes = new Map();
    this.chosen = null;
    this.marked = null; // index of the class that Enter would choose, among those found
    this.drawn = "";
    this.input = el("input", { type: "text", placeholder: t("Find a class (C)"), "aria-label": t("Find a class"), autocomplete: "off", maxlength: "200", role: "combobox", "aria-expanded": "true", "aria-controls": "class-list", oninput: () => this.search(), onkeydown: (event) => this.onKey(event) });
    this.list = el("div.class-list", { id: "class-list", role: "group", "aria-label": t("Class") });
    this.element = el("section.classes", {}, el("h2", {}, t("Class")), this.input, this.list);
  }

  /** @param {Map<number, {id: number, name: string, color: string}>} classes @param {number | null} chosen */
  show(classes, chosen) {
    const follows = chosen !== this.chosen || classes !== this.classes;
    Object.assign(this, { classes, chosen });
    this.draw();
    if (follows) this.list.querySelector("[aria-pressed=true]")?.scrollIntoView({ block: "nearest" });
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  get wanted() {
    return this.input.value.trim();
  }

  /** The classes that fit what is typed: those that begin with it first. */
  get found() {
    const wanted = this.wanted.toLowerCase();
    const all = [...this.classes.values()];
    if (!wanted) return [NONE, ...all];
    const begins = all.filter(({ name }) => name.toLowerCase().startsWith(wanted));
    const contains = all.filter(({ name }) => name.toLowerCase().includes(wanted));
    return [...new Set([...begins, ...contains])];
  }

  get isNew() {
    const wanted = this.wanted.toLowerCase();
    return wanted !== "" && ![...this.classes.values()].some(({ name }) => name.toLowerCase() === wanted);
  }

  search() {
    this.marked = this.wanted && this.found.length ? 0 : null;
    this.draw();
  }

  onKey(event) {
    const { found } = this;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const step = event.key === "ArrowDown" ? 1 : -1;
      const from = this.marked ?? found.findIndex(({ id }) => id === this.chosen);
      this.marked = found.length ? (from + step + found.length) % found.length : null;
      this.draw();
      this.list.querySelector(".marked")?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      if (found[this.marked]) this.take(found[this.marked].id);
      else if (this.isNew && isReviewer()) this.askToAdd();
      else this.empty();
    } else if (event.key === "Escape") this.empty();
    else return;
    event.preventDefault();
  }

  take(classId) {
    this.empty();
    this.choose(classId);
  }

  empty() {
    this.input.value = "";
    this.marked = null;
    this.draw();
    this.leave();
  }

  async askToAdd() {
    const name = this.wanted;
    this.empty();
    if (await confirmDialog(t("Add a class?"), t("“{name}” would be a new class of the project, for everybody who annotates it.", { name }), t("Add"), { byEnter: true })) this.add(name);
  }

  draw() {
    const { found, marked, chosen, isNew } = this;
    const drawn = JSON.stringify([found, marked, chosen, isNew && this.wanted]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const numbers = new Map([...this.classes.keys()].map((id, i) => [id, i + 1]));
    const row = ({ id, name, color, key }, i) =>
      el(
        "button.class-row",
        { type: "button", class: i === marked ? "class-row marked" : "class-row", "data-key": `class-${id}`, "aria-pressed": String(chosen === id), onclick: () => this.take(id) },
        swatch(color),
        el("span.name", {}, name),
        (key || numbers.get(id) <= 9) && el("kbd", {}, key ? shownKey(key) : `⇧${numbers.get(id)}`),
      );
    const add = isNew && isReviewer() && el("button.class-row", { type: "button", "data-key": "class-add", onclick: () => this.askToAdd() }, icon("plus"), el("span.name", {}, t("Add “{name}”…", { name: this.wanted })));
    const none = isNew && !isReviewer() && found.length === 0 && el("p.quiet", {}, t("No such class. A reviewer can add it."));
    fill(this.list, ...found.map(row), add, none);
  }
}
