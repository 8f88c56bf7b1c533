import { beforeEach, expect, test } from 'vitest';
import { damagedObjects, type Problem } from '#core/archive/damage.ts';
import { checkFixity, type FixityOptions, fixityPass } from '#core/archive/fixity.ts';
import { moveToTrash, selectedInstances } from '#core/archive/remove.ts';
import { purgeTrash } from '#core/archive/trash.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

/** Objects that a disk spoils are found without anybody reading them. */

let services: ReturnType<typeof memoryServices>;
const DAY = 24 * 3_600_000;
const FAST: FixityOptions = { everyMs: 30 * DAY, bytesPerSecond: 1e12 };
const NEVER = new AbortController().signal;

beforeEach(async () => {
  services = memoryServices();
  for (let n = 1; n <= 4; n++)
    await store(
      services,
      buildDicom({ StudyInstanceUID: uid(n), SeriesInstanceUID: uid(10 + n), SOPInstanceUID: uid(100 + n) }),
    );
});

const onSleep = (sleep: (ms: number) => Promise<void>): void => {
  Object.assign(services.clock, { sleep });
};
const blobOf = async (n: number): Promise<string> =>
  (await Array.fromAsync(selectedInstances(services, TENANT, [{ StudyInstanceUID: uid(n) }])))[0]!.blobKey;
async function spoil(n: number): Promise<string> {
  const key = await blobOf(n);
  const bytes = Buffer.from(await services.blobs.readBytes(key));
  bytes[bytes.length - 1]! ^= 1;
  await services.blobs.delete(key);
  await services.blobs.put(
    key,
    (async function* () {
      yield bytes;
    })(),
  );
  return key;
}
async function look(options = FAST, signal = NEVER): Promise<Map<string, Problem | undefined>> {
  const seen = new Map<string, Problem | undefined>();
  await checkFixity(
    services,
    TENANT,
    options,
    ({ SOPInstanceUID }, problem) => seen.set(SOPInstanceUID, problem),
    signal,
  );
  return seen;
}
const damaged = async () =>
  (await Array.fromAsync(damagedObjects(services, TENANT))).map(({ SOPInstanceUID, problem }) => [
    SOPInstanceUID,
    problem,
  ]);

test('what was altered and what is gone is found, also in the trash; what is sound is not', async () => {
  await spoil(2);
  await services.blobs.delete(await blobOf(3));
  await spoil(4);
  await moveToTrash(services, TENANT, [{ StudyInstanceUID: uid(4) }], { kind: 'deleted', reason: 'test', by: 'test' });
  const seen = await look();
  expect(Object.fromEntries(seen)).toEqual({
    [uid(101)]: undefined,
    [uid(102)]: 'altered',
    [uid(103)]: 'missing',
    [uid(104)]: 'altered',
  });
  expect((await damaged()).sort()).toEqual([
    [uid(102), 'altered'],
    [uid(103), 'missing'],
    [uid(104), 'altered'],
  ]);
  expect(await fixityPass(services, TENANT)).toMatchObject({ objects: 4, damaged: 3, endedAt: expect.any(Number) });
});

test('the next pass begins when its time has come; what is sound again is taken back', async () => {
  const key = await blobOf(2);
  const sound = await services.blobs.readBytes(key);
  await spoil(2);
  await look();
  services.clock.advance(29 * DAY);
  expect((await look()).size).toBe(0);
  await services.blobs.delete(key);
  await services.blobs.put(
    key,
    (async function* () {
      yield sound;
    })(),
  );
  services.clock.advance(2 * DAY);
  expect((await look()).size).toBe(4);
  expect(await damaged()).toEqual([]);
});

test('what was damaged and has been purged since is forgotten', async () => {
  await spoil(2);
  await look();
  expect(await damaged()).toHaveLength(1);
  const trash = await moveToTrash(services, TENANT, [{ StudyInstanceUID: uid(2) }], {
    kind: 'deleted',
    reason: 'test',
    by: 'test',
  });
  services.clock.advance(31 * DAY);
  expect(await purgeTrash(services, TENANT)).toBe(1);
  expect(trash.instanceCount).toBe(1);
  await look();
  expect(await damaged()).toEqual([]);
});

test('what is removed for good while it is looked at is not damaged', async () => {
  const key = await blobOf(2);
  onSleep(async (ms) => {
    // Between the first look, which does not find the bytes, and the second.
    const [instance] = await Array.fromAsync(selectedInstances(services, TENANT, [{ StudyInstanceUID: uid(2) }]));
    if (instance !== undefined) {
      await moveToTrash(services, TENANT, [{ StudyInstanceUID: uid(2) }], {
        kind: 'deleted',
        reason: 'test',
        by: 'test',
      });
      services.clock.advance(31 * DAY);
      await purgeTrash(services, TENANT);
    }
    services.clock.advance(ms);
  });
  await services.blobs.delete(key);
  const seen = await look();
  expect(seen.get(uid(102))).toBeUndefined();
  expect(await damaged()).toEqual([]);
});

test('it is read no faster than it may be', async () => {
  const { bytes } = await look().then(async () => (await fixityPass(services, TENANT))!);
  services.clock.advance(31 * DAY);
  const slept: number[] = [];
  onSleep(async (ms) => {
    slept.push(ms);
    services.clock.advance(ms);
  });
  const before = services.clock.now();
  await look({ ...FAST, bytesPerSecond: 100 });
  expect(services.clock.now() - before).toBeGreaterThanOrEqual((bytes / 100) * 1_000 - 60);
  expect(slept.length).toBeGreaterThan(2);
});

test('small objects count for more than their bytes: reading them is work, too', async () => {
  onSleep(async (ms) => services.clock.advance(ms));
  const before = services.clock.now();
  await look({ ...FAST, bytesPerSecond: 128 * 1024 });
  expect(services.clock.now() - before).toBeGreaterThanOrEqual(3_900);
});

test('broken off, it goes on where it was; of two processes one works on it', async () => {
  const stop = new AbortController();
  const seen = new Set<string>();
  onSleep(async (ms) => services.clock.advance(ms));
  const slow = { ...FAST, bytesPerSecond: 10 };
  await checkFixity(
    services,
    TENANT,
    slow,
    ({ SOPInstanceUID }) => {
      seen.add(SOPInstanceUID);
      if (seen.size === 2) stop.abort();
    },
    stop.signal,
  );
  expect(seen.size).toBe(2);
  expect(await fixityPass(services, TENANT)).not.toHaveProperty('endedAt');
  // It may live still.
  expect((await look()).size).toBe(0);
  services.clock.advance(61_000);
  const rest = await look();
  for (const sop of rest.keys()) seen.add(sop);
  expect(seen.size).toBe(4);
  expect(rest.size).toBeLessThan(4);
  expect(await fixityPass(services, TENANT)).toMatchObject({ endedAt: expect.any(Number), damaged: 0 });
});

test('who was taken for dead, and is not, leaves it to the other', async () => {
  let others: Map<string, Problem | undefined> | undefined;
  onSleep(async (ms) => services.clock.advance(ms));
  const seen: string[] = [];
  await checkFixity(
    services,
    TENANT,
    FAST,
    ({ SOPInstanceUID }) => {
      seen.push(SOPInstanceUID);
      services.clock.advance(61_000);
    },
    NEVER,
  );
  expect(seen).toHaveLength(4);
  services.clock.advance(31 * DAY);
  seen.length = 0;
  const index = services.index.write;
  services.index.write = async (...given) => {
    const outcome = await index.apply(services.index, given);
    // The other one comes as soon as this one has noted where it is, long ago by its clock.
    if (others === undefined && seen.length === 1) {
      others = new Map();
      services.clock.advance(61_000);
      others = await look();
    }
    return outcome;
  };
  await checkFixity(
    services,
    TENANT,
    FAST,
    ({ SOPInstanceUID }) => {
      seen.push(SOPInstanceUID);
      services.clock.advance(11_000);
    },
    NEVER,
  );
  expect(others?.size).toBeGreaterThan(0);
  expect(seen.length).toBeLessThan(4);
});
