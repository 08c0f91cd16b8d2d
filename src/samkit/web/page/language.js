/** Choosing the page's language. It is a setting of each person; the browser remembers it for the sign-in page. */

import { signedIn } from "./api.js";
import { el, field, openDialog, select } from "./dom.js";
import { icon } from "./icons.js";
import { notifyError } from "./notices.js";
import { readSettings, storeSettings, sendSettings } from "./settings.js";
import { LANGUAGES, language, rememberLanguage, t } from "./texts.js";

const CHOSEN = "samkit.language.chosen"; // on the sign-in page, by whoever signs in next

/** A field for the language; another choice loads the page again, since all its texts change. */
export function languageField() {
  const choice = select(Object.entries(LANGUAGES), language, { lang: "", autocomplete: "off", onchange: () => choose(choice.value).catch(notifyError) });
  return field(t("Language"), choice);
}

export function languageButton() {
  return el("button.icon", { type: "button", title: t("Language"), "aria-label": t("Language"), onclick: () => openDialog(t("Settings"), el("form", {}, languageField())) }, icon("language"));
}

async function choose(code) {
  if (signedIn.user) {
    storeSettings({ language: code });
    await sendSettings();
  } else sessionStorage.setItem(CHOSEN, code);
  rememberLanguage(code);
  location.reload();
}

/** After signing in: the person's own language, for which the page is loaded again if it has another. */
export async function followLanguage() {
  const code = sessionStorage.getItem(CHOSEN);
  sessionStorage.removeItem(CHOSEN);
  if (Object.hasOwn(LANGUAGES, code ?? "")) storeSettings({ language: code });
  const { language: own } = readSettings();
  if (!Object.hasOwn(LANGUAGES, own) || own === language || !rememberLanguage(own)) return;
  location.reload();
  await new Promise(() => {}); // nothing is to be shown until then
}
