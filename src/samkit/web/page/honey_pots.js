/** Honey pots of a project, for reviewers: what people's answers are worth, how often they come, and their end. */

import { get, post, put } from "./api.js";
import { dataTable, el, fill, tableOf } from "./dom.js";
import { notify, notifyError } from "./notices.js";
import { t, tn } from "./texts.js";

/** @param {{id: number}} project */
export async function honeyPots(project) {
  const path = `projects/${project.id}/honey_pots`;
  const element = el("section.table-card");
  const change = async (act, done) => {
    try {
      draw(await act());
      notify(done, "good");
    } catch (error) {
      notifyError(error);
    }
  };
  const draw = (found) => fill(element, ...contents(found, path, change));
  draw(await get(path));
  return element;
}

function contents({ every, images, people, scores }, path, change) {
  const heading = el("h2", {}, t("Honey pots"));
  if (!images.length) return [heading, el("p.quiet", {}, t("None yet: select accepted images in the gallery, whose masks are then the known answers."))];
  const often = el("input.some-images", { type: "number", min: "2", max: "1000", value: String(every), "aria-label": t("Images of which one is a honey pot"), "data-key": "honey-every" });
  often.addEventListener("change", () => change(() => put(`${path}/every`, { every: Number(often.value) }), t("Changed.")));
  const found = people.map((one) => [one.user_name, one.num_images, one.mean_iou.toFixed(3), one.num_found, one.num_missed, one.num_extra]);
  const rows = images.map((one) => {
    const own = scores.filter(({ image_id: id }) => id === one.image_id);
    const mean = own.length ? (own.reduce((sum, { mean_iou: iou }) => sum + iou, 0) / own.length).toFixed(3) : "–";
    const end = el("button", { type: "button", "data-key": `end-${one.image_id}`, "aria-label": t("End the honey pot {path}", { path: one.path }), onclick: () => change(() => post(`${path}/end`, { image_ids: [one.image_id] }), t("{path} is an accepted image again.", { path: one.path })) }, t("End"));
    return el("tr", {}, el("td", {}, el("a", { href: `#/image/${one.image_id}` }, one.path)), ...[one.num_masks, own.length, mean].map((value) => el("td.number", {}, String(value))), el("td", {}, one.ended_at ? t("ended") : end));
  });
  const table = dataTable(t("Honey pots"), [t("Image"), t("Masks"), t("Answers"), t("Mean IoU"), ""], rows);
  const [before, after] = t("One of {number} images that each annotator gets, at a place that they cannot guess.").split("{number}");
  return [
    heading,
    el("p.row", {}, el("span", {}, before.trim()), often, after.trim()),
    found.length ? tableOf(t("Scores"), [t("Person"), t("Images"), t("Mean IoU"), t("Found"), t("Missed"), t("Extra")], found) : el("p.quiet", {}, t("Nobody has answered one yet.")),
    el("details", {}, el("summary", {}, tn("{n} honey pot", "{n} honey pots", images.length)), table),
  ];
}
