/**
 * What the page says, in the language of whoever looks at it. As in gettext the English text is the
 * key, and every other language has a table of its own, which is loaded before any module that says
 * something. What people have written is never looked up. docs/languages.md tells how to add one.
 */

/** Names of the languages, each in itself. */
export const LANGUAGES = { en: "English", zh: "简体中文" };
const TABLES = { zh: () => import("./texts.zh.js") };
const LOCALES = { en: "en-GB", zh: "zh-CN" }; // how dates and numbers are written
const STORED = "samkit.language"; // here, too, since it is needed before the settings are loaded

export const language = chosen() ?? preferred();
const locale = LOCALES[language];
const table = await tableOf(language);
const plurals = new Intl.PluralRules(locale);
document.documentElement.lang = locale;

/**
 * A text in the page's language.
 * @param {string} text in English, with the places of values in braces: "{n} of {total}"
 * @param {Record<string, string | number>} [values] numbers are written as the language does
 */
export function t(text, values = {}) {
  return withValues(table[text] ?? text, values);
}

/**
 * A text that depends on a number, `{n}` in it.
 * @param {string} one in English, of one; the key of the tables
 * @param {string} many in English, of another number
 */
export function tn(one, many, n, values = {}) {
  const found = table[one];
  const forms = found === undefined ? { one, other: many } : typeof found === "string" ? { other: found } : found;
  return withValues(forms[plurals.select(n)] ?? forms.other, { n, ...values });
}

/** Items of a list, one behind the other. @param {string[]} items */
export const listed = (items) => items.join(t(", "));

/** @param {Intl.NumberFormatOptions} [options] */
export const shownNumber = (value, options) => value.toLocaleString(locale, options);

/** A time as its reader's clock shows it. @param {string} at as the server writes it */
export const shownTime = (at) => new Date(at).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });

/** A day without its year. @param {string} day such as 2026-01-31 */
export const shownDay = (day) => new Date(`${day}T00:00:00Z`).toLocaleDateString(locale, { month: "short", day: "numeric", timeZone: "UTC" });

/** Remember the language in this browser. @returns {boolean} whether it is remembered */
export function rememberLanguage(code) {
  try {
    localStorage.setItem(STORED, code);
  } catch {
    return false; // no storage: the page has the browser's language
  }
  return true;
}

function chosen() {
  try {
    const code = localStorage.getItem(STORED);
    return Object.hasOwn(LANGUAGES, code) ? code : null;
  } catch {
    return null;
  }
}

function preferred() {
  const wanted = (navigator.languages ?? [navigator.language]).map((one) => one.split("-")[0].toLowerCase());
  return wanted.find((code) => Object.hasOwn(LANGUAGES, code)) ?? "en";
}

async function tableOf(code) {
  try {
    return (await TABLES[code]?.())?.default ?? {};
  } catch {
    return {}; // the table cannot be loaded: better English than no page
  }
}

function withValues(text, values) {
  return text.replace(/\{(\w+)\}/g, (place, name) => {
    const value = values[name];
    return typeof value === "number" ? shownNumber(value) : (value ?? place);
  });
}
