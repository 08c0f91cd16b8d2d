/**
 * The key table, from which the help sheet and the buttons' labels are also made. Keys are named by
 * the character they type, so that layouts other than English work; digits by their position, since
 * Shift changes their character, and so are letters of other scripts, which have no Latin key.
 *
 * @typedef {{action: string, keys: string[], group: string, text: string}} Binding
 */

/** @type {Binding[]} */
export const STUDIO_KEYS = [
  binding("tool:point", ["q"], "Tools", "Point: click an object, or drag a box around it"),
  binding("tool:box", ["w"], "Tools", "Box"),
  binding("tool:brush", ["b"], "Tools", "Brush"),
  binding("tool:eraser", ["e"], "Tools", "Eraser"),
  binding("tool:polygon", ["p"], "Tools", "Polygon; Enter closes it"),
  binding("tool:select", ["v"], "Tools", "Select a saved mask to correct it"),
  binding("background", ["x"], "Tools", "Background mode: clicks mark what is not part of the mask"),
  binding("radius-", ["["], "Tools", "Smaller brush"),
  binding("radius+", ["]"], "Tools", "Larger brush"),
  binding("candidate:0", ["1"], "Mask", "First candidate"),
  binding("candidate:1", ["2"], "Mask", "Second candidate"),
  binding("candidate:2", ["3"], "Mask", "Third candidate"),
  binding("candidate:next", ["Tab"], "Mask", "Next candidate"),
  binding("accept", ["Enter", "Space"], "Mask", "Accept the mask"),
  binding("cancel", ["Escape"], "Mask", "Cancel the mask, or deselect it"),
  binding("undo", ["Ctrl+z"], "Mask", "Undo: clicks and strokes first, then saved masks"),
  binding("redo", ["Ctrl+Shift+z", "Ctrl+y"], "Mask", "Redo"),
  binding("delete", ["Delete", "Backspace"], "Mask", "Delete the selected mask"),
  binding("class:choose", ["c"], "Class", "Choose a class, or look for one"),
  binding("class:n", ["Shift+1", "Shift+2", "Shift+3", "Shift+4", "Shift+5", "Shift+6", "Shift+7", "Shift+8", "Shift+9"], "Class", "Class by its number"),
  binding("mask:next", ["n"], "Masks", "Select the next mask"),
  binding("mask:previous", ["Shift+n"], "Masks", "Select the previous mask"),
  binding("mask:pick", ["s"], "Masks", "Select the mask under the pointer"),
  binding("mask:visible", ["i"], "Masks", "Show or hide the selected mask"),
  binding("masks:visible", ["h"], "Masks", "Show or hide all masks"),
  binding("opacity-", ["o"], "Masks", "More transparent masks"),
  binding("opacity+", ["Shift+o"], "Masks", "Less transparent masks"),
  binding("fit", ["g"], "Shapes", "New masks may overlap, or go under or over the others without overlap"),
  binding("shape:merge", ["j"], "Shapes", "Merge the selected mask with another one"),
  binding("shape:subtract", ["l"], "Shapes", "Take another mask away from the selected one"),
  binding("shape:split", ["u"], "Shapes", "Split the selected mask into its parts"),
  binding("shape:clean", ["r"], "Shapes", "Clean up: holes, islands, edges, small masks"),
  binding("submit", ["Ctrl+Enter"], "Image", "Submit the image and open the next"),
  binding("image:next", ["PageDown", "."], "Image", "Open the next image"),
  binding("image:previous", ["PageUp", ","], "Image", "Open the previous image"),
  binding("image:find", ["/", "y"], "Image", "Go to an image by number or name"),
  binding("skip", ["k"], "Image", "Skip the image, or report that it cannot be used"),
  binding("zoom+", ["+", "="], "View", "Zoom in"),
  binding("zoom-", ["-"], "View", "Zoom out"),
  binding("view:fit", ["0"], "View", "Whole image"),
  binding("full", ["z"], "View", "Actual size (100%)"),
  binding("panel", ["m"], "View", "Show or hide the side panel"),
  binding("move", ["Arrows", "Shift+Arrows"], "Without a mouse", "Move the crosshair, with Shift pixel by pixel"),
  binding("press", ["f"], "Without a mouse", "Click at the crosshair; with box, brush and eraser, start and end a stroke"),
  binding("press:background", ["d"], "Without a mouse", "Background click at the crosshair"),
  binding("theme", ["t"], "Page", "Dark or light theme"),
  binding("help", ["?"], "Page", "Show these keys"),
];

/** @type {Binding[]} */
export const REVIEW_KEYS = [
  binding("accept", ["a", "Enter"], "Review", "Accept the image"),
  binding("return", ["r"], "Review", "Return it with a comment"),
  binding("fix", ["f"], "Review", "Fix it yourself in the studio"),
  binding("next", ["j", "ArrowRight"], "Review", "Next image"),
  binding("previous", ["k", "ArrowLeft"], "Review", "Previous image"),
  binding("masks:visible", ["h"], "View", "Show or hide all masks"),
  binding("opacity-", ["o"], "View", "More transparent masks"),
  binding("opacity+", ["Shift+o"], "View", "Less transparent masks"),
  binding("zoom+", ["+", "="], "View", "Zoom in"),
  binding("zoom-", ["-"], "View", "Zoom out"),
  binding("fit", ["0"], "View", "Whole image"),
  binding("full", ["z"], "View", "Actual size (100%)"),
  binding("panel", ["m"], "View", "Show or hide the side panel"),
  binding("theme", ["t"], "Page", "Dark or light theme"),
  binding("help", ["?"], "Page", "Show these keys"),
];

function binding(action, keys, group, text) {
  return { action, keys, group, text };
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

/** The first key of an action, for labels. */
export function keyFor(bindings, action) {
  return bindings.find((one) => one.action === action)?.keys[0] ?? "";
}
