import { PacsError } from '../errors.ts';

/** Counts what a source gives against what the header says it will. */
export class Progress {
  bytes = 0;
  #chunks = 0;
  readonly #tag: string;
  readonly #countsChunks: boolean;
  readonly #expected: number | undefined;

  constructor(tag: string, countsChunks: boolean, expected: number | undefined) {
    this.#tag = tag;
    this.#countsChunks = countsChunks;
    this.#expected = expected;
  }

  add(bytes: number): void {
    this.bytes += bytes;
    this.#chunks++;
  }

  check(): void {
    const given = this.#countsChunks ? this.#chunks : this.bytes;
    if (this.#expected === undefined || given === this.#expected) return;
    throw new PacsError('DATASET_MISMATCH', `the bulk value of ${this.#tag} is not of the length given`, {
      details: { tag: this.#tag, expected: this.#expected, given },
    });
  }
}
