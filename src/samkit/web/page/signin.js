/** The sign-in form, as a page or as a dialog above another page. */

import { loadSignIn, signIn, signedIn } from "./api.js";
import { el, field, openDialog } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @param {Element | null} root where to; null for a dialog that stays until somebody has signed in
 * @returns {Promise<boolean>} whether somebody has signed in, when they have or the dialog is closed
 */
export function askToSignIn(root, message = "") {
  return new Promise((resolve) => {
    const name = el("input", { name: "name", autocomplete: "username", required: true, maxlength: "100", autofocus: true });
    const password = el("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
    const failure = el("p.failure", { role: "alert" });
    const button = el("button.primary", { type: "submit" }, signedIn.local ? "Continue" : "Sign in");
    let dialog = null;
    // A server for one person only takes the token in its address, from any tab.
    const fields = signedIn.local ? [el("p", {}, "Open the address that samkit printed in another tab of this browser. Then continue here.")] : [field("Name", name), field("Password", password)];
    const form = el("form.sign-in", {}, message && el("p.quiet", {}, message), ...fields, failure, button);
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
      root.replaceChildren(el("main.door", {}, el("h1", {}, icon("samkit"), "samkit"), form));
      name.focus();
    } else {
      dialog = openDialog("Sign in", form, { onclose: () => resolve(false) });
      dialog.addEventListener("cancel", (event) => event.preventDefault());
    }
  });
}
