import { describe, expect, test } from 'vitest';
import { settleStudy } from '#core/archive/quiet.ts';
import { rebuildIndex } from '#core/archive/rebuild.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { restoreFromTrash } from '#core/archive/restore-from-trash.ts';
import { applyTiers } from '#core/archive/tier-policy.ts';
import { readTierSteps } from '#core/configuration.ts';
import { ServedCounts } from '#core/costs/served.ts';
import { readUsage } from '#core/costs/usage.ts';
import { PacsError } from '#core/errors.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, studyRecord, TENANT } from '#test/fixtures/services.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const SMALL_BYTES = 2_000;

/** One series for each modality. */
const seriesOf = (study: number, modality: string): string =>
  uid(1_000 * study + modality.length * 7 + modality.charCodeAt(0));

/** A clinic on the last day of January 2024. */
function clinic(tiers = '') {
  const services = memoryServices({
    policy: { tiers: readTierSteps({ TIERS: tiers }, 'TIERS') },
    limits: { tierLeastBytes: SMALL_BYTES },
  });
  const quiet = async (study: string) => {
    services.clock.advance(services.limits.studyQuietMs);
    return settleStudy(services, TENANT, study);
  };
  let n = 0;
  /** @returns bytes of what was stored */
  const send = async (study: number, images: readonly { readonly modality?: string; readonly bytes?: number }[]) => {
    let size = 0;
    for (const { modality = 'CT', bytes = 4_000 } of images) {
      n++;
      const object = buildDicom({
        StudyInstanceUID: uid(study),
        SeriesInstanceUID: seriesOf(study, modality),
        SOPInstanceUID: uid(10_000 + n),
        Modality: modality,
        PixelData: new Uint8Array(bytes).fill(n),
      });
      expect((await store(services, object)).kind).toBe('stored');
      size += object.byteLength;
    }
    expect(await quiet(uid(study))).toBe('quiet');
    return size;
  };
  const months = async (count = 4) => (await readUsage(services, TENANT, count)).months;
  const now = async () => (await months()).at(-1)!;
  const days = (count: number) => services.clock.advance(count * DAY_MS);
  const remove = (study: number, more: object = {}) =>
    moveToTrash(services, TENANT, [{ StudyInstanceUID: uid(study), ...more }], {
      kind: 'deleted',
      reason: 'sent twice',
      by: 'mila',
    });
  return { services, send, quiet, months, now, days, remove };
}

describe('what a clinic stores', () => {
  test('is counted by month and modality once a study is quiet, and growth is what came less what went', async () => {
    const { services, send, months, days, remove, quiet } = clinic();
    const ct = await send(1, [{}, {}, { modality: 'SR', bytes: 10 }]);
    const mr = await send(2, [{ modality: 'MR' }]);
    days(20);
    const xa = await send(3, [{ modality: 'XA' }]);
    await remove(2);
    days(20);
    const [december, january, february, march] = await months();
    expect(december).toMatchObject({ month: '202312', stored: { studies: 0, objects: 0, bytes: 0 }, cells: [] });
    expect(january).toMatchObject({
      month: '202401',
      stored: { studies: 2, objects: 4, bytes: ct + mr },
      added: { studies: 2, objects: 4, bytes: ct + mr },
      removed: { studies: 0, objects: 0, bytes: 0 },
    });
    expect(january!.cells.map(({ tier, modality, objects }) => `${tier} ${modality} ${objects}`)).toEqual([
      'default CT 2',
      'default MR 1',
      'default SR 1',
    ]);
    expect(february).toMatchObject({
      month: '202402',
      stored: { studies: 2, objects: 4, bytes: ct + xa },
      added: { studies: 1, objects: 1, bytes: xa },
      removed: { studies: 1, objects: 1, bytes: mr },
    });
    expect(march).toMatchObject({ stored: { bytes: ct + xa }, added: { bytes: 0 }, removed: { bytes: 0 } });
    expect(await quiet(uid(1))).toBe('quiet');
    expect((await readUsage(services, TENANT, 1)).uncountedStudies).toBe(0);
  });

  test('is counted once, however often the work on a quiet study is done, and again when something came', async () => {
    const { services, send, quiet, now } = clinic();
    const first = await send(1, [{}]);
    for (let again = 0; again < 3; again++) await quiet(uid(1));
    expect((await now()).stored).toEqual({ studies: 1, objects: 1, bytes: first });
    const more = await send(1, [{}, { modality: 'PR', bytes: 10 }]);
    expect((await now()).stored).toEqual({ studies: 1, objects: 3, bytes: first + more });
    expect((await now()).removed).toEqual({ studies: 0, objects: 0, bytes: 0 });
    expect((await studyRecord(services, uid(1)))?.counted).toMatchObject({ month: '202401' });
  });

  test('is not counted while images still come, and said to be missing', async () => {
    const { services, now } = clinic();
    await store(services, buildDicom({ StudyInstanceUID: uid(1) }));
    expect((await now()).stored.studies).toBe(0);
    expect((await readUsage(services, TENANT, 1)).uncountedStudies).toBe(1);
  });

  test('loses an image that is deleted, and has a study back that is restored from the trash', async () => {
    const { services, send, now, remove, quiet } = clinic();
    const bytes = await send(1, [{}, { modality: 'SR' }]);
    await remove(1, { SeriesInstanceUID: seriesOf(1, 'CT'), SOPInstanceUID: uid(10_001) });
    await quiet(uid(1));
    expect((await now()).stored).toMatchObject({ studies: 1, objects: 1 });
    expect((await now()).removed).toMatchObject({ studies: 0, objects: 1 });
    const trash = await remove(1);
    expect((await now()).stored).toEqual({ studies: 0, objects: 0, bytes: 0 });
    expect((await now()).removed).toEqual({ studies: 1, objects: 2, bytes });
    expect(await restoreFromTrash(services, TENANT, trash.id)).toMatchObject({ restored: 1 });
    await quiet(uid(1));
    expect((await now()).stored).toMatchObject({ studies: 1, objects: 1 });
    expect((await now()).cells.map(({ modality }) => modality)).toEqual(['SR']);
  });

  test('has no more modalities than the standard has terms, whatever senders write', async () => {
    const { send, now } = clinic();
    await send(1, [{ modality: 'XYZZY' }, { modality: 'PLUGH' }, { modality: 'US' }]);
    const { cells } = await now();
    expect(cells.map(({ modality, objects }) => [modality, objects])).toEqual([
      ['other', 2],
      ['US', 1],
    ]);
  });

  test('is another tenant’s business alone', async () => {
    const { services, send } = clinic();
    await send(1, [{}]);
    const { months, ages, uncountedStudies } = await readUsage(services, 'other-clinic', 2);
    expect(months.map(({ stored }) => stored.objects)).toEqual([0, 0]);
    expect([ages, uncountedStudies]).toEqual([[], 0]);
  });

  test('is read from four pages of counters, however much it is', async () => {
    const { services, send } = clinic();
    for (let study = 1; study <= 12; study++) await send(study, [{}, {}]);
    const { index } = services;
    const asked: string[] = [];
    const { query } = index;
    index.query = (range, meter) => {
      asked.push(range.partition);
      return query.call(index, range, meter);
    };
    expect((await readUsage(services, TENANT, 120)).months).toHaveLength(120);
    expect(asked).toHaveLength(4);
  });
});

describe('tiers', () => {
  test('take over what a step moves, but for small objects; what comes later stands in none', async () => {
    const { services, send, now, days } = clinic('cold:90,deep:365');
    await send(1, [{}, {}, { modality: 'SR', bytes: 10 }]);
    days(90);
    const night = () => applyTiers(services, TENANT, () => false);
    const shown = async () =>
      (await now()).cells.map(({ tier, modality, objects }) => `${tier} ${modality} ${objects}`);
    expect(await night()).toMatchObject({ moved: 1 });
    expect(await shown()).toEqual(['cold CT 2', 'default SR 1']);
    await send(1, [{}]);
    expect(await shown()).toEqual(['cold CT 2', 'default CT 1', 'default SR 1']);
    expect((await now()).added).toMatchObject({ objects: 1 });
    days(365);
    await night();
    expect(await shown()).toEqual(['cold CT 3', 'default SR 1']);
    days(365);
    await night();
    expect(await shown()).toEqual(['deep CT 3', 'default SR 1']);
    expect((await now()).stored.studies).toBe(1);
  });

  test('are counted right after a night that broke off behind the objects', async () => {
    const { services, send, now, days } = clinic('cold:90');
    await send(1, [{}, {}]);
    days(90);
    const { write } = services.index;
    let writes = 0;
    services.index.write = (operations) => {
      // The count is written, and then the note that the step was taken is not.
      if (++writes === 2) return Promise.reject(new PacsError('BUSY', 'throttled'));
      return write.call(services.index, operations);
    };
    expect(await applyTiers(services, TENANT, () => false)).toMatchObject({ failed: 1 });
    services.index.write = write;
    expect(await applyTiers(services, TENANT, () => false)).toMatchObject({ moved: 1 });
    expect((await now()).cells).toMatchObject([{ tier: 'cold', modality: 'CT', objects: 2 }]);
  });
});

test('an index that is made anew counts each study in the month of its last image', async () => {
  const { services, send, days } = clinic();
  await send(1, [{}, {}]);
  days(10);
  const bytes = await send(2, [{ modality: 'MG' }]);
  days(30);
  const anew = memoryServices({ ports: { blobs: services.blobs, clock: services.clock } });
  await rebuildIndex(anew, TENANT);
  const { months, uncountedStudies } = await readUsage(anew, TENANT, 3);
  expect(months.map(({ month, stored }) => [month, stored.studies])).toEqual([
    ['202401', 1],
    ['202402', 2],
    ['202403', 2],
  ]);
  expect(months[1]).toMatchObject({ added: { studies: 1, bytes } });
  expect(uncountedStudies).toBe(0);
  services.clock.advance(services.limits.studyQuietMs);
  expect(await settleStudy(anew, TENANT, uid(1))).toBe('quiet');
  expect((await readUsage(anew, TENANT, 1)).months.at(-1)).toMatchObject({
    added: { objects: 0 },
    removed: { objects: 0 },
  });
});

describe('what is served', () => {
  test('is gathered, and written for the tenant that asked', async () => {
    const { services, now } = clinic();
    const served = new ServedCounts(services);
    served.count(TENANT, 1_000);
    served.count(TENANT, 24);
    served.count('other-clinic', 5);
    expect((await now()).served).toBeUndefined();
    await served.flush();
    await served.flush();
    expect((await now()).served).toEqual({ requests: 2, bytes: 1_024 });
  });

  test('is kept for the next time while the index is busy', async () => {
    const { services, now } = clinic();
    const served = new ServedCounts(services);
    served.count(TENANT, 10);
    const { write } = services.index;
    services.index.write = () => Promise.reject(new PacsError('BUSY', 'throttled'));
    await served.flush();
    services.index.write = write;
    served.count(TENANT, 1);
    await served.flush();
    expect((await now()).served).toEqual({ requests: 2, bytes: 11 });
  });
});
