/** A field for a key: the key that is pressed in it, or none. */

import { el } from "./dom.js";
import { nameOf, shownKey } from "./keys.js";
import { t } from "./texts.js";

const HELD = ["Shift", "Control", "Alt", "AltGraph", "Meta", "CapsLock", "Dead"]; // not keys by themselves
const NONE = ["Backspace", "Delete"];

/**
 * @param {string} key @param {string} label for screen readers
 * @param {(key: string) => void} take is called with the pressed key; empty for none
 */
export function keyField(key, label, take, props = {}) {
  const input = el("input.key", { ...props, readonly: true, value: key && shownKey(key), placeholder: t("none"), "aria-label": label, title: t("Press the key; Backspace for none"), size: "8" });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Tab" || event.key === "Escape" || HELD.includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    take(NONE.includes(event.key) ? "" : nameOf(event));
  });
  return input;
}
