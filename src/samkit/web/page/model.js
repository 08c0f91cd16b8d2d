/** The model of a project: which version answers, what each one was worth, and how it learns. */

import { get, isReviewer, post, put } from "./api.js";
import { confirmDialog, el, field } from "./dom.js";
import { notify, notifyError } from "./notices.js";
import { linePlot } from "./plots.js";
import { shownNumber, t, tn } from "./texts.js";
import { VERDICT_WORDS } from "./words.js";

const REFRESH_MS = 5000;
const DOING = { learn: t("The model is learning from the finished masks."), lora: t("The model and its image encoder are learning from the finished masks, until somebody is back."), embed: t("The waiting images are being encoded for the new image encoder."), prefill: t("Confident masks are being put on the waiting images."), choose: t("The images that come next are being chosen."), waiting: t("Learning begins in a moment.") };

/** Show the page and keep it up to date. @returns {{close: () => void}} */
export async function showModel(place, project) {
  const path = `projects/${project.id}/learning`;
  let shown = "";
  const status = el("div");
  const draw = (learning) => {
    const page = { path, draw, status };
    status.replaceChildren(...(learning.doing ? [progress(learning, page)] : []));
    const text = JSON.stringify({ ...learning, left: null, tiles: null });
    if (text === shown) return; // somebody may be typing
    shown = text;
    place.replaceChildren(...contents(learning, page));
  };
  draw(await get(path));
  const timer = setInterval(() => get(path).then(draw, () => {}), REFRESH_MS);
  return { close: () => clearInterval(timer) };
}

function contents(learning, page) {
  const { learned, serving } = learning;
  const current = learned.find(({ version }) => version.id === serving);
  const promoted = learned.filter(({ verdict }) => verdict === "promoted");
  const tiles = el(
    "dl.tiles",
    {},
    tile(t("Answers now"), current ? current.version.name : t("The server's own model")),
    tile(t("Finished masks"), shownNumber(learning.finished_masks)),
    tile(t("Clicks per mask"), current ? current.figures.clicks[1].toFixed(2) : "–", t("of robots, on images that no model learns from")),
    tile(t("Prefilled and left as they were"), learning.precision === null ? "–" : `${Math.round(learning.precision * 100)}%`, tn("of the latest {n} prefilled mask on finished images", "of the latest {n} prefilled masks on finished images", learning.prefilled)),
  );
  const parts = [tiles, page.status];
  if (promoted.length) parts.push(el("div.plots", {}, ...curves(promoted)));
  parts.push(versions(learning, page));
  if (isReviewer()) parts.push(settings(learning, page));
  return parts;
}

function tile(name, value, hint = "") {
  return el("div.tile", { title: hint || null }, el("dt", {}, name), el("dd", {}, value));
}

function progress({ doing, left, tiles }, { path, draw }) {
  const parts = [DOING[doing]];
  if (left !== null) parts.push(tn("{n} image left.", "{n} images left.", left));
  if (tiles !== null) parts.push(t("A large image: {done} of {total} tiles done.", { done: tiles[0], total: tiles[1] }));
  const stop = () => post(`${path}/stop`).then(draw, notifyError);
  return el("p.message", { role: "status" }, parts.join(" "), isReviewer() && el("button", { type: "button", onclick: stop }, t("Stop")));
}

function curves(promoted) {
  const [first] = promoted;
  const labels = [t("before"), ...promoted.map((_, at) => String(at + 1))];
  const values = (name) => [first.figures[name][0], ...promoted.map(({ figures }) => figures[name][1])];
  return [
    linePlot({
      title: t("Clicks per mask, by version"),
      unit: t("clicks"),
      labels,
      series: [{ name: t("to IoU 0.85"), values: values("clicks") }, { name: t("to IoU 0.90"), values: values("clicks90") }],
    }),
    linePlot({ title: t("IoU after the first click, by version"), unit: "IoU", labels, series: [{ name: t("IoU after the first click"), values: values("iou_1") }] }),
  ];
}

function versions({ learned, serving }, page) {
  const heading = el("h2", {}, t("Versions"));
  if (!learned.length) {
    return el("section.table-card", {}, heading, el("p.quiet", {}, t("No model has learned from this project yet. Finish some images, then let it learn.")));
  }
  const base = learned[0].parent_id;
  const head = [t("Version"), t("Masks"), t("Clicks before"), t("Clicks after"), t("First click's IoU"), t("Verdict"), ""];
  const answered = learned.some(({ verdict }) => verdict === "promoted");
  const rows = [...learned].reverse().map(({ version, learns, num_masks: masks, verdict, reason, figures }) =>
    el(
      "tr",
      { title: reason },
      el("td", {}, learns === "lora" ? t("{name} (image encoder, too)", { name: version.name }) : version.name),
      ...[shownNumber(masks), figures.clicks[0].toFixed(2), figures.clicks[1].toFixed(2), figures.iou_1[1].toFixed(3)].map((value) => el("td.number", {}, value)),
      el("td", {}, VERDICT_WORDS[verdict]),
      el("td", {}, verdict === "promoted" && serveButton(version.id, version.name, serving, page)),
    ),
  );
  if (answered) rows.push(el("tr", {}, el("td", {}, t("The server's own model")), ...Array.from({ length: 5 }, () => el("td", {})), el("td", {}, serveButton(base, t("The server's own model"), serving, page))));
  const table = el("table", {}, el("caption.visually-hidden", {}, t("Versions of the model")), el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, ...rows));
  return el("section.table-card", {}, heading, el("div.table-scroll", { tabindex: "0", role: "region", "aria-label": t("Versions of the model") }, table));
}

function serveButton(id, name, serving, { path, draw }) {
  if (id === serving) return el("span.quiet", {}, t("answers now"));
  if (!isReviewer()) return null;
  const go = async () => {
    if (!(await confirmDialog(t("Change the model"), t("From now on, “{name}” answers everybody in this project. Masks that are being drawn go on with the version they began with.", { name }), t("Change")))) return;
    try {
      draw(await post(`${path}/serve`, { model_version_id: id }));
      notify(t("Changed; the server follows within seconds."), "good");
    } catch (error) {
      notifyError(error);
    }
  };
  return el("button", { type: "button", onclick: go }, t("Let it answer"));
}

function settings(learning, { path, draw }) {
  const every = el("input", { type: "number", min: "0", step: "1", required: true, value: String(learning.every_masks) });
  const prefill = el("input", { type: "checkbox", checked: learning.prefill });
  const choose = el("input", { type: "checkbox", checked: learning.choose_next });
  const lora = el("input", { type: "checkbox", checked: learning.lora });
  const away = el("input", { type: "number", min: "1", step: "1", required: true, value: String(learning.away_minutes) });
  const precision = el("input", { type: "number", min: "0.5", max: "1", step: "0.01", required: true, value: round2(learning.target_precision) });
  const hasEncoder = learning.learned.some(({ learns, verdict }) => learns === "lora" && verdict === "promoted");
  const act = async (request, done) => {
    try {
      draw(await request());
      notify(done, "good");
    } catch (error) {
      notifyError(error);
    }
  };
  const body = () => ({ every_masks: Number(every.value), prefill: prefill.checked, target_precision: Number(precision.value), choose_next: choose.checked, lora: lora.checked, away_minutes: Number(away.value) });
  const form = el(
    "form",
    {},
    field(t("Learn after this many new masks"), every, t("0 learns only when asked")),
    el("label.check", {}, prefill, t("Put confident masks on images before people open them")),
    field(t("Fraction of them that shall be right"), precision),
    el("label.check", {}, choose, t("Offer first the images from which the model would learn most")),
    el("label.check", {}, lora, t("Train the image encoder, too, when everybody is away; then all images are encoded anew")),
    field(t("Everybody is away after this many minutes without work"), away),
    el("footer.row", {}, el("button", { type: "button", disabled: Boolean(learning.doing), onclick: () => act(() => post(`${path}/learn`), t("Learning begins in a moment.")) }, t("Learn now")), learning.prefill && el("button", { type: "button", disabled: Boolean(learning.doing), onclick: () => act(() => post(`${path}/prefill`), t("Prefilling begins in a moment.")) }, t("Prefill now")), hasEncoder && el("button", { type: "button", disabled: Boolean(learning.doing), onclick: () => act(() => post(`${path}/embed`), t("Encoding begins in a moment.")) }, t("Encode now")), el("button.primary", { type: "submit" }, t("Save"))),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(() => put(path, body()), t("Saved."));
  });
  return el("section.table-card", {}, el("h2", {}, t("How it learns")), form);
}

const round2 = (value) => String(Math.round(value * 100) / 100);
