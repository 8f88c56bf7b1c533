import { expect, test } from 'vitest';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { PacsError } from '#core/errors.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { checked } from '#edge/config.ts';
import type { EdgeContext } from '#edge/context.ts';
import { BandwidthLimiter } from '#edge/forward/bandwidth.ts';
import type { Capabilities } from '#edge/forward/capabilities.ts';
import { Delivery } from '#edge/forward/delivery.ts';
import { Forwarder } from '#edge/forward/forwarder.ts';
import { takeIn } from '#edge/forward/intake.ts';
import { DestinationQueue } from '#edge/forward/queue.ts';
import type { Upstream } from '#edge/upstream.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

/** Three instances wait for "stroke", which is then taken out of the configuration. */
async function left() {
  const services = memoryServices();
  const before = checked({ upstreams: [{ name: 'stroke', url: 'http://stroke' }], tenant: TENANT }, 'the test');
  const config = checked({ upstreams: [{ name: 'cloud', url: 'http://cloud' }], tenant: TENANT }, 'the test');
  const context = { services, tenant: TENANT, config: before, clock: services.clock, upstream: () => undefined };
  for (let n = 0; n < 3; n++)
    await store(services, buildDicom({ SOPInstanceUID: uid(100 + n), StudyInstanceUID: uid(1) }));
  while ((await takeIn(context as unknown as EdgeContext)) !== undefined);
  const queue = new DestinationQueue(services, TENANT, 'stroke');
  const forwarder = new Forwarder(standIn<EdgeContext>({ ...context, config }));
  return { services, context: context as unknown as EdgeContext, config: before, queue, forwarder };
}
const SOPS = [100, 101, 102].map(uid);

// Where all of them had just changed, none was dropped, and that was all there was said to be.
test('what was just being sent when its destination was taken out is dropped as well', async () => {
  const { services, queue, forwarder } = await left();
  const { getMany } = services.index;
  let changed = false;
  services.index.getMany = async (...asked) => {
    const found = await getMany.apply(services.index, asked);
    if (changed) return found;
    changed = true;
    // Between its being read here and its being written.
    await queue.apply((await queue.records(SOPS)).map((record) => [record, { to: 'sending' }]));
    return found;
  };
  expect(await forwarder.drop('stroke')).toBe(3);
  expect(changed).toBe(true);
  expect(await queue.counts()).toMatchObject({ pending: 0, held: 0, confirmed: 0 });
});

// It was put back in the queue, of which nobody knew any more.
test('what is dropped while it is being sent stays so, however that ends', async () => {
  const { services, context, config, queue, forwarder } = await left();
  const { promise: broken, reject: breakOff } = Promise.withResolvers<never>();
  const { promise: sending, resolve: begin } = Promise.withResolvers<void>();
  const upstream = standIn<Upstream>({
    config: config.upstreams[0],
    request: () => {
      begin();
      return broken;
    },
  });
  const delivery = new Delivery({
    context,
    upstream,
    queue,
    limiter: new BandwidthLimiter(() => [], services.clock),
    capabilities: standIn<Capabilities>({ requestBytes: Number.POSITIVE_INFINITY, offersTransactions: false }),
    signal: new AbortController().signal,
  });
  const delivered = delivery.run(await queue.first(3, new Set()));
  await sending;
  expect(await forwarder.drop('stroke')).toBe(3);
  breakOff(new PacsError('OUTCOME_UNKNOWN', 'the connection was closed'));
  expect(await delivered).toMatchObject({ kind: 'blocked' });
  expect(await queue.counts()).toMatchObject({ pending: 0, held: 0, confirmed: 0 });
  for (const { state } of await queue.records(SOPS)) expect(state).toBe('unwanted');
  // They are still here, for whoever reads.
  const key = keys.instance(TENANT, uid(1), uid(2), SOPS[0]!);
  expect(asRecord<InstanceRecord>((await services.index.get(key))!).SOPInstanceUID).toBe(SOPS[0]);
});
