/**
 * Undo and redo. `History` holds the states of the unfinished mask. `imageStacks` derives from the
 * store's changes in which order saved masks are undone and redone, so that Ctrl+Z continues after
 * a reload. `promptsOf` gives the prompts that a saved mask rests on.
 */

/** States of one thing, without limit. @template T */
export class History {
  /** @param {T} first */
  constructor(first) {
    this.past = [];
    this.current = first;
    this.future = [];
  }

  push(state) {
    this.past.push(this.current);
    this.current = state;
    this.future = [];
  }

  get canUndo() {
    return this.past.length > 0;
  }

  get canRedo() {
    return this.future.length > 0;
  }

  undo() {
    if (!this.canUndo) return false;
    this.future.push(this.current);
    this.current = this.past.pop();
    return true;
  }

  redo() {
    if (!this.canRedo) return false;
    this.past.push(this.current);
    this.current = this.future.pop();
    return true;
  }
}

/**
 * Which annotations undoing and redoing touch next on an image, the next one last.
 * @param {{annotation_id: number, change: string, user_id: number}[]} changes of the image, the first one first
 * @param {number} userId whose actions count
 * @returns {{past: number[], future: number[]}}
 */
export function imageStacks(changes, userId) {
  const past = [];
  let future = [];
  for (const { annotation_id: id, change, user_id: actor } of changes) {
    if (actor !== userId) {
      // The store undoes an annotation's last change, whoever made it: what lies below another
      // person's change cannot be reached without undoing theirs.
      remove(past, id);
      remove(future, id);
    } else if (change === "undo") {
      takeLast(past, id);
      future.push(id);
    } else if (change === "redo") {
      takeLast(future, id);
      past.push(id);
    } else {
      past.push(id);
      future = [];
    }
  }
  return { past, future };
}

/**
 * Events that led to an annotation's present content, without those that were undone.
 * @param {{version: number, change: string}[]} revisions the first one first
 * @param {{version: number, kind: string, data: object}[]} events
 */
export function promptsOf(revisions, events) {
  const chains = new Map([[0, []]]); // version 0: before the first
  const past = [];
  let future = [];
  let current = 0;
  for (const { version, change } of revisions) {
    if (change === "undo") {
      future.push(current);
      current = past.pop() ?? 0;
    } else if (change === "redo") {
      past.push(current);
      current = future.pop() ?? current;
    } else {
      past.push(current);
      future = [];
      const own = events.filter((event) => event.version === version);
      chains.set(version, [...(chains.get(current) ?? []), ...own]);
      current = version;
    }
  }
  return chains.get(current) ?? [];
}

function takeLast(stack, id) {
  const at = stack.lastIndexOf(id);
  if (at >= 0) stack.splice(at, 1);
}

function remove(stack, id) {
  for (let at = stack.length - 1; at >= 0; at--) if (stack[at] === id) stack.splice(at, 1);
}
