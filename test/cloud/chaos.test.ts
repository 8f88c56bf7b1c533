import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readFeed } from '#core/archive/feed.ts';
import { type InstanceRecord, keys, type StudyRecord } from '#core/archive/records.ts';
import { sweep } from '#core/archive/sweep.ts';
import { PacsError } from '#core/errors.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { instancesOfStudy } from '#core/retrieve/find.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { store, TENANT } from '#test/fixtures/services.ts';
import { type Cloud, type CloudArchive, startCloud } from './helpers/archive.ts';
import { seeded } from './helpers/faults.ts';

let cloud: Cloud;
beforeAll(async () => {
  cloud = await startCloud();
});
afterAll(() => cloud.stop());

const STUDIES = 3;
const INSTANCES = 40;
const FUNCTIONS = 4;
const RETRY = { attempts: 6, firstMs: 5, mostMs: 100 };
const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const objectOf = (study: number, n: number): Uint8Array =>
  buildDicom({
    StudyInstanceUID: uid(1_000 + study),
    SeriesInstanceUID: uid(2_000 + study * 10 + (n % 2)),
    SOPInstanceUID: uid(100_000 + study * 1_000 + n),
    PatientName: `Chaos^${study}`,
    InstanceNumber: n,
  });

/** As a gateway does: what failed and may be sent again is sent again. */
async function deliver(archive: CloudArchive, bytes: Uint8Array): Promise<string> {
  for (let sent = 1; ; sent++) {
    const outcome = await store(archive.services, bytes);
    if (outcome.kind !== 'failed') return outcome.kind;
    expect(['BUSY', 'OUTCOME_UNKNOWN', 'BEING_STORED']).toContain(outcome.error.code);
    expect(sent).toBeLessThan(40);
    await sleep(Math.min(100, 5 * sent));
  }
}

test('throttling, failures, lost answers and torn bodies in a fifth of all calls lose nothing and count nothing twice', async () => {
  const archives = Array.from({ length: FUNCTIONS }, (_, n) =>
    cloud.open({ faults: { rate: 0.2, random: seeded(n + 1) }, retry: RETRY }),
  );
  const sent: { bytes: Uint8Array; archive: CloudArchive }[] = [];
  for (let n = 0; n < INSTANCES; n++)
    for (let study = 0; study < STUDIES; study++) {
      const bytes = objectOf(study, n);
      sent.push({ bytes, archive: archives[n % FUNCTIONS]! });
      // a sender that heard nothing sends a tenth again, elsewhere
      if (n % 10 === 0) sent.push({ bytes, archive: archives[(n + 1) % FUNCTIONS]! });
    }
  const queue = [...sent];
  await Promise.all(
    Array.from({ length: 12 }, async () => {
      for (let next = queue.shift(); next; next = queue.shift())
        expect(['stored', 'duplicate']).toContain(await deliver(next.archive, next.bytes));
    }),
  );

  const injected = new Set(
    archives.flatMap(({ counts }) => Object.values(counts).flatMap((one) => [...one.injected.keys()])),
  );
  expect([...injected].toSorted()).toStrictEqual(['answerLost', 'failed', 'failedAfter', 'throttled', 'unreachable']);

  await cloud.settled();
  const { services } = cloud.open();
  await sweep(services, TENANT, 0);
  const expected = new Map(sent.map(({ bytes }) => [sha256Of(bytes), bytes]));
  expect(expected.size).toBe(STUDIES * INSTANCES);
  for (let study = 0; study < STUDIES; study++) {
    const item = await services.index.get(keys.study(TENANT, uid(1_000 + study)));
    const record = asRecord<StudyRecord>(item!);
    expect(record).toMatchObject({ instanceCount: INSTANCES, seriesCount: 2, modalities: { CT: INSTANCES } });
    const found = await Array.fromAsync(instancesOfStudy(services, TENANT, uid(1_000 + study)));
    expect(found).toHaveLength(INSTANCES);
    for (const { sha256, blobKey } of found as InstanceRecord[])
      expect(sha256Of(await services.blobs.readBytes(blobKey))).toBe(sha256);
  }

  // one event for each instance, however often it was sent
  const stored: string[] = [];
  for (let cursor = '', more = true; more; ) {
    const page = await readFeed(services.index, TENANT, cursor, 50);
    for (const event of page.events) if (event.type === 'InstanceStored') stored.push(event.SOPInstanceUID!);
    more = page.events.length > 0;
    cursor = page.next;
  }
  expect(stored).toHaveLength(STUDIES * INSTANCES);
  expect(new Set(stored).size).toBe(STUDIES * INSTANCES);

  // nothing begun is left, and every blob belongs to an instance
  const pending = await services.index.query({ partition: keys.pending(TENANT, '').partition, limit: 10 });
  expect(pending.records).toStrictEqual([]);
  const blobs = await Array.fromAsync(services.blobs.list(`${TENANT}/`));
  expect(blobs.filter(({ key }) => key.endsWith('.dcm'))).toHaveLength(STUDIES * INSTANCES);
});

test('a function killed after any of its calls leaves nothing half done: the next delivery or the sweep settles it', async () => {
  const { services } = cloud.open();
  const study = uid(3_000);
  const calls = 14; // more than a first store of a study makes
  for (let diesAfter = 0; diesAfter <= calls; diesAfter++) {
    const bytes = buildDicom({
      StudyInstanceUID: study,
      SeriesInstanceUID: uid(3_001),
      SOPInstanceUID: uid(300_000 + diesAfter),
      PatientName: `Killed^${diesAfter}`,
    });
    const dying = cloud.open({ diesAfter, retry: RETRY });
    await store(dying.services, bytes).catch(() => undefined);
    // half of them are sent again, elsewhere; the other half is not, and what was begun is given up or kept whole
    if (diesAfter % 2 === 0) expect(['stored', 'duplicate']).toContain((await store(services, bytes)).kind);
  }
  await cloud.settled();
  await sweep(services, TENANT, 0);
  const found = (await Array.fromAsync(instancesOfStudy(services, TENANT, study))) as InstanceRecord[];
  const item = await services.index.get(keys.study(TENANT, study));
  expect(asRecord<StudyRecord>(item!).instanceCount).toBe(found.length);
  const sops = new Set(found.map(({ SOPInstanceUID }) => SOPInstanceUID));
  for (let sent = 0; sent <= calls; sent += 2) expect(sops).toContain(uid(300_000 + sent));
  const blobs = await Array.fromAsync(services.blobs.list(`${TENANT}/${study}/`));
  expect(blobs.map(({ key }) => key).toSorted()).toStrictEqual(found.map(({ blobKey }) => blobKey).toSorted());
  for (const { sha256, blobKey } of found) expect(sha256Of(await services.blobs.readBytes(blobKey))).toBe(sha256);
  const pending = await services.index.query({ partition: keys.pending(TENANT, '').partition, limit: 10 });
  expect(pending.records).toStrictEqual([]);
});

test('jobs are done at least once, however often a call of the queue fails', async () => {
  const { services } = cloud.open({ faults: { rate: 0.25, random: seeded(11) }, retry: { ...RETRY, attempts: 12 } });
  const { jobs } = services;
  for (let n = 0; n < 40; n++) await jobs.enqueue('finish-removal', { n });
  const done = new Set<unknown>();
  for (let idle = 0; done.size < 40 && idle < 10; ) {
    const received = await jobs.receive('finish-removal', { max: 10, visibilityMs: 1_000 });
    idle = received.length === 0 ? idle + 1 : 0;
    for (const job of received) {
      done.add(job.payload.n);
      await jobs.complete('finish-removal', job);
    }
    if (received.length === 0) await new Promise((resolve) => setTimeout(resolve, 300));
  }
  expect(done.size).toBe(40);
});

test('a torn body is read on from where it broke', async () => {
  const plain = cloud.open();
  const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));
  await plain.services.blobs.put('torn/a', bytes);
  const torn = cloud.open({ faults: { rate: 0.5, random: seeded(7) }, retry: { attempts: 30, firstMs: 1, mostMs: 5 } });
  for (let i = 0; i < 10; i++)
    expect(
      Buffer.compare(
        await torn.services.blobs.readBytes('torn/a', { offset: i, length: 200_000 }),
        bytes.subarray(i, 200_000 + i),
      ),
    ).toBe(0);
  expect(torn.counts.s3.injected.get('torn')).toBeGreaterThan(0);
});

test('a service that is down is said to be, after a bounded number of calls', async () => {
  const down = cloud.open({ faults: { rate: 1, random: () => 0 }, retry: RETRY });
  const { services, counts } = down;
  const busy = { code: 'BUSY' };
  const key = { partition: 'down', sort: 'a' };
  await expect(services.index.get(key)).rejects.toMatchObject(busy);
  await expect(services.index.query({ partition: 'down', limit: 1 })).rejects.toMatchObject(busy);
  await expect(services.index.getMany([key])).rejects.toMatchObject(busy);
  await expect(services.index.write([{ kind: 'put', key, item: {} }])).rejects.toMatchObject(busy);
  await expect(services.index.write([{ kind: 'add', key, increments: { n: 1 } }])).rejects.toMatchObject(busy);
  await expect(services.blobs.put('down/a', Buffer.from('x'))).rejects.toMatchObject(busy);
  await expect(services.blobs.readBytes('down/a')).rejects.toMatchObject(busy);
  await expect(services.jobs.enqueue('study-quiet', {})).rejects.toMatchObject(busy);
  for (const [, calls] of [...counts.dynamo.calls, ...counts.s3.calls, ...counts.sqs.calls])
    expect(calls).toBeLessThanOrEqual(RETRY.attempts);
});

test('silence after a write is an unknown outcome, never a failure', async () => {
  // every answer is lost, whether the call was carried out or not
  const answerLost = 3 / 5;
  let dice = 0;
  const silent = cloud.open({ faults: { rate: 1, random: () => (dice++ % 2 === 0 ? 0 : answerLost) }, retry: RETRY });
  const key = { partition: 'silent', sort: 'a' };
  const outcome = await silent.services.index
    .write([{ kind: 'add', key, increments: { n: 1 } }])
    .catch((error) => error);
  expect(outcome).toBeInstanceOf(PacsError);
  expect(outcome).toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  // … though it was carried out: once
  expect(await cloud.open().services.index.get(key)).toStrictEqual({ n: 1 });
});
