/** Statistics of a project: plots of the work by day and person, a table, and agreement. */

import { get, getItems, isReviewer } from "./api.js";
import { el, plural } from "./dom.js";
import { barPlot, linePlot, round } from "./plots.js";
import { stateLabel, statesOf } from "./states.js";

const MAX_DAYS = 30;
const MAX_PEOPLE = 8; // in the plots; the table has all
const BY_PEOPLE = ["assisted-manual", "semi-automatic"]; // the stages of masks that people make

export async function showStatistics(place, project, { images, days }) {
  const all = totals(images, days);
  const tiles = el(
    "dl.tiles",
    {},
    tile("Images", all.images.toLocaleString("en")),
    tile("Masks", all.masks.toLocaleString("en")),
    tile("Masks per image", round(all.masksPerImage), "on submitted images"),
    tile("Seconds per mask", all.made ? round(all.seconds / all.made) : "–", "of masks made by people"),
    tile("Clicks per mask", all.made ? round(all.clicks / all.made) : "–", "of masks made by people"),
    tile("Seconds per correction", all.corrected ? round(all.correctingSeconds / all.corrected) : "–", "of automatic and imported masks"),
  );
  const plots = days.length ? plotsOf(images, days) : [el("p.message", {}, "No masks yet.")];
  place.replaceChildren(tiles, el("div.plots", {}, ...plots), tableOf(days));
  if (isReviewer()) place.append(await peopleOf(project), await agreementOf(project));
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
  const labels = dates.map(shortDay);
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
    linePlot({ title: "Seconds per mask", unit: "s", labels, series: series((one) => one.duration_ms / 1000) }),
    linePlot({ title: "Clicks per mask", unit: "clicks", labels, series: series((one) => one.num_clicks) }),
    barPlot({ title: "Masks per day", unit: "masks", labels, series: counts }),
    barPlot({
      title: "Masks per image, by state",
      unit: "masks per image",
      labels: statesOf(images).map(stateLabel),
      series: [{ name: "masks per image", values: statesOf(images).map((state) => images[state].masks_per_image) }],
    }),
  ];
}

function tableOf(days) {
  const head = ["Day", "Person", "Stage", "Masks", "Corrected", "Clicks", "Seconds per mask", "Clicks per mask"];
  const rows = [...days].reverse().map((one) =>
    el("tr", {}, ...[one.day, one.user_name, one.stage].map((text) => el("td", {}, text)), ...[one.num_masks, one.num_corrected, one.num_clicks, one.seconds_per_mask, one.clicks_per_mask].map((value) => el("td.number", {}, value === null ? "–" : round(value)))),
  );
  return el("details.table-card", { open: rows.length <= 12 }, el("summary", {}, `Table (${plural(rows.length, "row")})`), table("Work by day, person and stage", head, rows));
}

async function peopleOf(project) {
  const items = await getItems(`projects/${project.id}/people`);
  const heading = el("h2", {}, "What has become of people's images");
  if (!items.length) return el("section.table-card", {}, heading, el("p.quiet", {}, "Nobody has finished an image yet."));
  const columns = ["waiting", "accepted", "returned", "skipped", "unusable", "held"];
  const rows = items.map((one) => el("tr", {}, el("td", {}, one.user_name), ...columns.map((name) => el("td.number", {}, one[`num_${name}`].toLocaleString("en")))));
  return el("section.table-card", {}, heading, table("People", ["Person", "Waiting for review", "Accepted", "Returned", "Skipped", "Cannot be used", "Held now"], rows));
}

async function agreementOf(project) {
  const { items } = await get(`projects/${project.id}/agreement?limit=200`);
  const heading = el("h2", {}, "Agreement between annotators");
  if (!items.length) {
    return el("section.table-card", {}, heading, el("p.quiet", {}, "No image has been submitted by two people yet. Request two annotators for some images to compare their masks here."));
  }
  const mean = items.reduce((sum, { mean_iou: iou }) => sum + iou, 0) / items.length;
  const rows = items.map(({ image_id: id, image_path: path, user_names: names, mean_iou: iou, ious, num_unmatched: unmatched }) =>
    el("tr", {}, el("td", {}, el("a", { href: `#/image/${id}` }, path)), el("td", {}, names.join(", ")), ...[iou.toFixed(3), ious.length, unmatched.join(" + ")].map((value) => el("td.number", {}, String(value)))),
  );
  return el("section.table-card", {}, heading, el("p", {}, `Mean IoU ${mean.toFixed(3)} on ${plural(items.length, "pair")}; unmatched masks count as 0.`), table("Agreement", ["Image", "People", "Mean IoU", "Matched pairs", "Unmatched"], rows));
}

function table(caption, head, rows) {
  return el("div.table-scroll", { tabindex: "0", role: "region", "aria-label": caption }, el("table", {}, el("caption.visually-hidden", {}, caption), el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, ...rows)));
}

function shortDay(day) {
  return new Date(`${day}T00:00:00Z`).toLocaleDateString("en", { month: "short", day: "numeric", timeZone: "UTC" });
}
