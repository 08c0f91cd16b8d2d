/** What the gallery shows: states, a search by name, class, person and number of masks, and the order. */

import { get, getItems, isReviewer, query, signedIn } from "./api.js";
import { el, fill, select } from "./dom.js";
import { notifyError } from "./notices.js";
import { stateLabel, statesOf } from "./states.js";
import { shownNumber, t, tn } from "./texts.js";

const STAGES = [["", t("All stages")], ["assisted-manual", t("Assisted manual")], ["semi-automatic", t("Semi-automatic")], ["fully-automatic", t("Fully automatic")], ["imported", t("Imported")]];
// Least and most.
const NUMBERS = [["", t("Any number of masks")], ["0-0", t("No masks")], ["1-", t("With masks")], ["1-5", t("1 to 5 masks")], ["6-20", t("6 to 20 masks")], ["21-", t("More than 20 masks")]];
const ORDERS = [["added", t("Oldest first")], ["added-", t("Newest first")], ["name", t("By name")], ["name-", t("By name, backwards")], ["masks-", t("Most masks first")], ["masks", t("Fewest masks first")]];
const SETTLE_MS = 250; // after typing

const NO_SEARCH = Object.freeze({ review: "", stage: "", name: "", class_id: "", user_id: "", min_masks: "", max_masks: "", batch: "", assigned_to: "", commented: "", order: "added", descending: "" });
/** What was last looked for in each project, for whoever comes back from an image. */
const last = new Map();

export const searchOf = (project) => last.get(project.id) ?? NO_SEARCH;

/**
 * @param {import("./gallery.js").Gallery} gallery
 * @param {{id: number}} project
 * @param {object} images counts by state
 */
export async function galleryFilters(gallery, project, images) {
  const total = Object.values(images).reduce((sum, { num_images: count }) => sum + count, 0);
  const [classes, people, workers, batches] = await Promise.all([getItems(`projects/${project.id}/classes`), peopleOf(project), workersOf(project), getItems(`projects/${project.id}/batches`)]);
  const named = batches.map(({ batch }) => batch).filter(Boolean);
  const now = searchOf(project);
  const chips = el("div.chips", { role: "group", "aria-label": t("Review state") });
  const found = el("span.quiet.found-count", { "aria-live": "polite" });
  const set = (change) => {
    const search = { ...gallery.filter, ...change };
    last.set(project.id, search);
    gallery.show(search).catch(notifyError);
    draw();
  };
  const draw = () => {
    const states = ["", ...statesOf(images)].map((value) => {
      const count = value ? images[value].num_images : total;
      const isOn = gallery.filter.review === value;
      return el("button.chip", { type: "button", "data-key": `review-${value}`, "aria-pressed": String(isOn), onclick: () => set({ review: value }) }, value ? stateLabel(value) : t("All"), el("span.count", {}, shownNumber(count)));
    });
    fill(chips, ...states);
    count(gallery, project, total, found).catch(notifyError);
  };
  let timer = 0;
  const name = el("input.search", {
    type: "search",
    value: now.name,
    placeholder: t("Part of the name"),
    "aria-label": t("Part of the name"),
    maxlength: "200",
    oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(() => set({ name: name.value.trim() }), SETTLE_MS);
    },
  });
  const choice = (label, options, chosen, changeOf) => {
    const node = select(options, chosen, { "aria-label": label, onchange: () => set(changeOf(node.value)) });
    return node;
  };
  const byClass = choice(t("Class"), [["", t("All classes")], ...classes.map(({ id, name: text }) => [String(id), text])], now.class_id, (value) => ({ class_id: value }));
  const byPerson = choice(t("Person"), [["", t("Everybody")], ...people], now.user_id, (value) => ({ user_id: value }));
  const byBatch = named.length > 0 && choice(t("Batch"), [["", t("All batches")], ...named.map((text) => [text, text])], now.batch, (value) => ({ batch: value }));
  const byAssignee = choice(t("Assigned to"), [["", t("Assigned to anybody")], ...workers], now.assigned_to, (value) => ({ assigned_to: value }));
  const byNumber = choice(t("Number of masks"), NUMBERS, rangeOf(now), (value) => {
    const [least, most] = value.split("-");
    return { min_masks: least ?? "", max_masks: most ?? "" };
  });
  const stages = choice(t("Stage"), STAGES, now.stage, (value) => ({ stage: value }));
  const order = choice(t("Order"), ORDERS, `${now.order}${now.descending ? "-" : ""}`, (value) => ({ order: value.replace("-", ""), descending: value.endsWith("-") ? "true" : "" }));
  const masks = el("label.check", {}, el("input", { type: "checkbox", checked: true, onchange: ({ target }) => gallery.showMasks(target.checked) }), t("Masks"));
  const commented = el("label.check", {}, el("input", { type: "checkbox", checked: now.commented === "true", onchange: ({ target }) => set({ commented: target.checked ? "true" : "" }) }), t("Open comments"));
  draw();
  return el("div.filters", {}, chips, name, byClass, byPerson, byBatch, byAssignee, byNumber, stages, order, commented, masks, el("span.grow"), found);
}

const rangeOf = ({ min_masks: least, max_masks: most }) => (least === "" && most === "" ? "" : `${least}-${most}`);

/** Whose images may be looked for: reviewers look for everybody's, others for their own. */
async function peopleOf(project) {
  if (!isReviewer()) return [[String(signedIn.user.id), t("My images")]];
  const people = await getItems(`projects/${project.id}/people`);
  return people.map(({ user_id: id, user_name: name }) => [String(id), name]);
}

/** To whom images are assigned that may be looked for. */
async function workersOf(project) {
  if (!isReviewer()) return [[String(signedIn.user.id), t("Assigned to me")]];
  const { people } = await get(`projects/${project.id}/members`);
  return people.map(({ id, name }) => [String(id), t("Assigned to {name}", { name })]);
}

/** Say how many images there are, and how many of them are found. */
async function count(gallery, project, total, node) {
  const { filter } = gallery;
  const { order, descending, ...wanted } = filter;
  const isAll = Object.values(wanted).every((value) => value === "");
  const { num_images: number } = isAll ? { num_images: total } : await get(`projects/${project.id}/images/count?${query(wanted)}`);
  if (gallery.filter !== filter) return;
  gallery.numFound = number;
  node.textContent = isAll ? tn("{n} image", "{n} images", total) : tn("{found} of {n} image", "{found} of {n} images", total, { found: number });
}
