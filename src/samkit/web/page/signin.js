/** The sign-in form, as a page of its own or above another one. */

import { signIn } from "./api.js";
import { el, field, openDialog } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @param {Element | null} root where to; null for a dialog that stays until somebody has signed in
 * @returns {Promise<void>} when somebody has signed in
 */
export function askToSignIn(root, message = "") {
  return new Promise((resolve) => {
    const name = el("input", { name: "name", autocomplete: "username", required: true, maxlength: "100", autofocus: true });
    const password = el("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
    const failure = el("p.failure", { role: "alert" });
    const button = el("button.primary", { type: "submit" }, "Sign in");
    let dialog = null;
    const form = el("form.sign-in", {}, message && el("p.quiet", {}, message), field("Name", name), field("Password", password), failure, button);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      failure.textContent = "";
      try {
        await signIn({ name: name.value, password: password.value });
        dialog?.close();
        resolve();
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
      dialog = openDialog("Sign in", form);
      dialog.addEventListener("cancel", (event) => event.preventDefault());
    }
  });
}
