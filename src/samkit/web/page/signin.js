/** The sign-in form, as a page or as a dialog above another page. */

import { get, loadSignIn, signIn, signedIn } from "./api.js";
import { el, field, openDialog } from "./dom.js";
import { icon } from "./icons.js";
import { languageField } from "./language.js";
import { t } from "./texts.js";

/** What to say when the provider of single sign-on has sent somebody back. */
export const SIGN_ON_WORDS = {
  refused: t("The provider did not sign you in."),
  ended: t("That sign-in took too long, or began in another window. Try again."),
  unreachable: t("The provider cannot be reached now. Try again later."),
  taken: t("Somebody here has your name already. Ask an admin to link the two."),
  role: t("You have no role here, or are not active. Ask an admin."),
  failed: t("The sign-in failed; the server's log says why. Ask an admin."),
};

/**
 * @param {Element | null} root where to; null for a dialog that stays until somebody has signed in
 * @returns {Promise<boolean>} whether somebody has signed in, when they have or the dialog is closed
 */
export function askToSignIn(root, message = "") {
  return new Promise((resolve) => {
    const name = el("input", { name: "name", autocomplete: "username", required: true, maxlength: "100", autofocus: true });
    const password = el("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
    const failure = el("p.failure", { role: "alert" });
    const button = el("button.primary", { type: "submit" }, signedIn.local ? t("Continue") : t("Sign in"));
    let dialog = null;
    // A server for one person only takes the token in its address, from any tab.
    const fields = signedIn.local ? [el("p", {}, t("Open the address that samkit printed in another tab of this browser. Then continue here."))] : [field(t("Name"), name), field(t("Password"), password)];
    const form = el("form.sign-in", {}, message && el("p.quiet", {}, message), ...fields, failure, button);
    showProvider(form).catch(() => {}); // a password will do
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      failure.textContent = "";
      try {
        await (signedIn.local ? loadSignIn() : signIn({ name: name.value, password: password.value }));
        resolve(true);
        dialog?.close();
      } catch (error) {
        failure.textContent = error.message;
        password.value = "";
        password.focus();
      } finally {
        button.disabled = false;
      }
    });
    if (root) {
      root.replaceChildren(el("main.door", {}, el("h1", {}, icon("samkit"), "samkit"), form, languageField()));
      name.focus();
    } else {
      dialog = openDialog(t("Sign in"), form, { onclose: () => resolve(false) });
      dialog.addEventListener("cancel", (event) => event.preventDefault());
    }
  });
}

/** Offer single sign-on, where the server has it. */
async function showProvider(form) {
  const { provider } = await get("session/methods");
  if (provider) form.append(el("p.or", {}, t("or")), el("a.button", { href: "/api/session/oidc" }, t("Sign in with {provider}", { provider })));
}
