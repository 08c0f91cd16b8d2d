/** The help sheet: all keys by group, from the key table. */

import { el, openDialog } from "./dom.js";
import { t } from "./texts.js";

const POINTER = [
  [t("Click"), t("add a point on the object")],
  [t("Right-click, Alt or Shift + click"), t("add a point outside the object")],
  [t("Drag"), t("draw a box around the object")],
  [t("Drag a point or a box's corner"), t("move it")],
  [t("Right-click it"), t("remove it")],
  [t("Wheel, pinch"), t("zoom")],
  [t("Space + drag, middle button, two fingers"), t("move the image")],
  [t("Ctrl + click"), t("select the mask there")],
  [t("Alt + wheel"), t("size of the brush")],
];

/** @param {import("./keys.js").Binding[]} bindings @param {{pointer?: boolean, change?: (() => void) | null}} [options] change: opens what changes keys */
export function openHelp(bindings, { pointer = true, change = null } = {}) {
  const groups = Map.groupBy ? Map.groupBy(bindings, ({ group }) => group) : grouped(bindings);
  const sections = [...groups].map(([group, rows]) =>
    section(group, rows.map(({ keys, text }) => [keysOf(keys), text])),
  );
  if (pointer) sections.unshift(section(t("Mouse, pen, touch"), POINTER));
  const sheet = el("div.help-sheet", {}, ...sections);
  const openChange = () => {
    dialog.close();
    change();
  };
  const footer = change && el("footer", {}, el("button", { type: "button", "data-key": "change-keys", onclick: openChange }, t("Change keys")));
  const dialog = openDialog(t("Keys"), el("div", {}, sheet, footer ?? ""), { className: ".wide" });
}

function grouped(bindings) {
  const groups = new Map();
  for (const one of bindings) groups.set(one.group, [...(groups.get(one.group) ?? []), one]);
  return groups;
}

function section(title, rows) {
  const lines = rows.flatMap(([keys, text]) => [el("dt", {}, keys), el("dd", {}, text)]);
  return el("section", {}, el("h3", {}, title), el("dl", {}, ...lines));
}

function keysOf(keys) {
  if (keys.length > 3) return el("span", {}, key(keys[0]), ` ${t("to")} `, key(keys.at(-1)));
  return el("span", {}, ...keys.flatMap((name, i) => (i ? [` ${t("or")} `, key(name)] : [key(name)])));
}

const NAMES = { Escape: "Esc", Arrows: "← ↑ ↓ →", ArrowLeft: "←", ArrowRight: "→" };

function key(name) {
  const parts = name.split("+").filter(Boolean);
  const shown = name === "+" ? ["+"] : parts.map((part) => NAMES[part] ?? (part.length === 1 ? part.toUpperCase() : part));
  return el("span.keys", {}, ...shown.flatMap((part, i) => (i ? [" ", el("kbd", {}, part)] : [el("kbd", {}, part)])));
}
