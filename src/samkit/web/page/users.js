/** The page of users and their roles, for admins. */

import { listAll, patch, post, signedIn } from "./api.js";
import { el, field, openDialog, select } from "./dom.js";
import { icon } from "./icons.js";
import { notify, notifyError } from "./notices.js";
import { showPage } from "./shell.js";

const ROLES = [["annotator", "Annotator"], ["reviewer", "Reviewer"], ["admin", "Admin"]];

export async function openUsers(root, _params, app) {
  const users = await listAll("users");
  const head = ["Name", "Role", "State", "Since", ""].map((name) => el("th", { scope: "col" }, name));
  const table = el("table", {}, el("caption.visually-hidden", {}, "People"), el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...users.map((user) => row(user, app.reload))));
  const add = el("button.primary", { type: "button", onclick: () => addPerson(app.reload) }, icon("plus"), "Add person");
  showPage(root, [["Projects", "#/"]], "People", el("div.head", {}, el("h1", {}, "People"), el("span.grow"), el("a.button", { href: "#/audit" }, icon("clock"), "Audit log"), add), el("div.table-card", {}, el("div.table-scroll", { tabindex: "0", role: "region", "aria-label": "People" }, table)));
  return {};
}

function row(user, reload) {
  const own = user.id === signedIn.user.id;
  const change = async (values) => {
    try {
      await patch(`users/${user.id}`, values);
      notify(`${user.name} is changed.`, "good");
    } catch (error) {
      notifyError(error);
    }
    reload();
  };
  const role = select(ROLES, user.role, { "aria-label": `Role of ${user.name}`, disabled: own, onchange: () => change({ role: role.value }) });
  const active = el("button", { type: "button", disabled: own, onclick: () => change({ active: !user.active }) }, user.active ? "Deactivate" : "Activate");
  const password = el("button", { type: "button", onclick: () => setPassword(user) }, "Set password");
  return el(
    "tr",
    {},
    el("td", {}, user.name, own && el("span.quiet", {}, " (you)")),
    el("td", {}, role),
    el("td", {}, el(`span.badge.${user.active ? "accepted" : "none"}`, {}, user.active ? "active" : "inactive")),
    el("td.quiet", {}, user.created_at.slice(0, 10)),
    el("td", {}, el("span.row.end", {}, password, active)),
  );
}

function addPerson(reload) {
  const name = el("input", { required: true, maxlength: "100" });
  const role = select(ROLES, "annotator");
  const password = el("input", { type: "password", required: true, minlength: "8", autocomplete: "new-password" });
  formDialog("Add person", [field("Name", name), field("Role", role), field("Password", password, "At least 8 characters")], "Add", async () => {
    await post("users", { name: name.value, role: role.value, password: password.value });
    reload();
  });
}

function setPassword(user) {
  const password = el("input", { type: "password", required: true, minlength: "8", autocomplete: "new-password" });
  formDialog(`Password of ${user.name}`, [field("New password", password, "At least 8 characters; they will be signed out")], "Set", async () => {
    await patch(`users/${user.id}`, { password: password.value });
    notify("Password set.", "good");
  });
}

function formDialog(title, fields, yes, act) {
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
