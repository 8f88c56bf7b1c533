import { describe, expect, test } from 'vitest';
import { recordMove } from '#core/archive/moves.ts';
import { settleStudy } from '#core/archive/quiet.ts';
import { keys, type SeriesRecord } from '#core/archive/records.ts';
import { enrolStudies } from '#core/archive/tier-enrolment.ts';
import { applyTiers } from '#core/archive/tier-policy.ts';
import { tierKeys } from '#core/archive/tier-records.ts';
import { assemble } from '#core/assemble.ts';
import { ConfigError, readTierSteps } from '#core/configuration.ts';
import { PacsError } from '#core/errors.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const never = (): boolean => false;
const SMALL_BYTES = 2_000;
const [STUDY, SERIES] = [uid(1), uid(2)];

/** An archive whose policy is 90 days to `cold`, and a year, of studies at least two years old, to `deep`. */
async function archive(tiers = 'cold:90,deep:365:730') {
  const services = memoryServices({
    policy: { tiers: readTierSteps({ TIERS: tiers }, 'TIERS') },
    limits: { tierLeastBytes: SMALL_BYTES },
  });
  const { clock, blobs } = services;
  const add = async (n: number, study = STUDY, StudyDate = '20240110') => {
    const pixels = new Uint8Array(n === 9 ? 10 : 4_000).fill(n);
    const bytes = buildDicom({ StudyInstanceUID: study, SOPInstanceUID: uid(100 + n), StudyDate, PixelData: pixels });
    expect((await store(services, bytes)).kind).toBe('stored');
    clock.advance(services.limits.studyQuietMs);
    expect(await settleStudy(services, TENANT, study)).toBe('quiet');
  };
  const read = async (of = services) => {
    const { response } = await new Router(of, '/dicomweb', DICOMWEB_ROUTES).handle({
      method: 'GET',
      path: `/dicomweb/studies/${STUDY}/metadata`,
      query: new URLSearchParams(),
      headers: { accept: 'application/dicom+json' },
      origin: 'http://pacs.test',
      principal: { tenant: TENANT, subject: 'test', roles: ['retriever'] },
      body: (async function* () {})(),
    });
    expect(response.status).toBe(200);
  };
  const night = () => applyTiers(services, TENANT, never);
  const days = (count: number) => clock.advance(count * DAY_MS);
  const tiersOf = () => [...blobs.tiers.values()].toSorted();
  return { services, add, read, night, days, tiersOf };
}

describe('a study that nobody reads', () => {
  test('goes down step by step, when it is idle and old enough; what is small stays', async () => {
    const { add, night, days, tiersOf } = await archive();
    for (const n of [1, 2, 9]) await add(n);
    days(89);
    expect(await night()).toStrictEqual({ moved: 0, kept: 0, failed: 0, finished: true });
    days(1);
    expect(await night()).toMatchObject({ moved: 1 });
    expect(tiersOf()).toStrictEqual(['cold', 'cold']);
    expect(await night()).toMatchObject({ moved: 0, kept: 0 });
    days(275);
    expect(await night()).toMatchObject({ moved: 0, kept: 1 }); // idle for a year, and not two years old
    expect(await night()).toMatchObject({ moved: 0, kept: 0 }); // it is looked at again when it is
    days(365);
    expect(await night()).toMatchObject({ moved: 1 });
    expect(tiersOf()).toStrictEqual(['deep', 'deep']);
    days(1_000);
    expect(await night()).toMatchObject({ moved: 0, kept: 0 });
  });

  test('waits anew once it is read, and when something is stored into it', async () => {
    const { add, read, night, days, tiersOf } = await archive();
    await add(1);
    days(60);
    await read();
    days(30);
    expect(await night()).toMatchObject({ moved: 0, kept: 1 });
    days(59);
    expect(await night()).toMatchObject({ moved: 0, kept: 0 });
    days(1);
    expect(await night()).toMatchObject({ moved: 1 });
    await add(2);
    expect(tiersOf()).toStrictEqual(['cold']);
    days(90);
    expect(await night()).toMatchObject({ moved: 1 });
    expect(tiersOf()).toStrictEqual(['cold', 'cold']);
  });

  test('is left for the next night when the time is over, or the store is throttled', async () => {
    const { services, add, night, days, tiersOf } = await archive();
    await add(1);
    days(90);
    expect(await applyTiers(services, TENANT, () => true)).toMatchObject({ moved: 0, finished: false });
    const { setTier } = services.blobs;
    services.blobs.setTier = () => Promise.reject(new PacsError('BUSY', 'throttled'));
    expect(await night()).toMatchObject({ moved: 0, failed: 1 });
    services.blobs.setTier = setTier;
    expect(await night()).toMatchObject({ moved: 1 });
    expect(tiersOf()).toStrictEqual(['cold']);
  });

  test('that has been removed is forgotten', async () => {
    const { services, add, night, days } = await archive();
    await add(1);
    await services.index.write([{ kind: 'delete', key: keys.study(TENANT, STUDY) }]);
    days(90);
    expect(await night()).toMatchObject({ moved: 0, kept: 1 });
    const { partition } = tierKeys.idle(TENANT, '', '', '');
    expect((await services.index.query({ partition, limit: 10 })).records).toStrictEqual([]);
  });
});

test('the last access is written once a day and study, however many functions read how often', async () => {
  const { services, add, read, days } = await archive();
  await add(1);
  const writes: string[] = [];
  const { index } = services;
  const { write } = index;
  index.write = (operations) => {
    for (const { kind } of operations.filter((one) => 'key' in one && one.key.partition.includes('|access|')))
      writes.push(kind);
    return write.call(index, operations);
  };
  const functions = [services, { ...assemble(services, services) }, { ...assemble(services, services) }] as const;
  for (let i = 0; i < 3; i++) for (const one of functions) await read(one as typeof services);
  expect(writes).toHaveLength(1);
  days(1);
  for (const one of functions) await read(one as typeof services);
  expect(writes).toHaveLength(2);
});

test('without a policy nothing is noted, and nothing waits', async () => {
  const { services, add, read, night } = await archive('');
  await add(1);
  await read();
  expect(await services.index.get(tierKeys.access(TENANT, STUDY))).toBeUndefined();
  expect(await services.index.get(tierKeys.tier(TENANT, STUDY))).toBeUndefined();
  expect(await night()).toMatchObject({ moved: 0 });
});

test.each(['deep', 'deep:', 'deep:x', 'Deep:1', 'deep:1:2:3'])('%s is no step of a policy', (text) => {
  expect(() => readTierSteps({ TIERS: text }, 'TIERS')).toThrow(ConfigError);
});

describe('what the store tells of its moves', () => {
  const moved = async () => {
    const { services, add } = await archive();
    for (const n of [1, 2, 3]) await add(n);
    const { partition } = keys.instance(TENANT, STUDY, SERIES, '');
    const page = await services.index.query({ partition, limit: 10 });
    const blobKeys = page.records.map(({ item }) => String(item.blobKey));
    const state = async () => {
      const item = await services.index.get(keys.series(TENANT, STUDY, SERIES));
      return asRecord<SeriesRecord>(item!).availability;
    };
    const tell = (key: string, told: 'ONLINE' | 'OFFLINE') => recordMove(services, [TENANT], key, told);
    return { services, blobKeys, state, tell };
  };

  test('its series is away with the first object that is, and back with the last', async () => {
    const { services, blobKeys, state, tell } = await moved();
    services.blobs.archive(`${TENANT}/${STUDY}/`);
    for (const key of blobKeys) await tell(key, 'OFFLINE');
    expect(await state()).toBe('OFFLINE');
    await services.blobs.restore(blobKeys[1]!);
    services.blobs.finishRestores();
    expect(await tell(blobKeys[1]!, 'ONLINE')).toBe('OFFLINE');
    for (const key of blobKeys) await services.blobs.restore(key);
    services.blobs.finishRestores();
    expect(await tell(blobKeys[0]!, 'ONLINE')).toBe('ONLINE');
    expect(await state()).toBe('ONLINE');
  });

  test('late, doubled or wrong, it changes nothing that is true', async () => {
    const { blobKeys, state, tell } = await moved();
    await tell(blobKeys[0]!, 'OFFLINE'); // it is at hand
    await tell(blobKeys[0]!, 'ONLINE');
    expect(await state()).toBe('ONLINE');
    for (const key of ['', 'a/b', `other/${STUDY}/${SERIES}/${uid(101)}.1.dcm`, `${TENANT}/1/2/3.4.dcm`])
      expect(await tell(key, 'OFFLINE')).toBeUndefined();
  });
});

describe('a policy that is laid down when there are studies already', () => {
  /** The same archive with another policy, as the next deployment has it. */
  const under = (services: Awaited<ReturnType<typeof archive>>['services'], tiers: string) =>
    assemble(services, {
      policy: { tiers: readTierSteps({ TIERS: tiers }, 'TIERS') },
      limits: { tierLeastBytes: SMALL_BYTES },
    });

  test('takes them in, by when they were last stored into, and those that came while there was none again', async () => {
    const { services, add, days, tiersOf } = await archive('');
    await add(1);
    days(100);
    const cold = under(services, 'cold:90');
    expect(await enrolStudies(cold, TENANT, never)).toBe(1);
    expect(await enrolStudies(cold, TENANT, never)).toBe(0);
    expect(await applyTiers(cold, TENANT, never)).toMatchObject({ moved: 1 });
    expect(tiersOf()).toStrictEqual(['cold']);
    // switched off, and on again
    expect(await enrolStudies(services, TENANT, never)).toBe(0);
    await add(3, uid(7));
    expect(await enrolStudies(cold, TENANT, never)).toBe(1);
    expect(await applyTiers(cold, TENANT, never)).toMatchObject({ moved: 0 });
  });

  test('goes on the next night where its time was over, and looks again after a month', async () => {
    const { services, add, days } = await archive('');
    for (let n = 0; n < 130; n++) await add(10 + n, uid(1_000 + n));
    const cold = under(services, 'cold:90');
    let calls = 0;
    expect(await enrolStudies(cold, TENANT, () => ++calls > 1)).toBe(100);
    expect(await enrolStudies(cold, TENANT, never)).toBe(30);
    await services.index.write([{ kind: 'delete', key: tierKeys.tier(TENANT, uid(1_007)) }]);
    expect(await enrolStudies(cold, TENANT, never)).toBe(0);
    days(30);
    expect(await enrolStudies(cold, TENANT, never)).toBe(1);
  });
});
