/** The dialog by which reviewers assign selected images to people, and set their priority and batch. */

import { get, getItems, post } from "./api.js";
import { el, field, formDialog, select } from "./dom.js";
import { notify } from "./notices.js";
import { t, tn } from "./texts.js";
import { ROLE_WORDS } from "./words.js";

const AT_ONCE = 100; // images of one request, which the server takes
const SAME = "";
const PRIORITIES = [[SAME, t("As it is")], ["urgent", t("Urgent")], ["high", t("High")], ["normal", t("Normal")], ["low", t("Low")]];

/**
 * @param {{id: number}} project
 * @param {number[]} ids images
 * @param {(images: object[]) => void} changed gets the images as they are then
 */
export async function askToAssign(project, ids, changed) {
  const path = `projects/${project.id}`;
  const [{ people }, batches] = await Promise.all([get(`${path}/members`), getItems(`${path}/batches`)]);
  const boxes = people.map(({ id, name, role }) => {
    const box = el("input", { type: "checkbox", value: String(id) });
    return [box, el("label.check", {}, box, name, el("span.quiet", {}, ROLE_WORDS[role]))];
  });
  const choice = (value, text) => el("label.check", {}, el("input", { type: "radio", name: "for", value, checked: value === SAME }), text);
  const whom = el("fieldset", {}, el("legend", {}, t("For")), choice(SAME, t("As it is")), choice("all", t("All whom I choose")), choice("deal", t("One of those whom I choose, in turn")), choice("nobody", t("Everybody")), el("div.choices", {}, ...boxes.map(([, label]) => label)));
  const kindOf = () => whom.querySelector("[name=for]:checked").value;
  whom.addEventListener("change", ({ target }) => {
    if (target.type === "checkbox" && [SAME, "nobody"].includes(kindOf())) whom.querySelector("[value=all]").checked = true;
  });
  const priority = select(PRIORITIES, SAME);
  const names = el("datalist", { id: "batches" }, ...batches.filter(({ batch }) => batch).map(({ batch }) => el("option", { value: batch })));
  const batch = el("input", { list: "batches", maxlength: "100", autocomplete: "off", placeholder: t("As it is") });
  const none = el("input", { type: "checkbox", onchange: () => (batch.disabled = none.checked) });
  const fields = [whom, field(t("Priority"), priority), field(t("Batch"), batch), names, el("label.check", {}, none, t("In no batch"))];
  formDialog(tn("Assign {n} image", "Assign {n} images", ids.length), fields, t("Assign"), async () => {
    const kind = kindOf();
    const chosen = boxes.filter(([box]) => box.checked).map(([box]) => Number(box.value));
    if (["all", "deal"].includes(kind) && !chosen.length) throw new Error(t("Choose at least one person."));
    const body = {
      user_ids: kind === SAME ? null : kind === "nobody" ? [] : chosen,
      deal: kind === "deal",
      priority: priority.value || null,
      batch: none.checked ? "" : batch.value.trim() || null,
    };
    for (let at = 0; at < ids.length; at += AT_ONCE) {
      const { images } = await post(`${path}/images/assign`, { ...body, image_ids: ids.slice(at, at + AT_ONCE) });
      changed(images);
    }
    notify(tn("{n} image assigned.", "{n} images assigned.", ids.length), "good");
  });
}
