import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type RunningArchive, startArchive } from './process.ts';

const RATE = 20;
let dir: string;
let archive: RunningArchive;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-rates-'));
  archive = await startArchive(dir, { NEPHOS_WORKERS: '3', NEPHOS_RATE_REQUESTS: String(RATE) });
});
afterEach(async () => {
  if (archive.process.exitCode === null) await archive.kill9().catch(() => {});
  await rm(dir, { recursive: true, force: true });
});

test('three server processes have one rate: many connections give no more than one', async () => {
  const began = Date.now();
  const ask = async (): Promise<number> => {
    const { status } = await fetch(`${archive.origin}/dicomweb/studies?limit=1`);
    return status;
  };
  const statuses = await Promise.all(Array.from({ length: 400 }, ask));
  const seconds = (Date.now() - began) / 1_000;
  const passed = statuses.filter((status) => status === 200).length;
  expect(statuses.filter((status) => status === 429)).toHaveLength(400 - passed);
  // Five seconds of the rate may come at once; each process by itself would let as many pass.
  expect(passed).toBeGreaterThan(4 * RATE);
  expect(passed).toBeLessThanOrEqual(RATE * (5 + seconds));
});
