/**
 * What the page says: `announce` for screen readers only, `notify` a short notice that goes by
 * itself, `banner` one that stays, with a way out, until it is taken down.
 */

import { el, fill } from "./dom.js";
import { t } from "./texts.js";

const NOTICE_MS = 5000;
const ACTION_MS = 15_000; // of a notice that offers something to do

const polite = el("div.visually-hidden", { "aria-live": "polite", role: "status" });
const notices = el("div.notices", { "aria-live": "polite" });
const banners = el("div.banners", { role: "region", "aria-label": t("Messages") });
const messages = el("div.messages", {}, banners, notices);

/** The place of all messages, for a page to put where they cover nothing that is needed. */
export function startNotices() {
  document.body.append(polite);
  if (!messages.isConnected) document.body.append(messages);
  return messages;
}

export function announce(text) {
  polite.textContent = "";
  requestAnimationFrame(() => {
    polite.textContent = text;
  });
}

/**
 * @param {"info" | "good" | "bad"} kind
 * @param {{label: string, act: () => void}} [action] what can be done about it, for some seconds
 */
export function notify(text, kind = "info", action = null) {
  const press = () => {
    notice.remove();
    action.act();
  };
  const notice = el(`div.notice.${kind}`, {}, el("span", {}, text), action && el("button", { type: "button", onclick: press }, action.label));
  if (!messages.isConnected) document.body.append(messages);
  notices.append(notice);
  while (notices.children.length > 3) notices.firstChild.remove();
  setTimeout(() => notice.remove(), action ? ACTION_MS : NOTICE_MS);
}

/** Show why a user's action failed. */
export function notifyError(error) {
  notify(error.message, "bad");
}

/**
 * Put up or replace a banner.
 * @param {string} name of the banner
 * @param {string | null} text null takes it down
 * @param {{label: string, act: () => void, primary?: boolean}[]} [actions]
 */
export function banner(name, text, actions = [], kind = "warn") {
  const old = banners.querySelector(`[data-name="${name}"]`);
  if (!text) return old?.remove();
  if (old?.dataset.text === text && old.dataset.actions === actions.map(({ label }) => label).join()) return undefined;
  const buttons = actions.map(({ label, act, primary }) => el(primary ? "button.primary" : "button", { type: "button", onclick: act }, label));
  const node = el(`div.banner.${kind}`, { role: "alert", "data-name": name, "data-text": text, "data-actions": actions.map(({ label }) => label).join() }, el("span", {}, text), ...buttons);
  if (old) old.replaceWith(node);
  else banners.append(node);
  return undefined;
}

export function clearBanners() {
  fill(banners);
}
