/** Words of the server for roles, priorities, stages and verdicts, as the page says them. */

import { t } from "./texts.js";

export const ROLE_WORDS = { annotator: t("annotator"), reviewer: t("reviewer"), admin: t("admin") };
export const PRIORITY_WORDS = { urgent: t("urgent"), high: t("high"), normal: t("normal"), low: t("low") };
export const STAGE_WORDS = { "assisted-manual": t("assisted manual"), "semi-automatic": t("semi-automatic"), "fully-automatic": t("fully automatic"), imported: t("imported") };
/** What a person made of an image. */
export const OUTCOME_WORDS = { annotated: t("annotated"), returned: t("returned"), skipped: t("skipped"), unusable: t("cannot be used") };
/** What was said of a mask, an image or a model. */
export const VERDICT_WORDS = { accepted: t("accepted"), rejected: t("rejected"), submitted: t("submitted"), returned: t("returned"), reopened: t("reopened"), "taken back": t("taken back"), skipped: t("skipped"), unusable: t("cannot be used"), promoted: t("promoted") };
export const TOOL_WORDS = { point: t("Point"), box: t("Box"), brush: t("Brush"), eraser: t("Eraser"), polygon: t("Polygon"), outline: t("Corners"), select: t("Select") };
/** What made a track's mask in a frame, and whether the object is seen there. */
export const KIND_WORDS = { prompted: t("prompted"), confirmed: t("confirmed"), propagated: t("followed"), interpolated: t("interpolated"), imported: t("imported") };
export const SIGHT_WORDS = { present: t("present"), uncertain: t("uncertain"), absent: t("absent") };
/** Attributes that every project has. */
const FLAG_WORDS = { crowd: t("crowd"), difficult: t("difficult"), occluded: t("occluded"), truncated: t("truncated") };

/** An attribute as the page names it. */
export const attributeName = (name) => (Object.hasOwn(FLAG_WORDS, name) ? FLAG_WORDS[name] : name);

/** A word at the beginning of a label. */
export const asLabel = (word) => word[0].toUpperCase() + word.slice(1);
