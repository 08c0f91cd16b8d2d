/** Webhooks of a project, for admins: addresses that are told of its events, and whether it arrived. */

import { get, getItems, patch, post, remove } from "./api.js";
import { confirmDialog, dataTable, el, field, fill, formDialog, openDialog, tableOf } from "./dom.js";
import { icon } from "./icons.js";
import { notify, notifyError } from "./notices.js";
import { shownTime, t } from "./texts.js";

const EVENTS = [["image.submitted", t("Image submitted")], ["image.accepted", t("Image accepted")], ["image.returned", t("Image returned")], ["image.skipped", t("Image skipped")], ["image.unusable", t("Image reported as unusable")], ["image.reopened", t("Image reopened")], ["video.submitted", t("Video submitted")], ["video.accepted", t("Video accepted")], ["video.returned", t("Video returned")], ["comment.added", t("Comment")], ["model.learned", t("Model learned")]];

/** @param {{id: number}} project */
export async function webhooks(project) {
  const path = `projects/${project.id}/webhooks`;
  const element = el("section.table-card");
  const draw = async () => fill(element, ...contents(await getItems(path), path, change));
  const change = async (act, done) => {
    try {
      await act();
      if (done) notify(done, "good");
    } catch (error) {
      notifyError(error);
    }
    await draw().catch(notifyError);
  };
  await draw();
  return element;
}

function contents(hooks, path, change) {
  const add = el("button", { type: "button", "data-key": "add-webhook", onclick: () => askForWebhook(path, change) }, icon("plus"), t("Add"));
  const rows = hooks.map((hook) => {
    const button = (text, act) => el("button", { type: "button", "data-key": `${text}-${hook.id}`, "aria-label": `${text} ${hook.url}`, onclick: act }, text);
    const drop = async () => (await confirmDialog(t("Delete the webhook?"), t("What waits for it is not sent."), t("Delete"))) && change(() => remove(`webhooks/${hook.id}`));
    const buttons = [
      button(t("Test"), () => change(() => post(`webhooks/${hook.id}/test`), t("A test is sent within some seconds."))),
      button(t("Deliveries"), () => showDeliveries(hook).catch(notifyError)),
      button(hook.active ? t("Pause") : t("Resume"), () => change(() => patch(`webhooks/${hook.id}`, { active: !hook.active }))),
      button(t("Delete"), drop),
    ];
    return el("tr", {}, el("td", {}, hook.url), el("td", {}, hook.events.join(", ")), el("td", {}, hook.active ? t("active") : t("paused")), el("td", {}, el("span.row.end", {}, ...buttons)));
  });
  const none = el("p.quiet", {}, t("None. An address of another program can be told when images are submitted, returned or accepted, of comments, and of models that have learned."));
  return [el("h2.row", {}, t("Webhooks"), el("span.grow"), add), rows.length ? dataTable(t("Webhooks"), [t("Address"), t("Events"), t("State"), ""], rows) : none];
}

function askForWebhook(path, change) {
  const url = el("input", { type: "url", required: true, maxlength: "2000", placeholder: "https://" });
  const boxes = EVENTS.map(([value, text]) => el("label.check", {}, el("input", { type: "checkbox", value, checked: true }), text));
  const list = el("fieldset", {}, el("legend", {}, t("Events")), el("div.choices", {}, ...boxes));
  formDialog(t("Add webhook"), [field(t("Address"), url), list], t("Add"), async () => {
    const events = [...list.querySelectorAll(":checked")].map(({ value }) => value);
    if (!events.length) throw new Error(t("Choose at least one event."));
    const { secret } = await post(path, { url: url.value, events });
    openDialog(t("Secret of the webhook"), el("div.stack", {}, el("p", {}, t("The receiver checks signatures with it (Standard Webhooks). Copy it now, it is not shown again:")), el("code.secret", {}, secret)));
    await change(() => Promise.resolve(), t("Webhook added."));
  });
}

async function showDeliveries({ id, url }) {
  const { items } = await get(`webhooks/${id}/deliveries?limit=50`);
  const rows = items.map((one) => [shownTime(one.created_at), one.event, one.delivered_at ? t("arrived {time}", { time: shownTime(one.delivered_at) }) : one.next_try_at ? t("next try {time}", { time: shownTime(one.next_try_at) }) : t("given up"), one.attempts, one.error]);
  openDialog(url, rows.length ? tableOf(t("Deliveries"), [t("Time"), t("Event"), t("State"), t("Tries"), t("Why not")], rows) : el("p.quiet", {}, t("Nothing was sent yet.")));
}
