import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SQSRecord } from 'aws-lambda';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { reconcile } from '#core/archive/reconcile.ts';
import { type InstanceRecord, keys, type StudyRecord } from '#core/archive/records.ts';
import { sweep } from '#core/archive/sweep.ts';
import { enrolStudies } from '#core/archive/tier-enrolment.ts';
import { applyTiers } from '#core/archive/tier-policy.ts';
import { placeOfPart, putPart } from '#core/archive/transaction-parts.ts';
import type { TransactionRecord } from '#core/archive/transaction-records.ts';
import { createTransaction } from '#core/archive/transactions.ts';
import { commitTransaction, STORE_UPLOADED, storeUploaded, type UploadedObjects } from '#core/archive/uploaded.ts';
import { PacsError } from '#core/errors.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { instancesOfStudy } from '#core/retrieve/find.ts';
import type { Services } from '#core/services.ts';
import { storeLanded } from '#lambda/landed.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { store, TENANT } from '#test/fixtures/services.ts';
import { type Cloud, type CloudArchive, startCloud } from './helpers/archive.ts';
import { seeded } from './helpers/faults.ts';

/**
 * The work behind queues and clocks while a sixth of all calls fails, events come twice, late and in any order, and functions die
 * between any two of their calls: store transactions, objects that land in the bucket, the nightly comparison and tiering.
 */
const RETRY = { attempts: 6, firstMs: 2, mostMs: 30 };
const RATE = 0.16;
const ATTEMPTS = 60;
let cloud: Cloud;
let calm: CloudArchive;
beforeAll(async () => {
  cloud = await startCloud();
  calm = cloud.open();
});
afterAll(() => cloud.stop());

const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const objectOf = (study: number, n: number, pixels = 2_000): Uint8Array =>
  buildDicom({
    StudyInstanceUID: uid(study),
    SeriesInstanceUID: uid(study + 1),
    SOPInstanceUID: uid(study * 100 + n),
    InstanceNumber: n,
    Rows: 1,
    Columns: pixels / 2,
    PixelData: new Uint8Array(pixels).fill(n),
  });
const stormy = (seed: number, more: { diesAfter?: number; limits?: object } = {}): CloudArchive =>
  cloud.open({ faults: { rate: RATE, random: seeded(seed) }, retry: RETRY, ...more });

/** As queues and clients do: what failed comes again, whatever it was, for a bounded number of times. */
async function untilDone<T>(work: (attempt: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work(attempt);
    } catch (error) {
      if (!(error instanceof PacsError) && !/process is dead/.test(String(error))) throw error;
      expect(attempt, String(error)).toBeLessThan(ATTEMPTS);
      await sleep(Math.min(100, 2 * attempt));
    }
  }
}

async function expectExactly(study: number, count: number, sent: readonly Uint8Array[]): Promise<void> {
  const { services } = calm;
  await cloud.settled();
  await sweep(services, TENANT, 0);
  const item = await services.index.get(keys.study(TENANT, uid(study)));
  expect(asRecord<StudyRecord>(item!)).toMatchObject({
    instanceCount: count,
    seriesCount: 1,
    modalities: { CT: count },
  });
  const found = (await Array.fromAsync(instancesOfStudy(services, TENANT, uid(study)))) as InstanceRecord[];
  expect(found).toHaveLength(count);
  const expected = new Set(sent.map(sha256Of));
  for (const { sha256, blobKey } of found) {
    expect(expected).toContain(sha256);
    expect(sha256Of(await services.blobs.readBytes(blobKey))).toBe(sha256);
  }
  const blobs = await Array.fromAsync(services.blobs.list(`${TENANT}/${uid(study)}/`));
  expect(blobs.filter(({ key }) => key.endsWith('.dcm'))).toHaveLength(count);
  const pending = await services.index.query({ partition: keys.pending(TENANT, '').partition, limit: 10 });
  expect(pending.records).toStrictEqual([]);
}

test('a store transaction: every step repeated, committed by several at once, its jobs twice and in any order, functions that die', async () => {
  const study = 50_000;
  const limits = { transactionPartBytes: 3_000, transactionInlineBytes: 0, transactionWaitMs: 1 };
  const objects = Array.from({ length: 8 }, (_, n) => objectOf(study, n, 8_000));
  const announced = objects.map((bytes) => ({ sizeBytes: bytes.length, sha256: sha256Of(bytes) }));
  const asked = { id: 'chaos-transaction-000001', by: 'gateway', StudyInstanceUID: uid(study), objects: announced };
  const functions = Array.from({ length: 4 }, (_, n) => stormy(100 + n, { limits }).services);
  const any = (n: number): Services => functions[n % functions.length]!;

  const { record } = await untilDone((n) => createTransaction(any(n), TENANT, asked));
  for (const [object, bytes] of objects.entries())
    for (let part = 1; part <= Math.ceil(bytes.length / 3_000); part++) {
      const piece = bytes.subarray((part - 1) * 3_000, part * 3_000);
      for (const seed of [part, part + 1])
        await untilDone((n) => {
          const place = placeOfPart(TENANT, record, object + 1, part);
          return putPart(
            any(n + seed),
            place,
            sha256Of(piece),
            (async function* () {
              yield piece;
            })(),
          );
        });
    }

  const committing = functions.map((services) => untilDone(() => commitTransaction(services, TENANT, record)));
  for (const one of await Promise.all(committing)) expect(one.state).toBe('storing');
  // What the queue holds comes twice, and in pieces of its own; the first of each dies in the middle.
  const jobs: UploadedObjects[] = Array.from({ length: objects.length }, (_, from) => ({
    tenant: TENANT,
    id: record.id,
    from,
    count: 1,
  }));
  const delivered = [...jobs, ...jobs.toReversed(), { tenant: TENANT, id: record.id, from: 0, count: objects.length }];
  await Promise.all(
    delivered.map((job, n) =>
      untilDone((attempt) => {
        const dying = attempt === 1 && n % 2 === 0;
        const { services } = dying
          ? stormy(200 + n, { limits, diesAfter: 3 + (n % 9) })
          : { services: any(n + attempt) };
        return storeUploaded(services, job);
      }),
    ),
  );
  const ends = await Promise.all(
    functions.map((services) => untilDone(() => commitTransaction(services, TENANT, record))),
  );
  for (const end of ends) {
    expect(end.state).toBe('done');
    const outcomes = end.state === 'done' ? end.outcomes : [];
    for (const outcome of outcomes) expect(['stored', 'duplicate']).toContain(outcome.kind);
    expect(outcomes).toStrictEqual(ends[0]!.state === 'done' ? ends[0]!.outcomes : []);
  }
  await expectExactly(study, objects.length, objects);
  await expectNoParts(record);
});

/** Parts that a dying function left behind go when the transaction ends; none of a stored object is needed any more. */
async function expectNoParts({ id }: TransactionRecord): Promise<void> {
  const { services } = calm;
  await cloud.settled();
  const late = { ...services, clock: { ...services.clock, now: () => Date.now() + services.limits.transactionMs + 1 } };
  await sweep(late, TENANT);
  expect(await Array.fromAsync(services.landing.list(`_uploads/${TENANT}/${id}/`))).toStrictEqual([]);
  expect(await calm.services.jobs.receive(STORE_UPLOADED, { max: 1, visibilityMs: 1_000 })).toBeDefined();
}

test('objects that land in the bucket: told twice, late, out of order, by events of both kinds, to functions that die', async () => {
  const study = 60_000;
  const objects = Array.from({ length: 16 }, (_, n) => objectOf(study, n));
  const keyOf = (n: number): string => `incoming/${TENANT}/IM_${n}`;
  for (const [n, bytes] of objects.entries()) await calm.services.landing.put(keyOf(n), bytes);
  const told = (n: number, kind: number): SQSRecord =>
    ({
      body: JSON.stringify(
        kind === 0
          ? { Records: [{ s3: { object: { key: keyOf(n) } } }] }
          : { 'detail-type': 'Object Created', detail: { object: { key: keyOf(n) } } },
      ),
    }) as SQSRecord;
  const random = seeded(77);
  const events = objects
    .flatMap((_, n) => [0, 1, 0].map((kind) => ({ n, kind })))
    .map((event) => ({ event, at: random() }))
    .toSorted((a, b) => a.at - b.at);
  const config = { tenants: [TENANT] } as unknown as Parameters<typeof storeLanded>[0]['config'];
  const functions = Array.from({ length: 5 }, (_, n) => stormy(300 + n));
  const queue = [...events];
  await Promise.all(
    functions.map(async (own, f) => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        const { n, kind } = next.event;
        await untilDone((attempt) => {
          const { services } = attempt === 1 && n % 3 === 0 ? stormy(400 + n + f, { diesAfter: 2 + (n % 11) }) : own;
          const archive = { services, config } as unknown as Parameters<typeof storeLanded>[0];
          return storeLanded(archive, told(n, kind));
        });
      }
    }),
  );
  await expectExactly(study, objects.length, objects);
  expect(await Array.fromAsync(calm.services.landing.list(`incoming/${TENANT}/`))).toStrictEqual([]);
});

test('the nightly comparison finds what is missing and what nobody knows, once, through failing calls and runs that break off', async () => {
  const study = 70_000;
  for (let n = 0; n < 6; n++) await store(calm.services, objectOf(study, n));
  const [first] = (await Array.fromAsync(instancesOfStudy(calm.services, TENANT, uid(study)))) as InstanceRecord[];
  await calm.services.blobs.delete(first!.blobKey);
  const stranger = first!.blobKey.replace(/\.[0-9A-Z]{26}\.dcm$/, `.${'0'.repeat(25)}1.dcm`);
  await calm.services.blobs.put(stranger, Buffer.from('put there by hand'));
  const runs = [];
  for (let finished = false; !finished; ) {
    let steps = 0;
    const report = await untilDone((n) => reconcile(stormy(500 + n + runs.length).services, TENANT, () => ++steps > 2));
    runs.push(report);
    finished = report.finished;
    expect(runs.length).toBeLessThan(30);
  }
  const named = new Set(runs.flatMap((report) => report.named.map(({ kind, blobKey }) => `${kind} ${blobKey}`)));
  expect(named).toContain(`missing ${first!.blobKey}`);
  expect(named).toContain(`unknown ${stranger}`);
  expect([...named].filter((one) => one.includes(uid(study)))).toHaveLength(2);
});

test('the nightly tiering tags every object of what is due, and nothing twice in the records, through failing calls', async () => {
  const study = 80_000;
  const pixels = 4_000;
  for (let n = 0; n < 5; n++) await store(calm.services, objectOf(study, n, pixels));
  const tiers = [{ tier: 'deep', idleDays: 1, studyAgeDays: 0 }];
  const later = (services: Services): Services => ({
    ...services,
    policy: { ...services.policy, tiers },
    limits: { ...services.limits, tierLeastBytes: 1_000 },
    clock: { ...services.clock, now: () => Date.now() + 3 * 24 * 60 * 60 * 1000 },
  });
  await untilDone((n) => enrolStudies(later(stormy(600 + n).services), TENANT, () => false));
  const total = { moved: 0 };
  for (let night = 0; night < 30; night++) {
    const report = await untilDone((n) =>
      applyTiers(later(stormy(700 + 10 * night + n).services), TENANT, () => false),
    );
    total.moved += report.moved;
    if (report.failed === 0) break;
  }
  const record = await calm.services.index.get({ partition: `${TENANT}|tier|${uid(study)}`, sort: 'tier' });
  expect(record).toMatchObject({ tier: 'deep' });
  expect(total.moved).toBeGreaterThan(0);
  expect(await applyTiers(later(calm.services), TENANT, () => false)).toMatchObject({ moved: 0, failed: 0 });
});
