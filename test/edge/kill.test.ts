import { expect, test } from 'vitest';
import { killRounds } from './kill-rounds.ts';

/** Few rounds, for every change; test/peers/edge-kill.test.ts has hundreds. */
const KILLS = 6;

test('gateway, archive and both are killed while modalities store: what was acknowledged is in the archive, once, and promised', async () => {
  const { acknowledged, promised, faults, left } = await killRounds(KILLS, Math.random);
  expect(faults).toEqual([]);
  expect(left).toEqual({ pending: 0, held: 0 });
  expect(promised).toBe(acknowledged);
  expect(acknowledged).toBeGreaterThan(20);
}, 900_000);
