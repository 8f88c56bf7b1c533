/** Several things that do not depend on each other: each is tried, whatever becomes of the others. */
export class Attempts {
  readonly #failures: unknown[] = [];

  /** @returns what came of it, or `otherwise` where it failed */
  async make<T>(work: () => Promise<T>, otherwise: T): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#failures.push(error);
      return otherwise;
    }
  }

  /** @throws what failed first */
  end(): void {
    if (this.#failures.length > 0) throw this.#failures[0];
  }
}
