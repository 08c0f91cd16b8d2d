/**
 * SVG plots: lines over days, and bars. Deliberately small: one y axis from zero, a legend, a title for
 * screen readers, and colours numbered by the style sheet, so that both themes work.
 *
 * @typedef {{name: string, values: (number | null)[]}} Series  one value for each label
 */

import { el, svg } from "./dom.js";
import { shownNumber, t } from "./texts.js";

const WIDTH = 460;
const HEIGHT = 220;
const LEFT = 44;
const RIGHT = 12;
const TOP = 12;
const BOTTOM = 26;
const TICKS = 4;
const COLORS = 8; // classes .series-0 to .series-7

/**
 * @param {{title: string, unit: string, labels: string[], series: Series[]}} data
 * @returns {HTMLElement} a figure
 */
export function linePlot({ title, unit, labels, series }) {
  const { frame, x, y } = axes({ unit, labels, most: mostOf(series.map(({ values }) => values)) });
  const lines = series.flatMap(({ name, values }, i) => {
    const points = values.flatMap((value, at) => (value === null ? [] : [[x(at), y(value), value, labels[at]]]));
    const path = points.map(([px, py], at) => `${at ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join("");
    const marks = points.map(([px, py, value, label]) =>
      svg("circle", { class: `mark series-${i % COLORS}`, cx: px, cy: py, r: 3.5 }, tip(`${name}, ${label}: ${round(value)} ${unit}`)),
    );
    return [svg("path", { class: `line series-${i % COLORS}`, d: path }), ...marks];
  });
  return figure(title, svgOf(title, frame, lines), series);
}

/** Bars for each label, the series on top of each other. */
export function barPlot({ title, unit, labels, series }) {
  const sums = labels.map((_, at) => series.reduce((sum, { values }) => sum + (values[at] ?? 0), 0));
  const { frame, x, y, step } = axes({ unit, labels, most: mostOf([sums]), banded: true });
  const width = Math.min(44, step * 0.64);
  const bars = labels.flatMap((label, at) => {
    let below = 0;
    return series.map(({ name, values }, i) => {
      const value = values[at] ?? 0;
      const from = y(below);
      below += value;
      return value > 0 && svg("rect", { class: `column series-${i % COLORS}`, x: x(at) - width / 2, y: y(below), width, height: Math.max(0, from - y(below)), rx: 1.5 }, tip(`${name}, ${label}: ${round(value)} ${unit}`));
    });
  });
  return figure(title, svgOf(title, frame, bars), series);
}

function axes({ unit, labels, most, banded = false }) {
  const top = niceTop(most);
  const inner = WIDTH - LEFT - RIGHT;
  const step = inner / Math.max(1, banded ? labels.length : labels.length - 1);
  const x = (at) => LEFT + (banded ? (at + 0.5) * step : labels.length > 1 ? at * step : inner / 2);
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const lines = Array.from({ length: TICKS + 1 }, (_, i) => {
    const value = (top * i) / TICKS;
    return [svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }), svg("text", { class: "tick", x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, round(value))];
  }).flat();
  const every = Math.ceil(labels.length / 7);
  const names = labels.flatMap((label, at) => {
    const anchor = banded || labels.length === 1 ? "middle" : at === 0 ? "start" : at === labels.length - 1 ? "end" : "middle";
    return at % every ? [] : [svg("text", { class: "tick", x: x(at), y: HEIGHT - 8, "text-anchor": anchor }, label)];
  });
  const what = svg("text", { class: "tick unit", x: LEFT, y: TOP - 5 }, unit);
  return { frame: [...lines, ...names, what], x, y, step };
}

function svgOf(title, frame, marks) {
  return svg("svg", { class: "plot", viewBox: `0 -8 ${WIDTH} ${HEIGHT + 8}`, role: "img", "aria-label": t("{title}. The numbers are in the table below.", { title }) }, ...frame, ...marks);
}

function figure(title, plot, series) {
  const legend = series.length > 1 && el("ul.legend", {}, ...series.map(({ name }, i) => el("li", {}, svg("svg", { class: "key", viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("rect", { class: `column series-${i % COLORS}`, width: 10, height: 10, rx: 2 })), name)));
  return el("figure.plot-card", {}, el("figcaption", {}, title), plot, legend);
}

const tip = (text) => svg("title", {}, text);

function mostOf(lists) {
  return Math.max(0, ...lists.flat().filter((value) => value !== null));
}

/** The next round number: 1, 2, 4 or 8 times a power of ten, so that four ticks are round too. */
export function niceTop(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 4, 8, 10].map((factor) => factor * power).find((top) => top >= most * 0.999999);
}

export const round = (value) => shownNumber(value, { maximumFractionDigits: value < 10 ? 1 : 0 });
