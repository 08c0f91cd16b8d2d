/** Light or dark theme: the system's, until the user chooses; the browser stores the choice. */

import { el } from "./dom.js";
import { icon } from "./icons.js";

const KEY = "samkit.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // the browser keeps nothing: as the system says
  }
}

export const currentTheme = () => stored() ?? (system.matches ? "dark" : "light");

function apply() {
  document.documentElement.dataset.theme = currentTheme();
}

export function startTheme() {
  system.addEventListener("change", apply);
  apply();
}

/** Change it over. @returns {string} the theme now */
export function switchTheme() {
  const theme = currentTheme() === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    document.documentElement.dataset.theme = theme; // for this visit only
    return theme;
  }
  apply();
  return theme;
}

/** The switch: which of its icons shows is up to the style sheet. */
export function themeButton() {
  return el("button.icon.theme-switch", { type: "button", title: "Dark or light (T)", "aria-label": "Dark or light", onclick: switchTheme }, icon("moon"), icon("sun"));
}
