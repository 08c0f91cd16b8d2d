/** Previews of what a click would give, throttled: one at a time, and only for the newest place. */

const EVERY_MS = 60;

export class Previews {
  /**
   * @param {object} parts
   * @param {() => boolean} parts.mayAsk
   * @param {(xy: number[]) => Promise<object>} parts.ask rejects if there is no answer
   * @param {(preview: object) => void} parts.show
   */
  constructor({ mayAsk, ask, show }) {
    Object.assign(this, { mayAsk, send: ask, show });
    this.waiting = null; // place
    this.asked = null; // place, as an object of its own
    this.at = 0;
    this.timer = 0;
  }

  ask(xy) {
    this.waiting = xy;
    this.next();
  }

  /** Drop what is pending, as the pointer has left. */
  drop() {
    clearTimeout(this.timer);
    this.waiting = null;
    this.asked = null;
  }

  /** Ask about the newest place, if it may be asked now. */
  next() {
    if (!this.waiting || this.asked || !this.mayAsk()) return;
    clearTimeout(this.timer);
    const wait = this.at + EVERY_MS - performance.now();
    if (wait > 0) {
      this.timer = setTimeout(() => this.next(), wait);
      return;
    }
    const asked = { xy: this.waiting };
    this.asked = asked;
    this.waiting = null;
    this.at = performance.now();
    this.send(asked.xy).then((found) => this.asked === asked && this.show(found), () => {}).finally(() => {
      if (this.asked === asked) this.asked = null;
      this.next();
    });
  }
}
