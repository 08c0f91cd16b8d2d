/** The audit log, for admins: who did what on the server, the newest first. */

import { get } from "./api.js";
import { el } from "./dom.js";
import { notifyError } from "./notices.js";
import { showPage } from "./shell.js";
import { shownTime, t } from "./texts.js";

const PAGE = 200;

export async function openAudit(root) {
  const rows = el("tbody");
  const more = el("button", { type: "button", hidden: true, onclick: () => load().catch(notifyError) }, t("Older"));
  const head = [t("Time"), t("Person"), t("Action"), t("Of"), t("Status"), t("Address")].map((name) => el("th", { scope: "col" }, name));
  const table = el("table", {}, el("caption.visually-hidden", {}, t("Audit log")), el("thead", {}, el("tr", {}, ...head)), rows);
  let after = 0;
  const load = async () => {
    const page = await get(`audit?after=${after}&limit=${PAGE}`);
    rows.append(...page.items.map(row));
    after = page.next_after;
    more.hidden = after === null;
  };
  await load();
  showPage(root, [[t("Projects"), "#/"]], t("Audit log"), el("div.head", {}, el("h1", {}, t("Audit log"))), el("div.table-card", {}, el("div.table-scroll", { tabindex: "0", role: "region", "aria-label": t("Audit log") }, table)), el("p.row", {}, more));
  return {};
}

function row({ at, user_name: name, token_name: token, action, target, status, address }) {
  const cells = [shownTime(at), token ? t("{name}, by token {token}", { name, token }) : (name ?? t("nobody")), action.replaceAll("_", " "), target, String(status), address];
  return el("tr", { class: status >= 400 ? "refused" : null }, ...cells.map((text) => el("td", {}, text)));
}
