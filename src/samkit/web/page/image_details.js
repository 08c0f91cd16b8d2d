/** What there is to know of an image: state, who holds it, what people made of it; reviewers set how many annotate it. */

import { get, getItems, isReviewer, put } from "./api.js";
import { el, openDialog, shownTime } from "./dom.js";
import { notify, notifyError } from "./notices.js";
import { STATE_WORDS } from "./states.js";

/** @param {{id: number, path: string}} image @param {(image: object) => void} changed */
export async function openDetails(image, changed) {
  const path = `images/${image.id}`;
  try {
    const [now, { holder }, submissions] = await Promise.all([get(path), get(`${path}/lease`), isReviewer() ? getItems(`${path}/submissions`) : []]);
    const [height, width] = now.size_hw;
    const rows = [
      ["State", STATE_WORDS[now.review]],
      now.comment && ["Comment", now.comment],
      ["Size", `${width} × ${height}`],
      ["Masks", String(now.num_masks)],
      ["Held by", holder ? `${holder.user_name}, until ${shownTime(holder.expires_at)}` : "nobody"],
      ["Annotators", isReviewer() ? annotators(now, changed) : String(now.num_annotators)],
      ...submissions.map(({ user_name: name, outcome, returned, at }) => [name, `${returned ? "returned" : outcome}, ${shownTime(at)}`]),
    ];
    openDialog(image.path, el("dl.details", {}, ...rows.filter(Boolean).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
  } catch (error) {
    notifyError(error);
  }
}

/** A field for the number of people who annotate the image independently. */
function annotators(image, changed) {
  const input = el("input", { type: "number", min: "1", max: "1000", value: String(image.num_annotators), "aria-label": "People who annotate it independently" });
  input.addEventListener("change", async () => {
    try {
      changed(await put(`images/${image.id}/num_annotators`, { num_annotators: Number(input.value) }));
      notify(`${image.path} is for ${input.value} ${input.value === "1" ? "person" : "people"}.`, "good");
    } catch (error) {
      notifyError(error);
    }
  });
  return input;
}
