/** Selects the saved mask under the pointer, to correct, hide or delete it, or set its class. */

export class SelectTool {
  holds = false;

  /** @param {import("../studio_tools.js").ToolActions} actions */
  constructor(actions) {
    this.actions = actions;
  }

  down() {}

  move() {}

  up({ xy }) {
    this.actions.selectAt(xy);
  }

  cancel() {}

  draw() {}
}
