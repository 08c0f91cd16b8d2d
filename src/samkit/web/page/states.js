/** The states of an image, in the order in which the page lists them, and their words. */

export const STATE_WORDS = {
  none: "to annotate",
  submitted: "submitted",
  returned: "returned",
  accepted: "accepted",
  skipped: "skipped",
  unusable: "cannot be used",
};

export const STATES = Object.keys(STATE_WORDS);
export const FINISHED = ["submitted", "accepted"]; // what is exported by default
const RARE = ["skipped", "unusable"];

/** The words at the beginning of a label. */
export const stateLabel = (state) => STATE_WORDS[state][0].toUpperCase() + STATE_WORDS[state].slice(1);

/** The states to list: those that most projects have, and those that this one has. */
export const statesOf = (counts) => STATES.filter((state) => !RARE.includes(state) || counts[state].num_images > 0);
