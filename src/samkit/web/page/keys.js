/**
 * The key table, from which the help sheet and the buttons' labels are also made. Keys are named by
 * the character they type, so that layouts other than English work; digits by their position, since
 * Shift changes their character, and so are letters of other scripts, which have no Latin key.
 *
 * @typedef {{action: string, keys: string[], group: string, text: string}} Binding
 */

import { t } from "./texts.js";

/** @type {Binding[]} */
export const STUDIO_KEYS = [
  binding("tool:point", ["q"], t("Tools"), t("Point: click an object, or drag a box around it")),
  binding("tool:box", ["w"], t("Tools"), t("Box")),
  binding("tool:brush", ["b"], t("Tools"), t("Brush")),
  binding("tool:eraser", ["e"], t("Tools"), t("Eraser")),
  binding("tool:polygon", ["p"], t("Tools"), t("Polygon; Enter closes it")),
  binding("tool:outline", ["Shift+p"], t("Tools"), t("Corners: drag the outline, click it to add a corner, right-click one to remove it; [ and ] for more or fewer")),
  binding("tool:select", ["v"], t("Tools"), t("Select a saved mask to correct it")),
  binding("background", ["x"], t("Tools"), t("Background mode: clicks mark what is not part of the mask")),
  binding("radius-", ["["], t("Tools"), t("Smaller brush")),
  binding("radius+", ["]"], t("Tools"), t("Larger brush")),
  binding("candidate:0", ["1"], t("Mask"), t("First candidate")),
  binding("candidate:1", ["2"], t("Mask"), t("Second candidate")),
  binding("candidate:2", ["3"], t("Mask"), t("Third candidate")),
  binding("candidate:next", ["Tab"], t("Mask"), t("Next candidate")),
  binding("accept", ["Enter", "Space"], t("Mask"), t("Accept the mask")),
  binding("cancel", ["Escape"], t("Mask"), t("Cancel the mask, or deselect it")),
  binding("undo", ["Ctrl+z"], t("Mask"), t("Undo: clicks and strokes first, then saved masks")),
  binding("redo", ["Ctrl+Shift+z", "Ctrl+y"], t("Mask"), t("Redo")),
  binding("delete", ["Delete", "Backspace"], t("Mask"), t("Delete the selected mask")),
  binding("class:choose", ["c"], t("Class"), t("Choose a class, or look for one")),
  binding("class:n", digits("Shift"), t("Class"), t("Class by its number")),
  binding("attributes", ["a"], t("Class"), t("Enter the attributes of the mask, or the image's tags")),
  binding("attribute:n", digits("Alt"), t("Class"), t("Attribute by its number: turn it over, its next choice, or its field")),
  binding("tag:n", digits("Alt+Shift"), t("Class"), t("Tag of the image by its number")),
  binding("mask:next", ["n"], t("Masks"), t("Select the next mask")),
  binding("mask:previous", ["Shift+n"], t("Masks"), t("Select the previous mask")),
  binding("mask:pick", ["s"], t("Masks"), t("Select the mask under the pointer")),
  binding("mask:visible", ["i"], t("Masks"), t("Show or hide the selected mask")),
  binding("masks:visible", ["h"], t("Masks"), t("Show or hide all masks")),
  binding("opacity-", ["o"], t("Masks"), t("More transparent masks")),
  binding("opacity+", ["Shift+o"], t("Masks"), t("Less transparent masks")),
  binding("fit", ["g"], t("Shapes"), t("New masks may overlap, or go under or over the others without overlap")),
  binding("snap", ["Shift+g"], t("Shapes"), t("What is drawn snaps to the borders of other masks, without gap or overlap")),
  binding("shape:merge", ["j"], t("Shapes"), t("Merge the selected mask with another one")),
  binding("shape:subtract", ["l"], t("Shapes"), t("Take another mask away from the selected one")),
  binding("shape:over", ["Shift+f"], t("Shapes"), t("Put the selected mask over the others: they lose what it has")),
  binding("shape:under", ["Shift+b"], t("Shapes"), t("Put the selected mask under the others: it loses what they have")),
  binding("shape:split", ["u"], t("Shapes"), t("Split the selected mask into its parts")),
  binding("shape:line", ["Shift+u"], t("Shapes"), t("Split the selected mask by a line drawn across it")),
  binding("shape:clean", ["r"], t("Shapes"), t("Clean up: holes, islands, edges, small masks")),
  binding("proposals", ["Shift+a"], t("Proposals"), t("Masks of everything, to accept, correct or reject one by one")),
  binding("proposals:alike", ["Shift+l"], t("Proposals"), t("What looks like the selected mask, the most alike first")),
  binding("proposals:words", ["Shift+w"], t("Proposals"), t("What words name, on servers with a text model")),
  binding("proposal:all", ["Shift+e"], t("Proposals"), t("Accept all proposals that are shown, as one step")),
  binding("proposal:correct", ["Shift+Enter"], t("Proposals"), t("Accept the proposal and correct it; Enter accepts, Delete rejects, N skips, Esc ends")),
  binding("submit", ["Ctrl+Enter"], t("Image"), t("Submit the image and open the next")),
  binding("image:next", ["PageDown", "."], t("Image"), t("Open the next image")),
  binding("image:previous", ["PageUp", ","], t("Image"), t("Open the previous image")),
  binding("image:find", ["/", "y"], t("Image"), t("Go to an image by number or name")),
  binding("comment", ["Shift+c"], t("Image"), t("Comment on the selected mask, or on the place under the pointer")),
  binding("skip", ["k"], t("Image"), t("Skip the image, or report that it cannot be used")),
  binding("looks", ["Shift+v"], t("View"), t("Brightness, contrast, channels, window, overview, rulers")),
  binding("zoom+", ["+", "="], t("View"), t("Zoom in")),
  binding("zoom-", ["-"], t("View"), t("Zoom out")),
  binding("view:fit", ["0"], t("View"), t("Whole image")),
  binding("full", ["z"], t("View"), t("Actual size (100%)")),
  binding("panel", ["m"], t("View"), t("Show or hide the side panel")),
  binding("strip", ["Shift+m"], t("View"), t("Show or hide the strip of images")),
  binding("move", ["Arrows", "Shift+Arrows"], t("Without a mouse"), t("Move the crosshair, with Shift pixel by pixel")),
  binding("press", ["f"], t("Without a mouse"), t("Click at the crosshair; with box, brush and eraser, start and end a stroke")),
  binding("press:background", ["d"], t("Without a mouse"), t("Background click at the crosshair")),
  binding("decoder", ["Shift+d"], t("Page"), t("Where clicks are decoded")),
  binding("theme", ["t"], t("Page"), t("Dark or light theme")),
  binding("help", ["?"], t("Page"), t("Show these keys")),
];

/** @type {Binding[]} */
export const REVIEW_KEYS = [
  binding("accept", ["a", "Enter"], t("Review"), t("Accept the image")),
  binding("return", ["r"], t("Review"), t("Return it with a comment")),
  binding("fix", ["f"], t("Review"), t("Fix it yourself in the studio")),
  binding("mask:accepted", ["1"], t("Masks"), t("Accept the mask under the pointer, or take that back")),
  binding("mask:rejected", ["2"], t("Masks"), t("Reject the mask under the pointer, or take that back")),
  binding("comment", ["c"], t("Review"), t("Comment on the mask or place under the pointer")),
  binding("next", ["j", "ArrowRight"], t("Review"), t("Next image")),
  binding("previous", ["k", "ArrowLeft"], t("Review"), t("Previous image")),
  binding("masks:visible", ["h"], t("View"), t("Show or hide all masks")),
  binding("opacity-", ["o"], t("View"), t("More transparent masks")),
  binding("opacity+", ["Shift+o"], t("View"), t("Less transparent masks")),
  binding("zoom+", ["+", "="], t("View"), t("Zoom in")),
  binding("zoom-", ["-"], t("View"), t("Zoom out")),
  binding("fit", ["0"], t("View"), t("Whole image")),
  binding("full", ["z"], t("View"), t("Actual size (100%)")),
  binding("panel", ["m"], t("View"), t("Show or hide the side panel")),
  binding("theme", ["t"], t("Page"), t("Dark or light theme")),
  binding("help", ["?"], t("Page"), t("Show these keys")),
];

/** @type {Binding[]} */
export const VIDEO_KEYS = [
  binding("play", ["Space"], t("Frames"), t("Play or pause")),
  binding("frame:next", ["ArrowRight", "."], t("Frames"), t("Next frame")),
  binding("frame:previous", ["ArrowLeft", ","], t("Frames"), t("Previous frame")),
  binding("frame:forward", ["Shift+ArrowRight", "PageDown"], t("Frames"), t("Ten frames on")),
  binding("frame:back", ["Shift+ArrowLeft", "PageUp"], t("Frames"), t("Ten frames back")),
  binding("frame:first", ["Home"], t("Frames"), t("First frame")),
  binding("frame:last", ["End"], t("Frames"), t("Last frame")),
  binding("key:next", ["]"], t("Frames"), t("Next keyframe of the track")),
  binding("key:previous", ["["], t("Frames"), t("Previous keyframe of the track")),
  binding("lost:next", ["l"], t("Frames"), t("Next place where a track is lost or uncertain")),
  binding("lost:previous", ["Shift+l"], t("Frames"), t("Previous such place")),
  binding("follow:forward", ["f"], t("Following"), t("Follow the tracks forward from this frame")),
  binding("follow:back", ["Shift+f"], t("Following"), t("Follow them back")),
  binding("follow:stop", ["s", "Escape"], t("Following"), t("Stop following; what is stored stays")),
  binding("interpolate", ["i"], t("Following"), t("Fill the frames between the two keyframes around this frame")),
  binding("interpolate:box", ["Shift+i"], t("Following"), t("Fill them with boxes that move in a straight line")),
  binding("tool:point", ["q"], t("Prompts"), t("Point: click the object, or drag a box around it")),
  binding("tool:box", ["w"], t("Prompts"), t("Box")),
  binding("tool:brush", ["b"], t("Prompts"), t("Brush: paint onto the mask of this frame")),
  binding("tool:eraser", ["e"], t("Prompts"), t("Eraser")),
  binding("radius-", ["{"], t("Prompts"), t("Smaller brush; or Alt and the wheel")),
  binding("radius+", ["}"], t("Prompts"), t("Larger brush")),
  binding("background", ["x"], t("Prompts"), t("Background mode: clicks mark what is not part of the object")),
  binding("undo", ["Ctrl+z"], t("Prompts"), t("Undo the last prompt, stroke, absence or clearing")),
  binding("frame:confirm", ["Enter"], t("Frame of the track"), t("The mask, or that it is absent, is right here")),
  binding("frame:absent", ["a"], t("Frame of the track"), t("It is not seen in this frame")),
  binding("frames:absent", ["Shift+a"], t("Frame of the track"), t("It is not seen from here to its next keyframe")),
  binding("frame:clear", ["Delete", "Backspace"], t("Frame of the track"), t("Clear this frame: the mask before the prompts is back")),
  binding("track:new", ["t"], t("Tracks"), t("New track")),
  binding("track:next", ["n", "ArrowDown"], t("Tracks"), t("Next track")),
  binding("track:previous", ["Shift+n", "ArrowUp"], t("Tracks"), t("Previous track")),
  binding("track:n", ["1", "2", "3", "4", "5", "6", "7", "8", "9"], t("Tracks"), t("Track by its place in the list")),
  binding("class:choose", ["c"], t("Tracks"), t("Choose the track's class, or look for one")),
  binding("class:n", digits("Shift"), t("Tracks"), t("Class by its number")),
  binding("track:split", ["u"], t("Tracks"), t("Split: from this frame on, it is another track")),
  binding("track:delete", ["Shift+Delete"], t("Tracks"), t("Delete the track")),
  binding("submit", ["Ctrl+Enter"], t("Review"), t("Submit the video; reviewers: accept it")),
  binding("review:return", ["r"], t("Review"), t("Return it with a comment")),
  binding("review:fix", ["Shift+r"], t("Review"), t("Correct it yourself")),
  binding("zoom+", ["+", "="], t("View"), t("Zoom in")),
  binding("zoom-", ["-"], t("View"), t("Zoom out")),
  binding("view:fit", ["0"], t("View"), t("Whole frame")),
  binding("panel", ["m"], t("View"), t("Show or hide the side panel")),
  binding("theme", ["Shift+t"], t("Page"), t("Dark or light theme")),
  binding("help", ["?"], t("Page"), t("Show these keys")),
];

function binding(action, keys, group, text) {
  return { action, keys, group, text };
}

const USUAL = new Map(STUDIO_KEYS.map(({ action, keys }) => [action, keys]));

/** Whether a person may choose another first key for an action: not for rows of keys. */
export const canChange = ({ action }) => !action.endsWith(":n") && action !== "move";

/** Use a person's own keys in the studio. @param {Record<string, string>} own by action */
export function useKeys(own) {
  for (const one of STUDIO_KEYS) {
    const usual = USUAL.get(one.action);
    const isOwn = typeof own[one.action] === "string" && canChange(one);
    one.keys = isOwn ? [own[one.action], ...usual.slice(1)] : usual;
  }
}

/** Keys of the digits from 1 to 9. */
function digits(held) {
  return [1, 2, 3, 4, 5, 6, 7, 8, 9].map((digit) => `${held}+${digit}`);
}

/** How a key press is named in the table, such as "Ctrl+Shift+z". */
export function nameOf(event) {
  const { key, code, metaKey, shiftKey } = event;
  // AltGr, by which some layouts give "[", counts as Ctrl and Alt on some systems.
  const graph = event.getModifierState?.("AltGraph") === true;
  const [ctrlKey, altKey] = [event.ctrlKey && !graph, event.altKey && !graph];
  const digit = graph ? undefined : /^(?:Digit|Numpad)([0-9])$/.exec(code ?? "")?.[1];
  const isForeign = /^\p{L}$/u.test(key) && !/^\p{Script=Latin}$/u.test(key);
  const letter = isForeign ? /^Key([A-Z])$/.exec(code ?? "")?.[1].toLowerCase() : undefined;
  const plain = key === " " ? "Space" : (letter ?? digit ?? (key.length === 1 ? key.toLowerCase() : key));
  // Shift is part of how "?" or "+" are typed, but a choice with letters, digits and named keys.
  const shifted = shiftKey && (digit || plain.length > 1 || /\p{L}/u.test(plain));
  return [(ctrlKey || metaKey) && "Ctrl", altKey && "Alt", shifted && "Shift", plain].filter(Boolean).join("+");
}

/**
 * @param {Binding[]} bindings @param {KeyboardEvent} event
 * @returns {{action: string, index: number, key: string} | null} index: which of the action's keys
 */
export function actionOf(bindings, event) {
  const name = nameOf(event);
  const arrow = /^(Shift\+)?Arrow(Up|Down|Left|Right)$/.exec(name);
  for (const { action, keys } of bindings) {
    const index = keys.indexOf(name);
    if (index >= 0) return { action, index, key: name };
    if (arrow && keys.includes(`${arrow[1] ?? ""}Arrows`)) return { action, index: 0, key: name };
  }
  return null;
}

/** The binding that a key belongs to. @returns {Binding | undefined} */
export function bindingOf(bindings, key) {
  const group = key.replace(/Arrow(Up|Down|Left|Right)$/, "Arrows");
  return bindings.find(({ keys }) => keys.includes(key) || keys.includes(group));
}

/** A key as labels show it. */
export function shownKey(key) {
  const parts = key.split(/\+(?=.)/);
  return parts.map((part) => (part.length === 1 ? part.toUpperCase() : part === "Shift" ? "⇧" : part)).join(" ");
}

/** The first key of an action, for labels. */
export function keyFor(bindings, action) {
  return bindings.find((one) => one.action === action)?.keys[0] ?? "";
}
