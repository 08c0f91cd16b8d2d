/** Header of all pages but the studio: name, breadcrumbs, signed-in user. */

import { isAdmin, post, signedIn, signOut } from "./api.js";
import { el, field, fill, openDialog } from "./dom.js";
import { icon } from "./icons.js";
import { languageButton } from "./language.js";
import { notify, notifyError, startNotices } from "./notices.js";
import { news, refreshWork, returned } from "./own_work.js";
import { t, tn } from "./texts.js";
import { themeButton } from "./theme.js";
import { openTokens } from "./tokens.js";
import { ROLE_WORDS } from "./words.js";

/** How many images were returned to whoever is signed in, with the way to them. */
const returnedLink = el("a.button.returned-link", { hidden: true });
news.addEventListener("changed", () => {
  const { count, projectId } = returned();
  returnedLink.hidden = count === 0;
  returnedLink.setAttribute("href", `#/project/${projectId}`);
  fill(returnedLink, icon("undo"), tn("{n} image returned to you", "{n} images returned to you", count));
});

/**
 * @param {{replaceChildren: (...nodes: Node[]) => void}} root where the page is shown
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
    el("a.brand", { href: "#/", "aria-label": t("samkit: all projects") }, icon("samkit"), el("span", {}, "samkit")),
    el("nav", { "aria-label": t("Way") }, el("ol.crumbs", {}, ...crumbs, el("li", { "aria-current": "page" }, title))),
    el("span.grow"),
    returnedLink,
    isAdmin() && !signedIn.local && el("a.icon", { href: "#/users", title: t("People"), "aria-label": t("People") }, icon("people")),
    languageButton(),
    themeButton(),
    userMenu(),
  );
  refreshWork();
  root.replaceChildren(el("div.page", {}, header, startNotices(), el("main.content", {}, ...content)));
}

function userMenu() {
  const { user, local } = signedIn;
  const name = el("span.user", { title: ROLE_WORDS[user.role] }, user.name);
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
    el("button.plain.user", { type: "button", title: t("{role}: password and API tokens", { role: ROLE_WORDS[user.role] }), onclick: changePassword }, user.name),
    el("button.icon", { type: "button", title: t("Sign out"), "aria-label": t("Sign out"), onclick: leave }, icon("door")),
  );
}

function changePassword() {
  const old = el("input", { type: "password", autocomplete: "current-password", required: true });
  const fresh = el("input", { type: "password", autocomplete: "new-password", required: true, minlength: "8" });
  const failure = el("p.failure", { role: "alert" });
  const tokens = el("button", { type: "button", onclick: () => openTokens() }, t("API tokens…"));
  const form = el("form", {}, field(t("Old password"), old), field(t("New password"), fresh, t("At least 8 characters")), failure, el("footer", {}, tokens, el("span.grow"), el("button.primary", { type: "submit" }, t("Change password"))));
  const dialog = openDialog(signedIn.user.name, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await post("session/password", { old: old.value, new: fresh.value });
      dialog.close();
      notify(t("Password changed."), "good");
    } catch (error) {
      failure.textContent = error.message;
    }
  });
}
