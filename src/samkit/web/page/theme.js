/** Light or dark theme: the system's, until the user chooses; the browser stores the choice. */

import { el } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./texts.js";

const KEY = "samkit.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // no storage: use the system's theme
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

/** Switch the theme. @returns {string} the new theme */
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

/** The theme button; the style sheet decides which of its icons is shown. */
export function themeButton() {
  return el("button.icon.theme-switch", { type: "button", title: t("Dark or light (T)"), "aria-label": t("Dark or light"), onclick: switchTheme }, icon("moon"), icon("sun"));
}
