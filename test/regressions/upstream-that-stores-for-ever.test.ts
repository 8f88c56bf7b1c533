import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import type { EdgeContext } from '#edge/context.ts';
import type { Capabilities } from '#edge/forward/capabilities.ts';
import type { DeliveryTools } from '#edge/forward/delivery.ts';
import { storeByTransaction } from '#edge/forward/store-transaction.ts';
import type { Upstream, UpstreamRequest, UpstreamResponse } from '#edge/upstream.ts';
import { TestClock } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

vi.mock('node:timers/promises', () => ({ setTimeout: vi.fn(async () => {}) }));

const answer = (status: number, headers: Record<string, string>, text = ''): UpstreamResponse => ({
  status,
  headers,
  body: (async function* () {})(),
  text: async () => text,
  discard: async () => {},
});

/** It was asked without end, without a pause where it said `Retry-After: 0`, and held up everything behind. */
test('an archive that goes on storing is asked now and then, and left for the next attempt', async () => {
  let asked = 0;
  const request = async ({ path }: UpstreamRequest): Promise<UpstreamResponse> => {
    const objects = [{ partBytes: 1, parts: 1, arrived: [[1, 1]] }];
    if (!path.endsWith('/commit')) return answer(200, {}, JSON.stringify({ state: 'storing', objects }));
    if (++asked > 10_000) throw new Error('it is asked without end');
    return answer(202, { 'retry-after': '0' });
  };
  const tools = standIn<DeliveryTools>({
    context: standIn<EdgeContext>({ clock: new TestClock() }),
    upstream: standIn<Upstream>({ request }),
    capabilities: standIn<Capabilities>({ transactions: 'http://cloud/transactions' }),
    signal: new AbortController().signal,
  });
  const item = { object: { sha256: 'ab' }, record: { SOPInstanceUID: '1.2', StudyInstanceUID: '1', refusals: 0 } };
  const stored = storeByTransaction(item as never, tools, () => (async function* () {})());
  await expect(stored).rejects.toMatchObject({ code: 'BUSY' });
  expect(asked).toBe(500);
  for (const [ms] of vi.mocked(sleep).mock.calls) expect(ms).toBeGreaterThanOrEqual(500);
});
