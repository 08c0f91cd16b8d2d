/**
 * Helpers to build and update the DOM. Elements are made by `el("button.primary", {...}, ...)`;
 * nothing is ever parsed as HTML, so that names and comments cannot inject markup.
 */

import { shownNumber, t } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} name tag with classes, such as "p.quiet.small"
 * @param {Record<string, any>} [props] attributes; `on...` are listeners; null and false are left out
 * @param {...(Node | string | null | false | undefined)} children
 */
export function el(name, props = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag || "div");
  if (classes.length) node.className = classes.join(" ");
  set(node, props);
  node.append(...children.flat().filter((child) => child !== null && child !== false && child !== undefined));
  return node;
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  set(node, props);
  node.append(...children.flat().filter(Boolean));
  return node;
}

function set(node, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "indeterminate") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
}

/** Replace a node's children; the focus stays on the element with the same `data-key`. */
export function fill(node, ...children) {
  const key = node.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== false && child !== undefined));
  if (key) node.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  return node;
}

/** A labelled field. */
export function field(label, input, hint = "") {
  const text = el("span.label", {}, label);
  return el("label.field", {}, text, input, hint && el("span.hint", {}, hint));
}

export function select(options, chosen, props = {}) {
  const items = options.map(([value, text]) => el("option", { value, selected: value === chosen }, text));
  return el("select", props, ...items);
}

/**
 * Open a modal dialog, which is removed when it closes.
 * @returns {HTMLDialogElement} the open dialog
 */
export function openDialog(title, content, { onclose = () => {}, className = "" } = {}) {
  const heading = el("h2", { id: `dialog-${++dialogs}` }, title);
  const close = el("button.icon", { type: "button", "aria-label": t("Close"), onclick: () => dialog.close() }, "✕");
  const dialog = el(`dialog${className}`, { "aria-labelledby": heading.id }, el("header", {}, heading, close), content);
  dialog.addEventListener("close", () => {
    dialog.remove();
    onclose(dialog.returnValue);
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

let dialogs = 0;

/**
 * Open a dialog with a form; it closes once `act` has succeeded, and shows why it has not.
 * @param {() => Promise<void>} act
 */
export function formDialog(title, fields, yes, act) {
  const failure = el("p.failure", { role: "alert" });
  const form = el("form", {}, ...fields, failure, el("footer", {}, el("button.primary", { type: "submit" }, yes)));
  const dialog = openDialog(title, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await act();
      dialog.close();
    } catch (error) {
      failure.textContent = error.message;
    }
  });
}

/**
 * Ask for confirmation.
 * @param {{byEnter?: boolean}} [options] whether Enter confirms, for what can be undone
 * @returns {Promise<boolean>}
 */
export function confirmDialog(title, text, yes = t("Continue"), { byEnter = false } = {}) {
  return new Promise((resolve) => {
    const form = el(
      "form",
      { method: "dialog" },
      el("p", {}, text),
      el("footer", {}, el("button", { value: "no" }, t("Cancel")), el("button.primary", { value: "yes", autofocus: byEnter }, yes)),
    );
    openDialog(title, form, { onclose: (value) => resolve(value === "yes") });
  });
}

export const isTyping = (target) => target instanceof Element && target.closest("input:not([type=range], [type=checkbox]), textarea, select, [contenteditable]") !== null;

/** A table with a caption for screen readers. @param {string[]} head @param {Node[]} rows */
export function dataTable(caption, head, rows) {
  return el("div.table-scroll", { tabindex: "0", role: "region", "aria-label": caption }, el("table", {}, el("caption.visually-hidden", {}, caption), el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, ...rows)));
}

/** A table of texts and numbers. @param {string[]} head @param {(string | number)[][]} rows */
export function tableOf(caption, head, rows) {
  const cell = (value) => (typeof value === "number" ? el("td.number", {}, shownNumber(value)) : el("td", {}, value));
  return dataTable(caption, head, rows.map((row) => el("tr", {}, ...row.map(cell))));
}
