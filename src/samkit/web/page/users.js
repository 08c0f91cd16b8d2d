/** The page of users and their roles, for admins. */

import { listAll, patch, post, signedIn } from "./api.js";
import { el, field, formDialog, select } from "./dom.js";
import { icon } from "./icons.js";
import { notify, notifyError } from "./notices.js";
import { showPage } from "./shell.js";
import { t } from "./texts.js";
import { ROLE_WORDS, asLabel } from "./words.js";

const ROLES = Object.entries(ROLE_WORDS).map(([role, word]) => [role, asLabel(word)]);

export async function openUsers(root, _params, app) {
  const users = await listAll("users");
  const head = [t("Name"), t("Role"), t("State"), t("Since"), ""].map((name) => el("th", { scope: "col" }, name));
  const table = el("table", {}, el("caption.visually-hidden", {}, t("People")), el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...users.map((user) => row(user, app.reload))));
  const add = el("button.primary", { type: "button", onclick: () => addPerson(app.reload) }, icon("plus"), t("Add person"));
  showPage(root, [[t("Projects"), "#/"]], t("People"), el("div.head", {}, el("h1", {}, t("People")), el("span.grow"), el("a.button", { href: "#/audit" }, icon("clock"), t("Audit log")), add), el("div.table-card", {}, el("div.table-scroll", { tabindex: "0", role: "region", "aria-label": t("People") }, table)));
  return {};
}

function row(user, reload) {
  const own = user.id === signedIn.user.id;
  const change = async (values) => {
    try {
      await patch(`users/${user.id}`, values);
      notify(t("{name} is changed.", { name: user.name }), "good");
    } catch (error) {
      notifyError(error);
    }
    reload();
  };
  const role = select(ROLES, user.role, { "aria-label": t("Role of {name}", { name: user.name }), disabled: own, onchange: () => change({ role: role.value }) });
  const active = el("button", { type: "button", disabled: own, onclick: () => change({ active: !user.active }) }, user.active ? t("Deactivate") : t("Activate"));
  const password = el("button", { type: "button", onclick: () => setPassword(user) }, t("Set password"));
  return el(
    "tr",
    {},
    el("td", {}, user.name, own && el("span.quiet", {}, ` ${t("(you)")}`)),
    el("td", {}, role),
    el("td", {}, el(`span.badge.${user.active ? "accepted" : "none"}`, {}, user.active ? t("active") : t("inactive"))),
    el("td.quiet", {}, user.created_at.slice(0, 10)),
    el("td", {}, el("span.row.end", {}, password, active)),
  );
}

function addPerson(reload) {
  const name = el("input", { required: true, maxlength: "100" });
  const role = select(ROLES, "annotator");
  const password = el("input", { type: "password", required: true, minlength: "8", autocomplete: "new-password" });
  formDialog(t("Add person"), [field(t("Name"), name), field(t("Role"), role), field(t("Password"), password, t("At least 8 characters"))], t("Add"), async () => {
    await post("users", { name: name.value, role: role.value, password: password.value });
    reload();
  });
}

function setPassword(user) {
  const password = el("input", { type: "password", required: true, minlength: "8", autocomplete: "new-password" });
  formDialog(t("Password of {name}", { name: user.name }), [field(t("New password"), password, t("At least 8 characters; they will be signed out"))], t("Set"), async () => {
    await patch(`users/${user.id}`, { password: password.value });
    notify(t("Password set."), "good");
  });
}
