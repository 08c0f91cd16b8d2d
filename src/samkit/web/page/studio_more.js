/** What narrow screens have no room for, as a list: touch screens have no keys for it. */

import { el, openDialog } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./texts.js";

/** Action, icon, words. */
const ACTIONS = [
  ["proposals", "everything", t("Masks of everything")],
  ["proposals:words", "find", t("Find by words")],
  ["comment", "comment", t("Comment")],
  ["looks", "sliders", t("View")],
  ["view:fit", "fit", t("Whole image")],
  ["strip", "strip", t("Strip of images")],
  ["image:previous", "back", t("Previous image")],
  ["image:next", "next", t("Next image")],
  ["details", "image", t("Details of the image")],
  ["skip", "skip", t("Skip, or report as unusable")],
  ["decoder", "sliders", t("Where clicks are decoded")],
  ["theme", "moon", t("Dark or light")],
  ["help", "help", t("Keys")],
];

/** @param {(action: string) => void} act does an action of the key table, or shows the image's details */
export function openMore(act) {
  const row = ([action, glyph, words]) => {
    const press = () => {
      dialog.close();
      act(action);
    };
    return el("button", { type: "button", "data-key": `more-${action}`, onclick: press }, icon(glyph), words);
  };
  const dialog = openDialog(t("More"), el("div.more-actions", {}, ...ACTIONS.map(row)));
}
