/** Working time of an annotator since the last lap, without time when the page was hidden or idle. */

const MAX_LAP_MS = 120_000; // without an action, more counts as idle

export class WorkClock {
  constructor() {
    this.since = performance.now();
    this.hiddenAt = null;
    this.onVisibility = () => {
      if (document.hidden) this.hiddenAt = performance.now();
      else if (this.hiddenAt !== null) {
        this.since += performance.now() - Math.max(this.hiddenAt, this.since);
        this.hiddenAt = null;
      }
    };
    document.addEventListener("visibilitychange", this.onVisibility);
  }

  /** Milliseconds since the previous lap. */
  lap() {
    const now = performance.now();
    const passed = Math.round(Math.min(MAX_LAP_MS, now - this.since));
    this.since = now;
    return Math.max(0, passed);
  }

  close() {
    document.removeEventListener("visibilitychange", this.onVisibility);
  }
}
