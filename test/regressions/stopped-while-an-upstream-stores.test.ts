import { expect, test } from 'vitest';
import { PacsError } from '#core/errors.ts';
import type { EdgeContext } from '#edge/context.ts';
import type { Capabilities } from '#edge/forward/capabilities.ts';
import type { DeliveryTools } from '#edge/forward/delivery.ts';
import { storeByTransaction } from '#edge/forward/store-transaction.ts';
import type { Upstream, UpstreamRequest, UpstreamResponse } from '#edge/upstream.ts';
import { TestClock } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

const answer = (status: number, headers: Record<string, string>, text = ''): UpstreamResponse => ({
  status,
  headers,
  body: (async function* () {})(),
  text: async () => text,
  discard: async () => {},
});

/** A gateway that was stopped just then stood for as long as the archive had asked for. */
test('nobody waits for an archive that is still storing when the gateway is to stop', { timeout: 30_000 }, async () => {
  const stop = new AbortController();
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>();
  const request = async ({ path, signal }: UpstreamRequest): Promise<UpstreamResponse> => {
    if (signal?.aborted) throw new PacsError('OUTCOME_UNKNOWN', 'the request was given up');
    const objects = [{ partBytes: 1, parts: 1, arrived: [[1, 1]] }];
    if (!path.endsWith('/commit')) return answer(200, {}, JSON.stringify({ state: 'storing', objects }));
    ask();
    return answer(202, { 'retry-after': '3600' });
  };
  // Only the host's own timers pass: a clock that stands still would be waited for here.
  const clock = Object.assign(new TestClock(), { sleep: () => new Promise<void>(() => {}) });
  const tools = standIn<DeliveryTools>({
    context: standIn<EdgeContext>({ clock }),
    upstream: standIn<Upstream>({ request }),
    capabilities: standIn<Capabilities>({ transactions: 'http://cloud/transactions' }),
    signal: stop.signal,
  });
  const item = { object: { sha256: 'ab' }, record: { SOPInstanceUID: '1.2', StudyInstanceUID: '1', refusals: 0 } };
  const stored = storeByTransaction(item as never, tools, () => (async function* () {})());
  await asked;
  stop.abort();
  await expect(stored).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
});
