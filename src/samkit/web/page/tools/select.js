/** Selects the kept mask under the pointer, to correct, hide, delete it or change its class. */

export class SelectTool {
  holds = false;

  /** @param {import("../studio.js").ToolActions} actions */
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
