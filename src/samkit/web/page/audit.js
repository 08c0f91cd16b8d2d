/** The audit log, for admins: who did what on the server, the newest first. */

import { get } from "./api.js";
import { el, shownTime } from "./dom.js";
import { notifyError } from "./notices.js";
import { showPage } from "./shell.js";

const PAGE = 200;

export async function openAudit(root) {
  const rows = el("tbody");
  const more = el("button", { type: "button", hidden: true, onclick: () => load().catch(notifyError) }, "Older");
  const head = ["Time", "Person", "Action", "Of", "Answer", "Address"].map((name) => el("th", { scope: "col" }, name));
  const table = el("table", {}, el("caption.visually-hidden", {}, "Audit log"), el("thead", {}, el("tr", {}, ...head)), rows);
  let after = 0;
  const load = async () => {
    const page = await get(`audit?after=${after}&limit=${PAGE}`);
    rows.append(...page.items.map(row));
    after = page.next_after;
    more.hidden = after === null;
  };
  await load();
  showPage(root, [["Projects", "#/"]], "Audit log", el("div.head", {}, el("h1", {}, "Audit log")), el("div.table-card", {}, el("div.table-scroll", { tabindex: "0", role: "region", "aria-label": "Audit log" }, table)), el("p.row", {}, more));
  return {};
}

function row({ at, user_name: name, action, target, status, address }) {
  const cells = [shownTime(at), name ?? "nobody", action.replaceAll("_", " "), target, String(status), address];
  return el("tr", { class: status >= 400 ? "refused" : null }, ...cells.map((text) => el("td", {}, text)));
}
