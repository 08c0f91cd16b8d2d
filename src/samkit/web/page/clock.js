/** Time that an annotator works: since the last lap, without what the page was hidden or left alone. */

const LONGEST_MS = 120_000; // without an action: nobody looks at one mask for longer

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

  /** Milliseconds since the lap before. */
  lap() {
    const now = performance.now();
    const passed = Math.round(Math.min(LONGEST_MS, now - this.since));
    this.since = now;
    return Math.max(0, passed);
  }

  close() {
    document.removeEventListener("visibilitychange", this.onVisibility);
  }
}
