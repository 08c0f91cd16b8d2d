/** The states of an image, in the order in which the page lists them, and their words. */

import { t } from "./texts.js";
import { asLabel } from "./words.js";

export const STATE_WORDS = {
  none: t("to annotate"),
  submitted: t("submitted"),
  returned: t("returned"),
  accepted: t("accepted"),
  skipped: t("skipped"),
  unusable: t("cannot be used"),
};

export const STATES = Object.keys(STATE_WORDS);
export const FINISHED = ["submitted", "accepted"]; // what is exported by default
const RARE = ["skipped", "unusable"];

/** The words at the beginning of a label. */
export const stateLabel = (state) => asLabel(STATE_WORDS[state]);

/** The states to list: those that most projects have, and those that this one has. */
export const statesOf = (counts) => STATES.filter((state) => !RARE.includes(state) || counts[state].num_images > 0);
