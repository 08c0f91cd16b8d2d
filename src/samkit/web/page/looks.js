/**
 * How the image is seen: brightness, contrast, gamma and one channel, by a filter on its canvas; and the
 * window, the values that become black and white, which the server draws from the file's own values.
 * The model sees the image as the project says, whatever is set here.
 */

import { ApiError, get } from "./api.js";
import { el, select, svg } from "./dom.js";
import { notifyError } from "./notices.js";
import { t } from "./texts.js";

export const PLAIN = { brightness: 0, contrast: 1, gamma: 1, channel: "all" };
const CHANNELS = [["all", t("All channels")], ["red", t("Red")], ["green", t("Green")], ["blue", t("Blue")], ["gray", t("Gray")]];
const WINDOW_MS = 200;
const GRAY = [0.2126, 0.7152, 0.0722]; // of sRGB's primaries
// What a value of each output channel is made of: red, green, blue.
const ROWS = { red: [1, 0, 0], green: [0, 1, 0], blue: [0, 0, 1], gray: GRAY };

export class Looks {
  /**
   * @param {object} parts
   * @param {import("./studio_state.js").StudioState} parts.state
   * @param {import("./stage.js").Stage} parts.stage
   * @param {import("./minimap.js").Minimap} parts.minimap
   * @param {ReturnType<typeof import("./settings.js").readSettings>} parts.settings
   * @param {() => void} parts.onFacts called when the image's values can be asked for
   */
  constructor({ state, stage, minimap, settings, onFacts }) {
    Object.assign(this, { state, stage, minimap, onFacts });
    const { brightness, contrast, gamma, channel, rulers, windows } = settings;
    Object.assign(this, { values: { brightness, contrast, gamma, channel }, rulers, windows });
    minimap.isOn = settings.minimap;
    this.facts = null; // what values the image has, once they are asked for
    /** @type {Promise<void> | null} */
    this.asked = null;
    this.timer = 0;
    this.colours = svg("feColorMatrix", { type: "matrix" });
    this.lines = ["R", "G", "B"].map((name) => svg(`feFunc${name}`, { type: "linear" }));
    this.powers = ["R", "G", "B"].map((name) => svg(`feFunc${name}`, { type: "gamma", amplitude: "1", offset: "0" }));
    const filter = svg("filter", { id: "looks", "color-interpolation-filters": "sRGB", x: "0", y: "0", width: "1", height: "1" }, this.colours, svg("feComponentTransfer", {}, ...this.lines), svg("feComponentTransfer", {}, ...this.powers));
    this.filter = svg("svg", { width: "0", height: "0", "aria-hidden": "true", class: "filters" }, filter);
    this.panel = el("section.looks-panel", { hidden: true, "aria-label": t("How the image is seen") });
    this.element = el("div", {}, this.filter, this.panel);
    this.apply();
  }

  /** What is to be stored. */
  get settings() {
    return { ...this.values, rulers: this.rulers, windows: this.windows, minimap: this.minimap.isOn };
  }

  get isPlain() {
    return Object.entries(PLAIN).every(([name, value]) => this.values[name] === value);
  }

  /** Show the image by the window that was last used in its project. */
  start() {
    this.showWindow();
  }

  set(changes) {
    Object.assign(this.values, changes);
    this.apply();
    this.state.update();
  }

  apply() {
    const { brightness, contrast, gamma, channel } = this.values;
    const rows = channel === "all" ? [[1, 0, 0], [0, 1, 0], [0, 0, 1]] : Array(3).fill(ROWS[channel] ?? GRAY);
    this.colours.setAttribute("values", [...rows.map((row) => [...row, 0, 0]), [0, 0, 0, 1, 0]].flat().join(" "));
    for (const one of this.lines) {
      one.setAttribute("slope", contrast);
      one.setAttribute("intercept", 0.5 - 0.5 * contrast + brightness);
    }
    for (const one of this.powers) one.setAttribute("exponent", 1 / gamma);
    this.stage.base.style.filter = this.isPlain ? "" : "url(#looks)";
  }

  get window() {
    return this.windows[this.state.project?.id] ?? null;
  }

  /** @param {[number, number] | null} limits values that become black and white; null: as the project says */
  setWindow(limits) {
    const { [this.state.project.id]: _, ...others } = this.windows;
    this.windows = limits ? { ...others, [this.state.project.id]: limits } : others;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.showWindow(), WINDOW_MS);
    this.state.update();
  }

  /** An image by tiles is seen as its project says until the server has read its values, once. */
  async showWindow() {
    const { levels } = this.stage;
    if (levels?.isTiled && this.window) {
      await this.askFacts();
      if (!this.facts?.is_deep) return;
    }
    levels?.setRange(this.window ? this.window.join(",") : null);
  }

  /** Ask what values the image has; where that fails, it is asked again the next time. */
  askFacts() {
    this.asked ??= this.readFacts();
    return this.asked;
  }

  async readFacts() {
    try {
      const facts = await get(`images/${this.state.imageId}/values/facts`);
      if (this.closed) return;
      this.facts = facts;
      this.onFacts();
      if (!this.panel.hidden) this.draw();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.asked = null;
      if (!this.closed) notifyError(error);
    }
  }

  reset() {
    this.set(PLAIN);
    if (this.window) this.setWindow(null);
    this.draw();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }

  toggle() {
    this.panel.hidden = !this.panel.hidden;
    if (this.panel.hidden) return this.stage.element.focus();
    this.draw();
    this.panel.querySelector("input")?.focus();
    return this.askFacts();
  }

  draw() {
    const { values } = this;
    const slider = (name, label, min, max, step) => this.slider(label, { min, max, step, value: values[name], "data-key": `look-${name}` }, (value) => this.set({ [name]: value }));
    const channel = select(CHANNELS, values.channel, { "aria-label": t("Channel"), "data-key": "look-channel", onchange: () => this.set({ channel: channel.value }) });
    const check = (label, key, isOn, act) => el("label.check", {}, el("input", { type: "checkbox", checked: isOn, "data-key": key, onchange: ({ target }) => act(target.checked) }), label);
    this.panel.replaceChildren(
      el("header", {}, el("h2", {}, t("View")), el("button", { type: "button", "data-key": "look-reset", onclick: () => this.reset() }, t("Reset")), el("button.icon.small", { type: "button", "aria-label": t("Close"), onclick: () => this.toggle() }, "✕")),
      slider("brightness", t("Brightness"), -1, 1, 0.02),
      slider("contrast", t("Contrast"), 0.2, 5, 0.05),
      slider("gamma", t("Gamma"), 0.2, 5, 0.05),
      channel,
      this.windowFields(),
      check(t("Overview while zoomed in"), "look-minimap", this.minimap.isOn, (isOn) => {
        this.minimap.isOn = isOn;
        this.minimap.draw();
        this.state.update();
      }),
      check(t("Rulers"), "look-rulers", this.rulers, (isOn) => {
        this.rulers = isOn;
        this.state.update();
      }),
    );
  }

  slider(label, props, act) {
    const shown = el("output", {}, String(props.value));
    const input = el("input", { type: "range", "aria-label": label, ...props });
    input.value = String(props.value); // after its limits are known
    input.addEventListener("input", () => {
      shown.textContent = input.value;
      act(Number(input.value));
    });
    return el("label.look", {}, el("span", {}, label), input, shown);
  }

  /** Level and width of the window, in the file's own values; words where there is nothing to choose. */
  windowFields() {
    const { facts } = this;
    if (!facts) return el("p.quiet", {}, this.stage.levels?.isTiled ? t("This image is large: its values are being read, once.") : t("Reading the values…"));
    if (!facts.is_deep) return el("p.quiet", {}, t("Values from {low} to {high}, all of which are seen.", { low: String(facts.lowest), high: String(facts.highest) }));
    const [low, high] = this.window ?? [facts.low, facts.high];
    const span = Math.max(facts.highest - facts.lowest, Number.EPSILON);
    const step = facts.dtype.startsWith("float") ? span / 1000 : 1;
    let [level, width] = [(low + high) / 2, high - low];
    const take = () => this.setWindow([level - width / 2, level + width / 2]);
    const round = (value) => (step === 1 ? Math.round(value) : Number(value.toPrecision(6)));
    return el(
      "div.window",
      {},
      el("p.quiet", {}, t("{type}, from {low} to {high}", { type: facts.dtype, low: String(round(facts.lowest)), high: String(round(facts.highest)) })),
      this.slider(t("Level"), { min: facts.lowest, max: facts.highest, step, value: round(level), "data-key": "look-level" }, (value) => {
        level = value;
        take();
      }),
      this.slider(t("Width"), { min: step, max: span, step, value: round(width), "data-key": "look-width" }, (value) => {
        width = Math.max(value, step);
        take();
      }),
    );
  }
}
