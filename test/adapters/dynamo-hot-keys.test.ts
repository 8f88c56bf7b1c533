import { describe, expect, test } from 'vitest';
import { MemoryBlobStore } from '#adapters/memory/memory-blob-store.ts';
import { assemble } from '#core/assemble.ts';
import type { Services } from '#core/services.ts';
import { seeded } from '#test/cloud/helpers/faults.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, studyRecord } from '#test/fixtures/services.ts';
import { AccountedTable, PARTITION_WRITE_UNITS } from './dynamo-account.ts';
import { VirtualTime } from './virtual-time.ts';

/**
 * A study of very many instances that arrives at 500 instances a second, each request at a function that is free, or at a new one: as
 * Lambda does it. NEPHOS_HOT_INSTANCES sets how many; 10,000 take half a minute.
 */
const INSTANCES = Number(process.env.NEPHOS_HOT_INSTANCES ?? 1_000);
const INSTANCES_A_SECOND = 500;
const COLD_START_MS = 300;
const CALL_MS = [4, 14] as const;
const PUT_MS = [20, 60] as const;

async function arrive(options: { request: number; series: number; headerWords?: number }) {
  const { request, series, headerWords = 60 } = options;
  const time = new VirtualTime();
  const random = seeded(7);
  const table = new AccountedTable({ now: time.now, pass: time.pass, random, callMs: CALL_MS });
  const blobs = new MemoryBlobStore();
  const put = blobs.put.bind(blobs);
  blobs.put = async (...asked) => {
    await time.pass(PUT_MS[0] + random() * (PUT_MS[1] - PUT_MS[0]));
    return put(...asked);
  };
  const clock = {
    now: time.now,
    sleep: time.pass,
    randomBytes: (count: number) => Uint8Array.from({ length: count }, () => random() * 256),
  };
  const all = memoryServices({ ports: { index: table, blobs, clock } });
  const free: Services[] = [];
  let functions = 0;

  const deliver = async (from: number): Promise<void> => {
    let services = free.pop();
    if (services === undefined) {
      functions++;
      await time.pass(COLD_START_MS);
      services = assemble(all);
    }
    const slices = Array.from({ length: Math.min(request, INSTANCES - from) }, (_, i) => from + i);
    await Promise.all(
      slices.map(async (n) => {
        const outcome = await store(services, sliceOf(n, series, headerWords));
        expect(outcome.kind).toBe('stored');
      }),
    );
    free.push(services);
  };
  let lastSentAt = 0;
  const arriving = async (): Promise<void> => {
    const deliveries: Promise<void>[] = [];
    for (let from = 0; from < INSTANCES; from += request) {
      deliveries.push(deliver(from));
      await time.pass((-Math.log(1 - random()) * request * 1_000) / INSTANCES_A_SECOND);
    }
    lastSentAt = time.now();
    await Promise.all(deliveries);
  };
  await time.until(arriving());
  const behindMs = time.now() - lastSentAt;
  expect(await time.until(studyRecord(all, uid(1)))).toMatchObject({ instanceCount: INSTANCES, seriesCount: series });
  return { table, behindMs, functions };
}

/** As large a header as a CT slice has. */
const sliceOf = (n: number, series: number, headerWords: number): Uint8Array =>
  buildDicom({
    SeriesInstanceUID: uid(2 + (n % series)),
    SOPInstanceUID: uid(1_000_000 + n),
    InstanceNumber: n,
    ImagePositionPatient: `${n * 0.625}\\-120.5\\88.25`,
    ImageComments: Array.from(
      { length: headerWords },
      (_, i) => `parameter ${i} of this slice: ${(n * 7919 + i * 104_729) % 99_991}`,
    ).join('; '),
  });

describe('a study that arrives at 500 instances a second keeps every partition within its write units, every second', () => {
  test.each([
    ['one instance a request, all of one series', { request: 1, series: 1 }],
    ['one instance a request, of four series', { request: 1, series: 4 }],
    ['from a gateway, 25 instances a request', { request: 25, series: 4 }],
    ['from a gateway, all of one series', { request: 25, series: 1 }],
    ['from uploads, 10 instances a batch of the queue', { request: 10, series: 4 }],
  ])('%s', { timeout: 300_000 }, async (_, how) => {
    const { table, behindMs, functions } = await arrive(how);
    const hottest = table.partitions.busiestSeconds();
    if (process.env.NEPHOS_HOT_INSTANCES)
      console.log({ how, functions, behindMs, calls: table.calls / INSTANCES, conflicts: table.conflicts, hottest });
    for (const [name, units] of hottest) expect(units, name).toBeLessThan(0.9 * PARTITION_WRITE_UNITS);
    for (const [name, units] of table.items.busiestSeconds())
      expect(units, name).toBeLessThan(PARTITION_WRITE_UNITS / 2);
    // It comes in as fast as it is sent: nobody is held up by the others.
    expect(behindMs).toBeLessThan(2_000);
  });
});
