/** What a person has set in the studio and in review; the browser stores it for each of them. */

import { signedIn } from "./api.js";

const DEFAULTS = {
  tool: "point",
  radius: 12, // of the brush, in image pixels
  opacity: 0.45,
  byClass: true, // whether masks have their class's colour
  showMasks: true,
  fit: "free", // how accepted masks fit among the others
  holes: 100, // pixels, for cleaning up, like the next three
  islands: 100,
  smoothing: 0,
  least: 0,
  cleanNew: false, // whether accepted masks are cleaned up
  panel: true, // whether the side panel is open on wide screens
};

const key = () => `samkit.settings.${signedIn.user?.id}`;
let stored = "";

/** The settings; those that are not stored, or not of the right kind, have their default. */
export function readSettings() {
  let found = {};
  try {
    stored = localStorage.getItem(key()) ?? "";
    found = JSON.parse(stored || "{}") ?? {};
  } catch {
    // no storage, or nothing that can be read
  }
  const entries = Object.entries(DEFAULTS).map(([name, value]) => [name, typeof found[name] === typeof value ? found[name] : value]);
  return Object.fromEntries(entries);
}

/** @param {Partial<typeof DEFAULTS>} changes */
export function storeSettings(changes) {
  const text = JSON.stringify({ ...readSettings(), ...changes });
  if (text === stored) return;
  stored = text;
  try {
    localStorage.setItem(key(), text);
  } catch {
    // the browser's storage is full or forbidden: they hold for this visit
  }
}
