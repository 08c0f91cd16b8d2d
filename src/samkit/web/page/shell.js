/** Header of all pages but the studio: name, breadcrumbs, signed-in user. */

import { isAdmin, post, signedIn, signOut } from "./api.js";
import { el, field, openDialog } from "./dom.js";
import { icon } from "./icons.js";
import { notify, notifyError, startNotices } from "./notices.js";
import { themeButton } from "./theme.js";

/**
 * @param {Element} root
 * @param {[string, string][]} way names and addresses above this page
 * @param {string} title
 * @param {...Node} content
 */
export function showPage(root, way, title, ...content) {
  document.title = `${title} · samkit`;
  const crumbs = way.map(([text, href]) => el("li", {}, el("a", { href }, text)));
  const header = el(
    "header.bar",
    {},
    el("a.brand", { href: "#/", "aria-label": "samkit: all projects" }, icon("samkit"), el("span", {}, "samkit")),
    el("nav", { "aria-label": "Way" }, el("ol.crumbs", {}, ...crumbs, el("li", { "aria-current": "page" }, title))),
    el("span.grow"),
    isAdmin() && !signedIn.local && el("a.icon", { href: "#/users", title: "People", "aria-label": "People" }, icon("people")),
    themeButton(),
    userMenu(),
  );
  root.replaceChildren(el("div.page", {}, header, startNotices(), el("main.content", {}, ...content)));
}

function userMenu() {
  const { user, local } = signedIn;
  const name = el("span.user", { title: user.role }, user.name);
  if (local) return name;
  const leave = async () => {
    try {
      await signOut();
      location.reload();
    } catch (error) {
      notifyError(error);
    }
  };
  return el(
    "span.row",
    {},
    el("button.plain.user", { type: "button", title: `${user.role}: change the password`, onclick: changePassword }, user.name),
    el("button.icon", { type: "button", title: "Sign out", "aria-label": "Sign out", onclick: leave }, icon("door")),
  );
}

function changePassword() {
  const old = el("input", { type: "password", autocomplete: "current-password", required: true });
  const fresh = el("input", { type: "password", autocomplete: "new-password", required: true, minlength: "8" });
  const failure = el("p.failure", { role: "alert" });
  const form = el("form", {}, field("Old password", old), field("New password", fresh, "At least 8 characters"), failure, el("footer", {}, el("button.primary", { type: "submit" }, "Change")));
  const dialog = openDialog("Change password", form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await post("session/password", { old: old.value, new: fresh.value });
      dialog.close();
      notify("Password changed.", "good");
    } catch (error) {
      failure.textContent = error.message;
    }
  });
}
