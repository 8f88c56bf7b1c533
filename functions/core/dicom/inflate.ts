import { Inflate } from 'fflate';
import { PacsError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import type { DataSetParser } from './parser.ts';

/** Bytes inflated in one go: with deflate's greatest ratio (1:1032) about 17 MB come out of them. */
const STEP_BYTES = 16 * 1024;

/** Inflates a deflated data set (PS3.5 A.5) chunk by chunk into its parser, and stops at what is out of proportion. */
export class DeflatedDataSet {
  readonly #limits: Limits;
  readonly #inflate: Inflate;
  #deflatedBytes = 0;
  #inflatedBytes = 0;

  constructor(limits: Limits, parser: DataSetParser) {
    this.#limits = limits;
    this.#inflate = new Inflate((bytes) => {
      this.#inflatedBytes += bytes.length;
      this.#check();
      parser.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
    });
  }

  /** @throws PacsError UNREADABLE_DATASET, TOO_LARGE */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += STEP_BYTES) {
      const step = bytes.subarray(at, at + STEP_BYTES);
      this.#deflatedBytes += step.length;
      this.#run(step, false);
    }
  }

  end(): void {
    this.#run(new Uint8Array(0), true);
  }

  #run(bytes: Uint8Array, last: boolean): void {
    try {
      this.#inflate.push(bytes, last);
    } catch (error) {
      if (error instanceof PacsError) throw error;
      throw new PacsError('UNREADABLE_DATASET', 'the deflated data set cannot be inflated', {
        details: { inflatedBytes: this.#inflatedBytes },
      });
    }
  }

  #check(): void {
    const { inflatedBytes, inflateRatio } = this.#limits;
    const limit = this.#inflatedBytes > inflatedBytes ? 'inflatedBytes' : 'inflateRatio';
    if (limit === 'inflateRatio' && this.#inflatedBytes <= inflateRatio * this.#deflatedBytes) return;
    throw new PacsError('TOO_LARGE', `the object exceeds the limit ${limit}`, {
      details: { limit, limitValue: this.#limits[limit] },
    });
  }
}
