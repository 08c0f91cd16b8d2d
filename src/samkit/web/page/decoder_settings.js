/** Where clicks are decoded: each person's own setting, with what was measured. */

import { choice } from "./decoder_choice.js";
import { el, fill, openDialog } from "./dom.js";
import { readSettings, storeSettings } from "./settings.js";
import { shownNumber, t } from "./texts.js";

const PLACES = [
  ["auto", t("Where answers come faster"), t("The browser, if a click takes no longer there than on the server, or is felt as at once; else the server.")],
  ["browser", t("In the browser"), t("Clicks need no connection once an image is open. The decoder is loaded once, some 30 MB, and 17 more where WebGPU decodes.")],
  ["server", t("On the server"), t("Nothing is loaded.")],
];
const IN_BROWSER = {
  wasm: t("Clicks on this image are decoded in the browser, by its processor (WebAssembly)."),
  webgpu: t("Clicks on this image are decoded in the browser, by the graphics card (WebGPU)."),
};
const HINDRANCES = {
  refine: t("The server refines clicks, which browsers cannot do."),
  tiles: t("The model sees parts of this large image, which only the server has."),
  model: t("Browsers cannot run this model, or the server lacks the packages to convert it."),
  failed: t("The browser's decoder could not be loaded, so the server decodes."),
};

/** @param {import("./prompter.js").Prompter | null} prompter of the open image */
export function openDecoderSettings(prompter) {
  const now = el("p", { role: "status" });
  const show = () => {
    const place = prompter?.place === "browser" ? IN_BROWSER[choice.runtime] : t("Clicks on this image are decoded on the server.");
    const times = [["browser", t("Browser")], ["server", t("Server")]].filter(([one]) => choice.typicalMs(one) !== null);
    const measured = times.map(([one, name]) => t("{place}: {ms} ms for a click.", { place: name, ms: shownNumber(Math.round(choice.typicalMs(one))) }));
    const why = choice.mayUseBrowser && prompter?.hindrance ? HINDRANCES[prompter.hindrance] : "";
    fill(now, [place, why, ...measured].filter(Boolean).join(" "));
  };
  const choose = (decoder) => {
    storeSettings({ decoder });
    prompter?.followSetting();
    show();
  };
  const chosen = readSettings().decoder;
  const row = ([name, words, hint]) =>
    el("label.check", {}, el("input", { type: "radio", name: "decoder", value: name, checked: name === chosen, onchange: () => choose(name) }), el("span", {}, words, el("span.quiet", {}, ` · ${hint}`)));
  show();
  prompter?.addEventListener("decoder", show);
  openDialog(t("Where clicks are decoded"), el("div", {}, el("fieldset", {}, el("legend.visually-hidden", {}, t("Where clicks are decoded")), ...PLACES.map(row)), now), { onclose: () => prompter?.removeEventListener("decoder", show) });
}
