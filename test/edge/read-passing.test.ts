import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { keys } from '#core/archive/records.ts';
import { COMMAND } from '#dimse/command-set.ts';
import type { RetrieveReport } from '#dimse/scu.ts';
import { createDimseServer, type DimseServer } from '#dimse/server.ts';
import { Passing } from '#edge/read/passing.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { cMove, dataSetOf, eventually, key, putUpstream, type Site, startSite, TENANT } from './read-site.ts';

const LARGE_BYTES = 12_000_000;
let site: Site | undefined;
let receiver: Receiver | undefined;
afterEach(async () => {
  vi.restoreAllMocks();
  await site?.close();
  await receiver?.server.close(0);
  site = receiver = undefined;
});

const large = (n: number): Uint8Array => {
  const side = Math.ceil(Math.sqrt(LARGE_BYTES / 2));
  return buildDicom(
    {
      StudyInstanceUID: uid(61),
      SeriesInstanceUID: uid(610),
      SOPInstanceUID: uid(6100 + n),
      Rows: side,
      Columns: side,
    },
    { frames: [Buffer.alloc(side * side * 2, n + 1)] },
  );
};

/** A workstation that tells how far an object has come. */
interface Receiver {
  readonly server: DimseServer;
  /** bytes of each, whole or not */
  readonly came: Map<string, number>;
  readonly whole: Map<string, Buffer>;
  /** it hangs up after so many bytes of an object, once */
  hangsUpAfterBytes: number | undefined;
}

async function open(more: Record<string, unknown> = {}): Promise<void> {
  const came = new Map<string, number>();
  const whole = new Map<string, Buffer>();
  const server = createDimseServer({
    aeTitle: 'READER',
    checkCalledAETitle: false,
    allowed: 'any',
    maxAssociations: 10,
    policy: { acceptUnknownSopClasses: true, services: new Set() },
    services: new Map([
      [
        COMMAND.cStore,
        async ({ command, dataSet, respond, session }) => {
          const chunks: Buffer[] = [];
          const sop = command.AffectedSOPInstanceUID!;
          for await (const chunk of dataSet!) {
            chunks.push(Buffer.from(chunk));
            came.set(sop, (came.get(sop) ?? 0) + chunk.byteLength);
            if (made.hangsUpAfterBytes !== undefined && came.get(sop)! > made.hangsUpAfterBytes) {
              made.hangsUpAfterBytes = undefined;
              session.abort();
            }
          }
          whole.set(sop, Buffer.concat(chunks));
          await respond({ Status: 0 });
        },
      ],
    ]),
  });
  server.server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
  const made: Receiver = { server, came, whole, hangsUpAfterBytes: undefined };
  receiver = made;
  const port = (server.server.address() as AddressInfo).port;
  site = await startSite({ moveDestinations: [{ aeTitle: 'READER', host: '127.0.0.1', port }], ...more });
}

const isHere = async (n: number): Promise<boolean> =>
  (await site!.gateway.services.index.get(keys.sop(TENANT, uid(6100 + n)))) !== undefined;
const move = (): Promise<RetrieveReport> =>
  cMove(site!, 'STUDY', { '0020000D': key('UI', uid(61)) }, { destination: 'READER' });
const blobsHere = async (): Promise<string[]> => {
  const found: string[] = [];
  for await (const { key: name } of site!.gateway.services.blobs.list(`${TENANT}/`))
    if (name.endsWith('.dcm')) found.push(name);
  return found;
};

test('a large object is on its way to the workstation before it is in the cache, and is in both in the end', async () => {
  await open();
  await putUpstream(site!, [large(0)]);
  site!.line.holdsAfterBytes = 6_000_000;
  const moved = move();
  await eventually('half of it has come', () => (receiver!.came.get(uid(6100)) ?? 0) > 4_000_000);
  expect(await isHere(0)).toBe(false);
  site!.line.letGo();
  expect(await moved).toMatchObject({ status: 0, completed: 1, failed: 0 });
  expect(receiver!.whole.get(uid(6100))!.equals(dataSetOf(large(0)))).toBe(true);
  expect(await isHere(0)).toBe(true);
  // The next one is served from here.
  await site!.line.set('refused');
  receiver!.whole.clear();
  expect(await move()).toMatchObject({ status: 0, completed: 1 });
  expect(receiver!.whole.get(uid(6100))!.equals(dataSetOf(large(0)))).toBe(true);
});

test('the workstation has all of an object when it is in the cache, and not before', async () => {
  await open();
  await putUpstream(site!, [large(0)]);
  const { promise: mayCommit, resolve: letCommit } = Promise.withResolvers<void>();
  const { commits } = site!.gateway.services;
  const commit = commits.commit.bind(commits);
  const commitLater = vi.spyOn(commits, 'commit').mockImplementation(async (prepared) => {
    await mayCommit;
    return commit(prepared);
  });
  const moved = move();
  try {
    await eventually('it is about to be committed', () => commitLater.mock.calls.length > 0);
    const all = dataSetOf(large(0)).length;
    await eventually('nearly all of it has come', () => receiver!.came.get(uid(6100))! > all - 1_000_000);
    expect(receiver!.whole.size).toBe(0);
    expect(await isHere(0)).toBe(false);
  } finally {
    letCommit();
  }
  expect(await moved).toMatchObject({ status: 0, completed: 1, failed: 0 });
  expect(receiver!.whole.get(uid(6100))!.equals(dataSetOf(large(0)))).toBe(true);
});

test('a line that breaks in the middle costs neither the association nor a byte', async () => {
  await open();
  await putUpstream(site!, [large(0)]);
  site!.line.breaksAfterBytes = 6_000_000;
  expect(await move()).toMatchObject({ status: 0, completed: 1, failed: 0 });
  expect(receiver!.whole.get(uid(6100))!.equals(dataSetOf(large(0)))).toBe(true);
  expect(receiver!.came.get(uid(6100))).toBe(dataSetOf(large(0)).length);
  expect(await isHere(0)).toBe(true);
});

// The half minute counted from the first break, however much had come since: a long object had few breaks.
test('a line that breaks again and again, minutes later, costs no more', async () => {
  const { now } = Date;
  let aheadMs = 0;
  vi.spyOn(Date, 'now').mockImplementation(() => now() + aheadMs);
  await open();
  await putUpstream(site!, [large(0)]);
  const { line } = site!;
  line.breaksAfterBytes = 3_000_000;
  // Of the second attempt half comes, for now, and of the third three quarters.
  line.holdsAfterBytes = 3_000_000 + 6_000_000;
  const moved = move();
  for (const goneOnBytes of [4_000_000, 7_000_000]) {
    await eventually('it has gone on where it broke off', () => (receiver!.came.get(uid(6100)) ?? 0) > goneOnBytes);
    expect(line.breaksAfterBytes).toBeUndefined();
    aheadMs += 60_000;
    line.breaksAfterBytes = 1;
    line.letGo();
    if (goneOnBytes < 7_000_000) line.holdsAfterBytes = 9_000_000;
  }
  expect(await moved).toMatchObject({ status: 0, completed: 1, failed: 0 });
  expect(line.breaksAfterBytes).toBeUndefined();
  expect(receiver!.whole.get(uid(6100))!.equals(dataSetOf(large(0)))).toBe(true);
});

test('a workstation that hangs up in the middle keeps nothing from the cache', async () => {
  await open();
  await putUpstream(site!, [large(0), large(1)]);
  receiver!.hangsUpAfterBytes = 3_000_000;
  const report = await move();
  expect(report.failed).toBeGreaterThan(0);
  await eventually('both are here', async () => (await isHere(0)) && (await isHere(1)));
  expect(await move()).toMatchObject({ status: 0, completed: 2 });
  for (const n of [0, 1]) expect(receiver!.whole.get(uid(6100 + n))!.equals(dataSetOf(large(n)))).toBe(true);
});

test('an upstream that is gone for good: the object has failed, and no half of it stays', {
  timeout: 240_000,
}, async () => {
  await open();
  await putUpstream(site!, [large(0)]);
  site!.line.holdsAfterBytes = 6_000_000;
  const moved = move();
  await eventually('half of it has come', () => (receiver!.came.get(uid(6100)) ?? 0) > 4_000_000);
  await site!.line.set('refused');
  // Half a minute is waited for the rest of it: by a clock that runs fast.
  const { now } = Date;
  const begunAt = now();
  vi.spyOn(Date, 'now').mockImplementation(() => begunAt + 60 * (now() - begunAt));
  expect(await moved).toMatchObject({ completed: 0, failed: 1, failedUIDs: [uid(6100)] });
  expect(receiver!.whole.size).toBe(0);
  expect(await isHere(0)).toBe(false);
  expect(await blobsHere()).toEqual([]);
});

test('an object that comes back otherwise is not put together from two', async () => {
  let passing: Passing | undefined;
  const chunks = (object: Uint8Array, end = object.length): AsyncGenerator<Uint8Array> =>
    (async function* () {
      for (let at = 0; at < end; at += 65_536) yield object.subarray(at, Math.min(at + 65_536, end));
      if (end < object.length) throw new Error('torn');
    })();
  const stored = async (source: AsyncIterable<Uint8Array>): Promise<void> => {
    for await (const _ of source);
  };
  const taken: number[] = [];
  let reading: Promise<void> | undefined;
  const first = Passing.through(
    chunks(large(0), 4_000_000),
    () => undefined,
    (one) => {
      passing = one;
      reading = (async () => {
        for await (const chunk of one.take()!) taken.push(chunk.length);
      })();
      reading.catch(() => {});
    },
    (one) => one.end(),
  );
  await expect(stored(first)).rejects.toThrow('torn');
  expect(passing!.isTaken).toBe(true);
  await stored(
    Passing.through(
      chunks(large(1)),
      () => passing,
      () => {},
      (one) => one.end(),
    ),
  );
  await expect(reading).rejects.toMatchObject({ code: 'BUSY' });
  expect(taken.reduce((sum, one) => sum + one, 0)).toBeLessThan(4_000_000);
});
