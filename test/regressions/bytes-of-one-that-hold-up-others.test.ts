import { expect, test } from 'vitest';
import { asRecord } from '#core/ports/index-table.ts';
import { checked } from '#edge/config.ts';
import type { EdgeContext } from '#edge/context.ts';
import { BandwidthLimiter } from '#edge/forward/bandwidth.ts';
import type { Capabilities } from '#edge/forward/capabilities.ts';
import { Delivery } from '#edge/forward/delivery.ts';
import { takeIn } from '#edge/forward/intake.ts';
import { DestinationQueue } from '#edge/forward/queue.ts';
import { forwardKeys, type SentObject, type StudyOrder } from '#edge/forward/records.ts';
import type { Upstream, UpstreamResponse } from '#edge/upstream.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

const STUDY = uid(1);
const SOP = uid(100);

const answering = (headers: Record<string, string>, body: Uint8Array = Buffer.alloc(0)): UpstreamResponse => ({
  status: 200,
  headers,
  body: (async function* () {
    yield body;
  })(),
  text: async () => '',
  discard: async () => {},
});

/** An instance that was sent, and whose answer was lost: the upstream is asked for it before it is sent again. */
async function inDoubt(evidence: 'digest' | 'retrieve', answer: () => Promise<UpstreamResponse>) {
  const services = memoryServices();
  const config = checked({ upstreams: [{ name: 'cloud', url: 'http://cloud', evidence }], tenant: TENANT }, 'the test');
  const upstream = standIn<Upstream>({ config: config.upstreams[0], request: answer });
  const context = standIn<EdgeContext>({ services, tenant: TENANT, config, clock: services.clock });
  const object = buildDicom({ SOPInstanceUID: SOP, StudyInstanceUID: STUDY });
  await store(services, object);
  while ((await takeIn(context)) !== undefined);
  const queue = new DestinationQueue(services, TENANT, 'cloud');
  const record = async () => (await queue.records([SOP]))[0]!;
  await queue.apply([[await record(), { to: 'pending', ask: true }]]);
  const deliver = async () =>
    new Delivery({
      context,
      upstream,
      queue,
      limiter: new BandwidthLimiter(() => [], services.clock),
      capabilities: standIn<Capabilities>({ statesDigests: true, offersTransactions: false }),
      signal: new AbortController().signal,
    }).run(await queue.first(10, new Set()));
  return { services, queue, record, deliver, object };
}

/** The destination was taken for one that could not be reached, and nothing else went there any more. */
test('an instance whose bytes are gone is held when its upstream has been asked for it', async () => {
  const { services, queue, record, deliver, object } = await inDoubt('retrieve', async () =>
    answering({ 'content-type': 'application/dicom' }, object),
  );
  for await (const { key } of services.blobs.list(`${TENANT}/`)) await services.blobs.delete(key);
  expect(await deliver()).toMatchObject({ kind: 'done' });
  expect(await record()).toMatchObject({ state: 'held', reason: 'its bytes cannot be read here' });
  expect(await queue.counts()).toMatchObject({ pending: 0, held: 1, confirmed: 0 });
});

/** The compressed bytes were deleted, and the record went on naming them. */
test('what is compressed stays until it is confirmed, also where the study moves ahead meanwhile', async () => {
  let ahead: (() => Promise<void>) | undefined;
  const { services, queue, record, deliver } = await inDoubt('digest', async () => {
    await ahead?.();
    ahead = undefined;
    return answering({ 'repr-digest': `sha-256=:${Buffer.from(sent.sha256, 'hex').toString('base64')}:` });
  });
  const { sha256, size } = await services.blobs.put('_forward/compressed.dcm', Buffer.from('fewer bytes'));
  const transferSyntaxUID = '1.2.840.10008.1.2.4.80';
  const sent: SentObject = {
    blobKey: '_forward/compressed.dcm',
    sizeBytes: size,
    sha256,
    transferSyntaxUID,
    dataSetOffset: 0,
  };
  await queue.apply([[await record(), { to: 'prepared', sent }]]);
  const order = asRecord<StudyOrder>((await services.index.get(forwardKeys.study(TENANT, STUDY)))!);
  ahead = () => queue.raise(STUDY, { ...order, priority: 'stat' });

  await deliver();
  expect(await record()).toMatchObject({ state: 'pending', queueKey: expect.stringMatching(/^0\|/), sent });
  expect(await services.blobs.head(sent.blobKey)).toBeDefined();
  await deliver();
  expect(await record()).toMatchObject({ state: 'confirmed' });
  expect(await services.blobs.head(sent.blobKey)).toBeUndefined();
});
