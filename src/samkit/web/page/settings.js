/**
 * What a person has set in the studio and in review. The server stores it for each of them, so that it
 * follows them; the browser has a copy for when the server cannot be reached.
 */

import { ApiError, get, put, signedIn } from "./api.js";

const DEFAULTS = {
  tool: "point",
  radius: 12, // of the brush, in image pixels
  opacity: 0.45,
  byClass: true, // whether masks have their class's colour
  showMasks: true,
  fit: "free", // how accepted masks fit among the others
  snap: false, // whether what is drawn is joined to the borders of other masks
  holes: 100, // pixels, for cleaning up, like the next three
  islands: 100,
  smoothing: 0,
  least: 0,
  cleanNew: false, // whether accepted masks are cleaned up
  strip: false, // whether the strip of thumbnails is shown
  panel: true, // whether the side panel is open on wide screens
  brightness: 0, // added to values from 0 to 1
  contrast: 1, // factor
  gamma: 1,
  channel: "all",
  minimap: true,
  rulers: false,
  windows: {}, // values that become black and white, [low, high], by project
  keys: {}, // by action
  decoder: "auto", // where prompts are decoded: "browser", "server", or where it is faster
  language: "", // the browser's, unless one was chosen
};
const STORE_MS = 1000;

const key = () => `samkit.settings.${signedIn.user?.id}`;
const unsentKey = () => `${key()}.unsent`; // there while the server has older ones
let stored = ""; // as text
let timer = 0;

/** Load the settings of the person who has signed in. */
export async function loadSettings() {
  clearTimeout(timer);
  timer = 0;
  stored = inBrowser((storage) => storage.getItem(key())) ?? "";
  if (stored && inBrowser((storage) => storage.getItem(unsentKey()))) {
    // The page was left before they were sent.
    await send().catch(() => {});
    return;
  }
  try {
    const { settings } = await get("session/settings");
    if (Object.keys(settings).length) stored = JSON.stringify(settings);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // the browser's copy will do
  }
}

/** The settings; those that are not stored, or not of the right kind, have their default. */
export function readSettings() {
  let found = {};
  try {
    found = JSON.parse(stored || "{}") ?? {};
  } catch {
    // nothing that can be read
  }
  const fits = (value, usual) => typeof value === typeof usual && value !== null && !Array.isArray(value);
  const entries = Object.entries(DEFAULTS).map(([name, value]) => [name, fits(found[name], value) ? found[name] : value]);
  return Object.fromEntries(entries);
}

/** @param {Partial<typeof DEFAULTS>} changes */
export function storeSettings(changes) {
  const text = JSON.stringify({ ...readSettings(), ...changes });
  if (text === stored) return;
  stored = text;
  inBrowser((storage) => {
    storage.setItem(key(), text);
    storage.setItem(unsentKey(), "yes");
  });
  clearTimeout(timer);
  timer = setTimeout(() => send().catch(() => {}), STORE_MS);
}

async function send() {
  timer = 0;
  const sent = stored;
  await put("session/settings", { settings: JSON.parse(sent) });
  if (sent === stored) inBrowser((storage) => storage.removeItem(unsentKey()));
}

/** Send what is not sent yet. @throws {ApiError} the server has it not; the browser has a copy */
export async function sendSettings() {
  if (!timer) return;
  clearTimeout(timer);
  await send();
}

// What was set in the last second must not be lost with the page.
document.addEventListener("visibilitychange", () => document.hidden && sendSettings().catch(() => {}));

// What another tab has set is not to be undone by this one.
window.addEventListener("storage", ({ key: changed, newValue }) => {
  if (changed === key() && newValue) stored = newValue;
});

/** Use the browser's storage, which may be full or forbidden. */
function inBrowser(use) {
  try {
    return use(localStorage);
  } catch {
    return null;
  }
}
