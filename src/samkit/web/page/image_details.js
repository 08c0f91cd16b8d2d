/** What there is to know of an image: state, who holds it, what people made of it; reviewers set how many annotate it. */

import { get, getItems, isReviewer, put } from "./api.js";
import { el, openDialog } from "./dom.js";
import { notify, notifyError } from "./notices.js";
import { STATE_WORDS } from "./states.js";
import { listed, shownTime, t, tn } from "./texts.js";
import { OUTCOME_WORDS, PRIORITY_WORDS } from "./words.js";

/** @param {{id: number, path: string}} image @param {(image: object) => void} changed */
export async function openDetails(image, changed) {
  const path = `images/${image.id}`;
  try {
    const [now, { holder }, assigned, submissions] = await Promise.all([get(path), get(`${path}/lease`), getItems(`${path}/assignees`), isReviewer() ? getItems(`${path}/submissions`) : []]);
    const [height, width] = now.size_hw;
    const rows = [
      [t("State"), STATE_WORDS[now.review]],
      now.comment && [t("Comment"), now.comment],
      [t("Size"), `${width} × ${height}`],
      [t("Masks"), String(now.num_masks)],
      [t("Held by"), holder ? t("{name}, until {time}", { name: holder.user_name, time: shownTime(holder.expires_at) }) : t("nobody")],
      [t("Assigned to"), listed(assigned.map(({ user_name: name }) => name)) || t("nobody in particular")],
      [t("Priority"), PRIORITY_WORDS[now.priority]],
      now.batch && [t("Batch"), now.batch],
      [t("Annotators"), isReviewer() ? annotators(now, changed) : String(now.num_annotators)],
      ...submissions.map(({ user_name: name, outcome, returned, at }) => [name, listed([OUTCOME_WORDS[returned ? "returned" : outcome], shownTime(at)])]),
    ];
    openDialog(image.path, el("dl.details", {}, ...rows.filter(Boolean).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
  } catch (error) {
    notifyError(error);
  }
}

/** A field for the number of people who annotate the image independently. */
function annotators(image, changed) {
  const input = el("input", { type: "number", min: "1", max: "1000", value: String(image.num_annotators), "aria-label": t("People who annotate it independently") });
  input.addEventListener("change", async () => {
    try {
      changed(await put(`images/${image.id}/num_annotators`, { num_annotators: Number(input.value) }));
      notify(tn("{path} is for {n} person.", "{path} is for {n} people.", Number(input.value), { path: image.path }), "good");
    } catch (error) {
      notifyError(error);
    }
  });
  return input;
}
