/** The help sheet: all keys by group, from the key table. */

import { el, openDialog } from "./dom.js";

const POINTER = [
  ["Click", "add a point on the object"],
  ["Right-click, Alt or Shift + click", "add a point outside the object"],
  ["Drag", "draw a box around the object"],
  ["Wheel, pinch", "zoom"],
  ["Space + drag, middle button, two fingers", "move the image"],
  ["Ctrl + click", "select the mask there"],
];

/** @param {import("./keys.js").Binding[]} bindings */
export function openHelp(bindings, { pointer = true } = {}) {
  const groups = Map.groupBy ? Map.groupBy(bindings, ({ group }) => group) : grouped(bindings);
  const sections = [...groups].map(([group, rows]) =>
    section(group, rows.map(({ keys, text }) => [keysOf(keys), text])),
  );
  if (pointer) sections.unshift(section("Mouse, pen, touch", POINTER));
  openDialog("Keys", el("div.help-sheet", {}, ...sections), { className: ".wide" });
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
  if (keys.length > 3) return el("span", {}, key(keys[0]), " to ", key(keys.at(-1)));
  return el("span", {}, ...keys.flatMap((name, i) => (i ? [" or ", key(name)] : [key(name)])));
}

const NAMES = { Escape: "Esc", Arrows: "← ↑ ↓ →", ArrowLeft: "←", ArrowRight: "→" };

function key(name) {
  const parts = name.split("+").filter(Boolean);
  const shown = name === "+" ? ["+"] : parts.map((part) => NAMES[part] ?? (part.length === 1 ? part.toUpperCase() : part));
  return el("span.keys", {}, ...shown.flatMap((part, i) => (i ? [" ", el("kbd", {}, part)] : [el("kbd", {}, part)])));
}
