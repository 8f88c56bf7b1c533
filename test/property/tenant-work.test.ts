import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IndexJobQueue } from '#adapters/local/index-job-queue.ts';
import { MemoryBlobStore } from '#adapters/memory/memory-blob-store.ts';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import type { BlobStore } from '#core/ports/blob-store.ts';
import { type IndexTable, newReadMeter, type ReadMeter } from '#core/ports/index-table.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { TestClock } from '#test/fixtures/services.ts';
import { type Act, acts, anArchive, http, object, READING, type Step } from './tenant-steps.ts';

/**
 * How long an answer takes is not asserted: it would depend on the machine. What the time is spent on is: whatever another tenant holds,
 * each call of ours asks index and blobs the same questions in the same order, and they look at as many records and bytes.
 */
type Work = string[];

/** Notes every call of the index with what it read or wrote. */
function metered(index: IndexTable, work: Work): IndexTable {
  const read = async <R>(
    call: string,
    meter: ReadMeter | undefined,
    ask: (own: ReadMeter) => Promise<R>,
  ): Promise<R> => {
    const own = newReadMeter();
    const place = work.push(call) - 1;
    const answer = await ask(own);
    work[place] = `${call}: ${own.calls} calls, ${own.records} records, ${own.bytes} bytes`;
    if (meter) {
      meter.calls += own.calls;
      meter.records += own.records;
      meter.bytes += own.bytes;
    }
    return answer;
  };
  return {
    conflictsAreCheap: true,
    get: (key, meter) => read(`get ${key.partition} ${key.sort}`, meter, (own) => index.get(key, own)),
    getMany: (keys, meter) =>
      read(`get ${keys.map(({ partition, sort }) => `${partition} ${sort}`)}`, meter, (own) =>
        index.getMany(keys, own),
      ),
    query: (query, meter) => read(`query ${JSON.stringify(query)}`, meter, (own) => index.query(query, own)),
    async write(operations, options) {
      const place = work.push('write') - 1;
      const outcome = await index.write(operations, options);
      work[place] = `write ${JSON.stringify(operations)}: ${JSON.stringify(outcome)}`;
      return outcome;
    },
  };
}

/** Notes every call of the store with what it moved. */
function watched(blobs: BlobStore, work: Work): BlobStore {
  return new Proxy(blobs, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        const [key, second] = args;
        const told =
          second instanceof Uint8Array ? `${second.byteLength} bytes` : name === 'put' ? '' : JSON.stringify(second);
        const place = work.push(`${String(name)} ${key} ${told}`) - 1;
        const answer = value.apply(target, args) as unknown;
        if (answer instanceof Promise)
          return answer.then((result: unknown) => {
            work[place] += `: ${result instanceof Uint8Array ? result.byteLength : JSON.stringify(result)}`;
            return result;
          });
        return isIterable(answer) ? noting(answer, work, place) : answer;
      };
    },
  });
}
const isIterable = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
async function* noting(items: AsyncIterable<unknown>, work: Work, place: number): AsyncGenerator<unknown> {
  for await (const item of items) {
    work[place] += item instanceof Uint8Array ? ` ${item.byteLength}` : ` ${JSON.stringify(item)}`;
    yield item;
  }
}

/** What chance gives depends on the step alone, so the same step is given the same in both archives. */
class SteppedClock extends TestClock {
  #random = 1;
  override randomBytes = (count: number): Uint8Array =>
    Uint8Array.from({ length: count }, () => {
      this.#random = (this.#random * 1_103_515_245 + 12_345) % 2_147_483_648;
      return this.#random >>> 16;
    });
  beginStep(number: number): void {
    this.#random = number + 1;
  }
}

function aMeteredArchive() {
  const work: Work = [];
  const clock = new SteppedClock();
  const index = metered(new MemoryIndexTable(), work);
  const blobs = watched(new MemoryBlobStore(), work);
  const ask = anArchive({ index, blobs, landing: blobs, clock, jobs: new IndexJobQueue(index, clock) });
  /** The answer to a step, and the work that it was. */
  return async (tenant: string, step: Step, number: number): Promise<{ told: string; work: Work }> => {
    clock.beginStep(number);
    work.length = 0;
    const told = await ask(tenant, step);
    return { told, work: [...work] };
  };
}
type Metered = ReturnType<typeof aMeteredArchive>;

/** @returns how many calls were compared */
async function sameWork(alone: Metered, shared: Metered, some: readonly Act[]): Promise<number> {
  let calls = 0;
  for (const [number, [isOurs, ours, theirs]] of some.entries()) {
    if (isOurs) {
      const expected = await alone('a', ours, number);
      expect(await shared('a', ours, number)).toStrictEqual(expected);
      calls += expected.work.length;
    } else {
      await shared('b', theirs, number);
      await alone('nobody', http('GET', '/healthz'), number);
    }
  }
  return calls;
}

test('whatever a tenant does, the other one’s calls are the same work as if it were alone', async () => {
  let calls = 0;
  await fc.assert(
    fc.asyncProperty(acts, async (some) => {
      calls += await sameWork(aMeteredArchive(), aMeteredArchive(), some);
    }),
    { numRuns: 60 },
  );
  expect(calls).toBeGreaterThan(1_000);
});

test('every route that reads is the same work beside a neighbour with a thousand studies of people of the same names', async () => {
  const alone = aMeteredArchive();
  const shared = aMeteredArchive();
  const stored = (n: number, name: string): Step => http('POST', '/dicomweb/studies', () => object(n, name));
  const another = (n: number): Step =>
    http('POST', '/dicomweb/studies', () =>
      buildDicom({
        StudyInstanceUID: uid(5_000 + n),
        SOPInstanceUID: uid(10_000 + n),
        PatientName: 'anna',
        PatientID: 'anna-1',
      }),
    );
  for (let n = 0; n < 1_000; n++) {
    await shared('b', n < 4 ? stored(n, 'anna') : another(n), n);
    await alone('nobody', http('GET', '/healthz'), n);
  }
  const ours: Step[] = [stored(0, 'anna'), stored(1, 'anna'), ...READING];
  expect(
    await sameWork(
      alone,
      shared,
      ours.map((step) => [true, step, step] as const),
    ),
  ).toBeGreaterThan(200);
});

test('the comparison sees a difference: where we hold more ourselves, it is more work', async () => {
  const search = http('GET', '/dicomweb/studies?PatientName=*a*&limit=2');
  const [alone, fuller] = [aMeteredArchive(), aMeteredArchive()];
  await fuller(
    'a',
    http('POST', '/dicomweb/studies', () => object(1, 'anna')),
    0,
  );
  expect((await fuller('a', search, 1)).work).not.toEqual((await alone('a', search, 1)).work);
});
