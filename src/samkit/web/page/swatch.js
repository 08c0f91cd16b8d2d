/** A colour beside a name. */

import { el } from "./dom.js";

/** @param {string | null} color null for none */
export function swatch(color) {
  const node = el("span.swatch", { "aria-hidden": "true" });
  if (color) node.style.setProperty("--color", color);
  else node.classList.add("none");
  return node;
}
