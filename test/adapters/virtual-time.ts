/**
 * Time that passes only when nothing else is left to do: what takes long in a data centre takes a moment here, in the same order on
 * every machine.
 */
export class VirtualTime {
  #now = Date.UTC(2024, 0, 31, 12);
  #waiting: { readonly at: number; readonly order: number; readonly wake: () => void }[] = [];
  #order = 0;

  now = (): number => this.#now;

  pass = (ms: number): Promise<void> =>
    new Promise((wake) => {
      const entry = { at: this.#now + Math.max(0, ms), order: this.#order++, wake };
      let at = this.#waiting.length;
      while (at > 0 && isLater(this.#waiting[at - 1]!, entry)) at--;
      this.#waiting.splice(at, 0, entry);
    });

  /** Lets time pass until the work is done. */
  async until<T>(work: Promise<T>): Promise<T> {
    let done = false;
    const end = () => {
      done = true;
    };
    work.then(end, end);
    for (;;) {
      // All that follows from what happened now happens now.
      await new Promise((resolve) => setImmediate(resolve));
      if (done) return work;
      const next = this.#waiting.shift();
      if (next === undefined) throw new Error('everything waits, and nothing will happen any more');
      this.#now = Math.max(this.#now, next.at);
      next.wake();
    }
  }
}

const isLater = (one: { at: number; order: number }, other: { at: number; order: number }): boolean =>
  one.at > other.at || (one.at === other.at && one.order > other.order);
