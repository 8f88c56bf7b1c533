/**
 * A time to come, by a clock that people and time servers put right. When the clock shows less than it did when the time was set, it was
 * put back, and nobody knows how far: then the time has come.
 */
export class NotBefore {
  #setAt = 0;
  /** ms since 1970 */
  at = 0;

  set(now: number, at: number): void {
    this.#setAt = now;
    this.at = at;
  }

  /** It has come. */
  clear(): void {
    this.at = 0;
  }

  /** How long it still is (ms); 0: it has come. */
  left(now: number): number {
    return now < this.#setAt ? 0 : Math.max(0, this.at - now);
  }
}
