// Speed over the last few seconds, and the time that is left at it. A mean
// from the beginning would still speak of the first, slow blocks at the end.

const WINDOW_MS = 5000;
/** Before this there is nothing to say that would not jump about. */
const LEAST_MS = 500;

export class Meter {
  #samples: { readonly at: number; readonly bytes: number }[] = [];

  /** `now` is a clock in milliseconds. */
  constructor(private readonly now: () => number = () => performance.now()) {
    this.restart();
  }

  /** Begins anew, after a pause that was not the line's. */
  restart(): void {
    this.#samples = [{ at: this.now(), bytes: 0 }];
  }

  /** Counts bytes that were written just now. */
  add(bytes: number): void {
    const at = this.now();
    const total = (this.#samples.at(-1)?.bytes ?? 0) + bytes;
    this.#samples.push({ at, bytes: total });
    // One sample from before the window stays, as its beginning.
    while ((this.#samples[1]?.at ?? at) < at - WINDOW_MS) this.#samples.shift();
  }

  /** Bytes a second, or null while too little was seen. */
  get bytesPerSecond(): number | null {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (first === undefined || last === undefined || last.at - first.at < LEAST_MS) return null;
    return ((last.bytes - first.bytes) * 1000) / (last.at - first.at);
  }

  secondsLeft(bytes: number): number | null {
    const speed = this.bytesPerSecond;
    return speed === null || speed === 0 ? null : bytes / speed;
  }
}
