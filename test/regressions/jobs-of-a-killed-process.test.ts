import { expect, test } from 'vitest';
import { IndexJobQueue } from '#adapters/local/index-job-queue.ts';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import { systemClock } from '#adapters/system-clock.ts';

const FIVE_MINUTES_MS = 5 * 60_000;
const RECEIVE = { max: 10, visibilityMs: FIVE_MINUTES_MS };

// A gateway that was killed, or stopped, answered requests for storage commitment minutes after its next start: they were still received.
test('jobs that a killed process had received are there at once when the next one starts', async () => {
  const index = new MemoryIndexTable();
  const killed = new IndexJobQueue(index, systemClock);
  for (const id of ['a', 'b', 'c']) await killed.enqueue('storage-commitment', { id });
  const received = await killed.receive('storage-commitment', RECEIVE);
  expect(received).toHaveLength(3);
  await killed.complete('storage-commitment', received.find(({ payload }) => payload.id === 'b')!);

  const next = new IndexJobQueue(index, systemClock);
  expect(await next.receive('storage-commitment', RECEIVE)).toEqual([]);
  expect(await next.reclaim('storage-commitment')).toBe(2);
  const again = await next.receive('storage-commitment', RECEIVE);
  expect(again.map(({ payload, attempt }) => [payload.id, attempt]).toSorted()).toEqual([
    ['a', 2],
    ['c', 2],
  ]);
  // The killed one's work is no longer its own to give back.
  await killed.release('storage-commitment', received[0]!, 0);
  expect(await next.receive('storage-commitment', RECEIVE)).toEqual([]);
});
