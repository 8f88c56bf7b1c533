import { expect, test } from 'vitest';
import { randomFrom } from '#test/bench/data.ts';
import { killRounds } from '#test/edge/kill-rounds.ts';

/** How often gateway, archive, or both are killed, in runs of which each begins with empty folders. */
const KILLS = Number(process.env.NEPHOS_KILLS ?? 60);
const KILLS_OF_A_RUN = 30;
const random = randomFrom(20_261_122);

test(
  `killed ${KILLS} times while modalities store over a line that is cut: every acknowledged instance is in the archive, once, and promised`,
  async () => {
    let acknowledged = 0;
    for (let kills = 0; kills < KILLS; kills += KILLS_OF_A_RUN) {
      const report = await killRounds(Math.min(KILLS_OF_A_RUN, KILLS - kills), random);
      expect(report.faults, `after ${kills} kills`).toEqual([]);
      expect(report.left).toEqual({ pending: 0, held: 0 });
      expect(report.promised).toBe(report.acknowledged);
      acknowledged += report.acknowledged;
    }
    console.info(`${acknowledged} instances acknowledged`);
    expect(acknowledged).toBeGreaterThan(KILLS * 5);
  },
  300_000 + KILLS * 15_000,
);
