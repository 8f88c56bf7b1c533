import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '#core/ports/clock.ts';

/** Random bytes are drawn by the page: a ULID for each of thousands of objects would ask the kernel as often. */
const POOL_BYTES = 4096;
let pool = Buffer.alloc(0);
function drawRandom(count: number): Uint8Array {
  if (count > POOL_BYTES) return randomBytes(count);
  if (pool.length < count) pool = randomBytes(POOL_BYTES);
  const drawn = pool.subarray(0, count);
  pool = pool.subarray(count);
  return drawn;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  randomBytes: drawRandom,
  sleep: (ms) => sleep(ms),
};
