import { randomBytes } from 'node:crypto';
import type { Clock } from '#core/ports/clock.ts';

/** Bytes that follow from the key, so that anyone can tell whether a blob is whole. */
export const blobBody = (key: string, size: number): Buffer =>
  size === 0 ? Buffer.alloc(0) : Buffer.alloc(size, `${key}|`);

export const systemClock: Clock = {
  now: () => Date.now(),
  randomBytes: (count) => new Uint8Array(randomBytes(count)),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
};
