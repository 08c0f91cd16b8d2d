/** Statistics of a project: plots of the work by day and person, a table, and agreement. */

import { get, getItems, isReviewer } from "./api.js";
import { dataTable, el, tableOf } from "./dom.js";
import { barPlot, linePlot, round } from "./plots.js";
import { STATES, stateLabel, statesOf } from "./states.js";
import { listed, shownDay, shownNumber, t, tn } from "./texts.js";
import { STAGE_WORDS, attributeName } from "./words.js";

const MAX_DAYS = 30;
const MAX_BARS = 24; // of the plot of classes
const MAX_PEOPLE = 8; // in the plots; the table has all
const BY_PEOPLE = ["assisted-manual", "semi-automatic"]; // the stages of masks that people make

export async function showStatistics(place, project, { images, days }) {
  const all = totals(images, days);
  const tiles = el(
    "dl.tiles",
    {},
    tile(t("Images"), shownNumber(all.images)),
    tile(t("Masks"), shownNumber(all.masks)),
    tile(t("Masks per image"), round(all.masksPerImage), t("on submitted images")),
    tile(t("Seconds per mask"), all.made ? round(all.seconds / all.made) : "–", t("of masks made by people")),
    tile(t("Clicks per mask"), all.made ? round(all.clicks / all.made) : "–", t("of masks made by people")),
    tile(t("Seconds per correction"), all.corrected ? round(all.correctingSeconds / all.corrected) : "–", t("of automatic and imported masks")),
  );
  const plots = days.length ? plotsOf(images, days) : [el("p.message", {}, t("No masks yet."))];
  place.replaceChildren(tiles, el("div.plots", {}, ...plots), workTable(days));
  place.append(...(await videosOf(project)), ...(await classesOf(project)));
  const values = await valuesOf(project);
  if (values) place.append(values);
  if (isReviewer()) place.append(await agreementOf(project));
}

function totals(states, days) {
  const every = Object.values(states);
  const sum = (items, key) => items.reduce((total, item) => total + item[key], 0);
  const images = sum(every, "num_images");
  const masks = sum(every, "num_masks");
  const done = [states.submitted, states.returned, states.accepted];
  const finished = sum(done, "num_images");
  const masksPerImage = finished ? sum(done, "num_masks") / finished : states.none.masks_per_image;
  const own = days.filter(isByPeople);
  const others = days.filter((one) => !isByPeople(one));
  return {
    images,
    masks,
    masksPerImage,
    made: sum(own, "num_masks"),
    clicks: sum(own, "num_clicks"),
    seconds: sum(own, "duration_ms") / 1000,
    corrected: sum(others, "num_corrected"),
    correctingSeconds: sum(others, "duration_ms") / 1000,
  };
}

function isByPeople({ stage }) {
  return BY_PEOPLE.includes(stage);
}

/** Number of masks that a person worked on: automatic ones only if they corrected them. */
function numTouched(one) {
  return (isByPeople(one) ? one.num_masks : 0) + one.num_corrected;
}

function tile(name, value, hint = "") {
  return el("div.tile", { title: hint || null }, el("dt", {}, name), el("dd", {}, value));
}

function plotsOf(images, days) {
  const dates = [...new Set(days.map(({ day }) => day))].sort().slice(-MAX_DAYS);
  const people = [...new Map(days.map(({ user_id: id, user_name: name }) => [id, name]))].slice(0, MAX_PEOPLE);
  const labels = dates.map(shownDay);
  // A person may have several stages on a day: their masks and times are summed first.
  const of = (id, day, value) => {
    const rows = days.filter((one) => one.user_id === id && one.day === day);
    const masks = rows.reduce((sum, one) => sum + numTouched(one), 0);
    return masks ? rows.reduce((sum, one) => sum + value(one), 0) / masks : null;
  };
  const series = (value) => people.map(([id, name]) => ({ name, values: dates.map((day) => of(id, day, value)) }));
  const counts = people.map(([id, name]) => ({
    name,
    values: dates.map((day) => days.filter((one) => one.user_id === id && one.day === day).reduce((sum, one) => sum + one.num_masks, 0)),
  }));
  return [
    linePlot({ title: t("Seconds per mask"), unit: "s", labels, series: series((one) => one.duration_ms / 1000) }),
    linePlot({ title: t("Clicks per mask"), unit: t("clicks"), labels, series: series((one) => one.num_clicks) }),
    barPlot({ title: t("Masks per day"), unit: t("masks"), labels, series: counts }),
    barPlot({
      title: t("Masks per image, by state"),
      unit: t("masks per image"),
      labels: statesOf(images).map(stateLabel),
      series: [{ name: t("masks per image"), values: statesOf(images).map((state) => images[state].masks_per_image) }],
    }),
  ];
}

function workTable(days) {
  const head = [t("Day"), t("Person"), t("Stage"), t("Masks"), t("Corrected"), t("Clicks"), t("Seconds per mask"), t("Clicks per mask")];
  const rows = [...days].reverse().map((one) =>
    el("tr", {}, ...[one.day, one.user_name, STAGE_WORDS[one.stage]].map((text) => el("td", {}, text)), ...[one.num_masks, one.num_corrected, one.num_clicks, one.seconds_per_mask, one.clicks_per_mask].map((value) => el("td.number", {}, value === null ? "–" : round(value)))),
  );
  return el("details.table-card", { open: rows.length <= 12 }, el("summary", {}, tn("Table ({n} row)", "Table ({n} rows)", rows.length)), dataTable(t("Work by day, person and stage"), head, rows));
}

/** Videos by state, with their sum; nothing if there are none. */
async function videosOf(project) {
  const { states: videos } = await get(`projects/${project.id}/videos/statistics`);
  const found = STATES.map((state) => [stateLabel(state), videos[state]]).filter(([, { num_videos: count }]) => count);
  if (!found.length) return [];
  const keys = ["num_videos", "num_frames", "num_masked_frames", "num_tracks", "num_masks", "num_clicks", "duration_ms"];
  const sum = Object.fromEntries(keys.map((key) => [key, found.reduce((total, [, one]) => total + one[key], 0)]));
  const rows = [...found, ...(found.length > 1 ? [[t("All"), sum]] : [])].map(([name, one]) => [
    name,
    ...keys.slice(0, 5).map((key) => one[key]),
    one.num_tracks ? round(one.num_clicks / one.num_tracks) : "–",
    one.num_tracks ? round(one.duration_ms / 1000 / one.num_tracks) : "–",
  ]);
  const table = tableOf(t("Videos by state"), [t("State"), t("Videos"), t("Frames"), t("With masks"), t("Tracks"), t("Masks"), t("Clicks per track"), t("Seconds per track")], rows);
  return [el("section.table-card", {}, el("h2", {}, t("Videos")), table)];
}

/** How balanced the classes are: masks and images of each; nothing if there are no masks. */
async function classesOf(project) {
  const [classes, counts] = await Promise.all([getItems(`projects/${project.id}/classes`), getItems(`projects/${project.id}/classes/counts`)]);
  const all = counts.reduce((sum, { num_masks: count }) => sum + count, 0);
  if (!all) return [];
  const found = new Map(counts.map((one) => [one.class_id, one]));
  const named = [...classes.map(({ id, name }) => [id, name]), ...(found.has(null) ? [[null, t("no class")]] : [])];
  const rows = named.map(([id, name]) => {
    const { num_masks: masks = 0, num_images: images = 0 } = found.get(id) ?? {};
    return [name, masks, `${round((100 * masks) / all)}%`, images, images ? round(masks / images) : "–"];
  });
  const plot = barPlot({ title: t("Masks per class"), unit: t("masks"), labels: named.map(([, name]) => name), series: [{ name: t("masks"), values: rows.map(([, masks]) => masks) }] });
  const table = tableOf(t("Balance of classes"), [t("Class"), t("Masks"), t("Share"), t("Images"), t("Masks per image")], rows);
  return [el("section.table-card", {}, el("h2", {}, t("Balance of classes")), named.length <= MAX_BARS && plot, table)];
}

/** How many masks have each value of an attribute, and images each tag; null if none has any. */
async function valuesOf(project) {
  const items = await getItems(`projects/${project.id}/labelling/counts`);
  if (!items.length) return null;
  const rows = items.map(({ name, value, count }) => el("tr", {}, el("td", {}, name ? attributeName(name) : t("tag of images")), el("td", {}, value === true ? t("yes") : (value ?? t("any value"))), el("td.number", {}, shownNumber(count))));
  return el("section.table-card", {}, el("h2", {}, t("Attributes and tags")), dataTable(t("Attributes and tags"), [t("Attribute"), t("Value"), t("Masks or images")], rows));
}

async function agreementOf(project) {
  const { items } = await get(`projects/${project.id}/agreement?limit=200`);
  const heading = el("h2", {}, t("Agreement between annotators"));
  if (!items.length) {
    return el("section.table-card", {}, heading, el("p.quiet", {}, t("No image has been submitted by two people yet. Request two annotators for some images to compare their masks here.")));
  }
  const mean = items.reduce((sum, { mean_iou: iou }) => sum + iou, 0) / items.length;
  const rows = items.map(({ image_id: id, image_path: path, user_names: names, mean_iou: iou, ious, num_unmatched: unmatched, num_same_class: same }) =>
    el("tr", {}, el("td", {}, el("a", { href: `#/image/${id}` }, path)), el("td", {}, listed(names)), ...[iou.toFixed(3), ious.length, same, unmatched.join(" + ")].map((value) => el("td.number", {}, String(value)))),
  );
  return el("section.table-card", {}, heading, el("p", {}, tn("Mean IoU {mean} on {n} pair; unmatched masks count as 0.", "Mean IoU {mean} on {n} pairs; unmatched masks count as 0.", items.length, { mean: mean.toFixed(3) })), dataTable(t("Agreement"), [t("Image"), t("People"), t("Mean IoU"), t("Matched pairs"), t("Of the same class"), t("Unmatched")], rows));
}
