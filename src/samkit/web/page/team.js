/** The people of a project, for reviewers: who may work on it, how far they and batches are. */

import { get, getItems, isAdmin, listAll, put } from "./api.js";
import { dataTable, el, fill, formDialog, tableOf } from "./dom.js";
import { honeyPots } from "./honey_pots.js";
import { notify, notifyError } from "./notices.js";
import { shownTime, t } from "./texts.js";
import { webhooks } from "./webhooks.js";
import { ROLE_WORDS } from "./words.js";

/** Show the page. @param {Element} place @param {{id: number}} project */
export async function showTeam(place, project) {
  const path = `projects/${project.id}`;
  const members = el("section.table-card");
  const draw = (found) => fill(members, ...membersOf(found, () => askForMembers(path, found, draw)));
  const [found, people, batches, held] = await Promise.all([get(`${path}/members`), getItems(`${path}/people`), getItems(`${path}/batches`), getItems(`${path}/holders`)]);
  draw(found);
  place.replaceChildren(members, progressOf(people), batchesOf(batches), holdersOf(held), await honeyPots(project), ...(isAdmin() ? [await webhooks(project)] : []));
}

function membersOf({ everybody, people }, change) {
  const button = isAdmin() && el("button", { type: "button", "data-key": "change-members", onclick: () => change().catch(notifyError) }, t("Change…"));
  const names = people.map(({ name, role }) => el("li.chip", {}, name, el("span.quiet", {}, ROLE_WORDS[role])));
  return [
    el("h2.row", {}, t("Members"), el("span.grow"), button),
    el("p.quiet", {}, everybody ? t("Everybody may see this project and work on it.") : t("Only its members, and admins, may see this project and work on it.")),
    el("ul.chips", { "aria-label": t("People who may work on it") }, ...names),
  ];
}

const COLUMNS = [["assigned", t("Assigned")], ["held", t("Held now")], ["waiting", t("Waiting for review")], ["accepted", t("Accepted")], ["returned", t("Returned")], ["skipped", t("Skipped")], ["unusable", t("Cannot be used")]];

/** What has become of each person's images. */
function progressOf(people) {
  const rows = people.map((one) => [one.user_name, ...COLUMNS.map(([name]) => one[`num_${name}`])]);
  const table = tableOf(t("Progress of each person"), [t("Person"), ...COLUMNS.map(([, text]) => text)], rows);
  return el("section.table-card", {}, el("h2", {}, t("Progress")), rows.length ? table : el("p.quiet", {}, t("Nobody has an image yet.")));
}

function batchesOf(batches) {
  const heading = el("h2", {}, t("Batches"));
  if (batches.every(({ batch }) => !batch)) return el("section.table-card", {}, heading, el("p.quiet", {}, t("No batches yet: select images in the gallery, and assign them.")));
  const rows = batches.map(({ batch, num_images: images, num_open: open, num_submitted: submitted, num_accepted: accepted }) => [batch || t("no batch"), images, open, submitted, accepted]);
  return el("section.table-card", {}, heading, tableOf(t("Batches"), [t("Batch"), t("Images"), t("To annotate"), t("Submitted"), t("Accepted")], rows));
}

function holdersOf(held) {
  const heading = el("h2", {}, t("Held now"));
  if (!held.length) return el("section.table-card", {}, heading, el("p.quiet", {}, t("Nobody holds an image.")));
  const rows = held.map(({ image_id: id, path, user_name: name, expires_at: until }) => el("tr", {}, el("td", {}, el("a", { href: `#/image/${id}` }, path)), el("td", {}, name), el("td", {}, shownTime(until))));
  return el("section.table-card", {}, heading, dataTable(t("Images that people hold now"), [t("Image"), t("Person"), t("Until, unless renewed")], rows));
}

/** Ask an admin who may work on the project. */
async function askForMembers(path, { everybody, user_ids: members }, done) {
  const users = (await listAll("users")).filter(({ active, role }) => active && role !== "admin");
  const boxes = users.map(({ id, name, role }) => {
    const box = el("input", { type: "checkbox", checked: members.includes(id), disabled: everybody, value: String(id) });
    return [box, el("label.check", {}, box, name, el("span.quiet", {}, ROLE_WORDS[role]))];
  });
  const choice = (value, text) => el("label.check", {}, el("input", { type: "radio", name: "who", value, checked: (value === "all") === everybody, onchange: ({ target }) => target.checked && boxes.forEach(([box]) => (box.disabled = value === "all")) }), text);
  const who = el("fieldset", {}, el("legend", {}, t("Who may see the project and work on it")), choice("all", t("Everybody")), choice("members", t("Members only, and admins")));
  const list = el("fieldset", {}, el("legend", {}, t("Members")), el("div.choices", {}, ...boxes.map(([, label]) => label)));
  formDialog(t("Members"), [who, list], t("Set"), async () => {
    const isOpen = who.querySelector("[value=all]").checked;
    const chosen = boxes.filter(([box]) => box.checked).map(([box]) => Number(box.value));
    done(await put(`${path}/members`, { user_ids: isOpen ? null : chosen }));
    notify(t("Members changed."), "good");
  });
}
