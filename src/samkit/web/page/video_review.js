/**
 * Reviews on a video's page: submitting it and taking that back, the verdicts of reviewers, who see
 * it read-only unless they correct it, and what was said before.
 */

import { ApiError, get, getItems, isReviewer, post, query, signedIn } from "./api.js";
import { confirmDialog, el, fill, formDialog } from "./dom.js";
import { VIDEO_KEYS, keyFor, shownKey } from "./keys.js";
import { banner, notify, notifyError } from "./notices.js";
import { FINISHED, STATE_WORDS } from "./states.js";
import { shownTime, t, tn } from "./texts.js";
import { KEYFRAMES } from "./video_tracks.js";
import { VERDICT_WORDS } from "./words.js";

const MAX_COMMENT = 2000; // characters
const hint = (action) => shownKey(keyFor(VIDEO_KEYS, action));

export class VideoReview {
  /** @param {import("./video.js").VideoPage} page */
  constructor(page) {
    this.page = page;
    this.isFixing = false; // a reviewer corrects what is up for review
    this.history = [];
    const button = (action, text, kind = "button") => el(kind, { type: "button", title: `${text} (${hint(action)})`, "data-key": action, onclick: () => page.act(action) }, text);
    this.badge = el("span.badge");
    this.submitButton = button("submit", t("Submit"), "button.primary");
    this.fixButton = button("review:fix", t("Fix"));
    this.verdict = el("div.workbar", { role: "group", "aria-label": t("Verdict") }, el("div.work-row", {}, button("review:return", t("Return")), this.fixButton, button("submit", t("Accept"), "button.primary")));
    this.list = el("ul.verdicts");
    this.drawn = "";
    this.element = el("section.history", {}, el("h2", {}, t("History")), this.list);
  }

  get video() {
    return this.page.state.video;
  }

  get isUp() {
    return FINISHED.includes(this.video.review);
  }

  /** Nobody may change it, but a reviewer who corrects it. */
  get isReadOnly() {
    return this.isUp && !this.isFixing;
  }

  /** Whether nobody has judged what this person has submitted. */
  get canTakeBack() {
    const last = this.history.at(-1);
    return this.video.review === "submitted" && last?.verdict === "submitted" && last.user_id === signedIn.user.id;
  }

  async load() {
    const path = `videos/${this.page.id}`;
    [this.page.state.video, this.history] = await Promise.all([get(path), getItems(`${path}/reviews`)]);
  }

  update() {
    const { review } = this.video;
    const { held } = this.page.state;
    this.badge.className = `badge ${review}`;
    this.badge.hidden = review === "none";
    this.badge.textContent = STATE_WORDS[review];
    this.submitButton.hidden = !held || this.isUp;
    this.verdict.hidden = !this.isUp || !isReviewer();
    this.fixButton.hidden = this.isFixing;
    this.showHistory();
    this.showBanner(review, held);
  }

  showHistory() {
    const drawn = JSON.stringify(this.history);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const rows = this.history.map(({ user_name: name, verdict, comment, at }) => el("li", {}, el("p", {}, el(`span.badge.${verdict.replace(" ", "-")}`, {}, VERDICT_WORDS[verdict] ?? verdict), ` ${t("by {name}, {time}", { name, time: shownTime(at) })}`), comment && el("blockquote", {}, comment)));
    fill(this.list, ...(rows.length ? rows : [el("li.empty", {}, t("Not submitted yet."))]));
  }

  showBanner(review, held) {
    if (this.canTakeBack) return banner("review", t("You have submitted this video: it waits for review."), [{ label: t("Take it back"), act: () => this.page.attempt(() => this.takeBack()) }], "info");
    if (this.isUp && !isReviewer()) return banner("review", t("This video is {state}: you can look at it.", { state: STATE_WORDS[review] }), [], "info");
    if (review !== "returned" || !held) return banner("review", null);
    const { user_name: name } = this.history.findLast(({ verdict }) => verdict === "returned") ?? {};
    return banner("review", name ? t("Returned by {name}: {comment}", { name, comment: this.video.comment }) : t("Returned: {comment}", { comment: this.video.comment }));
  }

  /** Submit the video; what is up for review is accepted. */
  async submit() {
    const { page } = this;
    if (this.isUp) return isReviewer() ? this.judge("accept", {}, t("Accepted")) : undefined;
    if (!page.state.held) return undefined;
    page.pause();
    const open = page.tracks.tracks.flatMap(({ runs }) => runs).filter(needsLook).length;
    const sure = !open || (await confirmDialog(t("Submit all the same?"), tn("{n} place where a track is lost, uncertain or out of date was not looked at. L goes to the next one.", "{n} places where a track is lost, uncertain or out of date were not looked at. L goes to the next one.", open), t("Submit")));
    if (!sure) return undefined;
    await page.tracks.saving;
    await post(`videos/${page.id}/submit?${query({ duration_ms: page.clock.lap() })}`);
    await this.changed();
    return notify(`${t("Submitted")}${t(": ")}${this.video.path}`, "good");
  }

  async takeBack() {
    await post(`videos/${this.page.id}/take_back`);
    await this.changed();
  }

  /** Correct what is up for review. */
  async fix() {
    if (!this.isReadOnly || !isReviewer()) return;
    this.isFixing = true;
    await this.page.take();
    this.isFixing = this.page.state.held;
    this.page.update();
  }

  askComment() {
    if (!this.isUp || !isReviewer()) return;
    const comment = el("textarea", { rows: "4", maxlength: String(MAX_COMMENT), required: true, autofocus: true, "aria-label": t("Comment") });
    formDialog(t("Return {path}", { path: this.video.path }), [el("p.quiet", {}, t("Whoever opens the video next sees the comment.")), comment], t("Return"), async () => {
      await this.judge("return", { comment: comment.value }, t("Returned"));
    });
  }

  async judge(verdict, body, done) {
    const { page } = this;
    try {
      await page.tracks.saving;
      // What a reviewer has corrected has another version; nobody else can have changed it.
      const { version } = this.isFixing ? await get(`videos/${page.id}`) : this.video;
      await post(`videos/${page.id}/${verdict}`, { version, ...body });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notifyError(error);
      if (error.status === 409) await Promise.all([this.changed(), page.tracks.reload()]);
      return;
    }
    page.state.held = false;
    notify(`${done}${t(": ")}${this.video.path}`, "good");
    const projectId = page.state.project.id;
    const [next] = await getItems(`projects/${projectId}/videos?review=submitted&limit=1`);
    if (next && next.id !== page.id) location.hash = `#/video/${next.id}`;
    else location.hash = `#/project/${projectId}/videos`;
  }

  /** The video has another state: take it, or let it go. */
  async changed() {
    this.isFixing = false;
    await this.load();
    await this.page.take();
  }
}

const needsLook = ({ kind, state, stale }) => stale || (!KEYFRAMES.includes(kind) && state !== "present");
