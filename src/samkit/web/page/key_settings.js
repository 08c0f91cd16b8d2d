/** Changing keys: each person's own, which the server stores with their other settings. */

import { el, fill, openDialog } from "./dom.js";
import { keyField } from "./key_field.js";
import { STUDIO_KEYS, bindingOf, canChange, shownKey, useKeys } from "./keys.js";
import { notify } from "./notices.js";
import { readSettings, storeSettings } from "./settings.js";
import { t } from "./texts.js";

/** @param {() => {name: string, key: string}[]} classes whose keys are taken, too */
export function openKeySettings(classes) {
  const body = el("div.help-sheet");
  const draw = () => {
    const { keys } = readSettings();
    const groups = new Map();
    for (const one of STUDIO_KEYS.filter(canChange)) groups.set(one.group, [...(groups.get(one.group) ?? []), one]);
    const row = (one) => {
      const label = el("dt", {}, keyField(one.keys[0] ?? "", t("Key for: {action}", { action: one.text }), (key) => take(one, key), { "data-key": `own-${one.action}`, "aria-description": keys[one.action] ? t("changed") : null }));
      return [label, el("dd", {}, one.text, keys[one.action] && el("span.quiet", {}, ` · ${t("changed")}`))];
    };
    fill(body, ...[...groups].map(([group, rows]) => el("section", {}, el("h3", {}, group), el("dl", {}, ...rows.flatMap(row)))));
  };
  const store = (keys) => {
    storeSettings({ keys });
    useKeys(keys);
    draw();
  };
  const take = (binding, key) => {
    const { [binding.action]: _, ...others } = readSettings().keys;
    if (!key) return store(others); // as it was at first
    const other = bindingOf(STUDIO_KEYS, key);
    const ofClass = classes().find((one) => one.key === key);
    if (other === binding) return draw();
    if (other || ofClass) return notify(t("{key} is taken by: {other}. Change that key first.", { key: shownKey(key), other: other ? other.text : t("class {name}", { name: ofClass.name }) }), "bad");
    return store({ ...others, [binding.action]: key });
  };
  draw();
  const reset = el("button", { type: "button", "data-key": "own-reset", onclick: () => store({}) }, t("Reset all"));
  openDialog(t("Change keys"), el("div", {}, el("p.quiet", {}, t("Press the new key in a field; Backspace brings back the usual one. The keys are yours, on every computer.")), body, el("footer", {}, reset)), { className: ".wide" });
}
