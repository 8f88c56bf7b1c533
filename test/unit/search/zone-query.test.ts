import { beforeAll, describe, expect, test } from 'vitest';
import type { DataSet } from '#core/dicom/types.ts';
import { searchInstances, searchSeries, searchStudies } from '#dicomweb/search.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask } from '#test/unit/dicomweb/asking.ts';

/** The same evening in New York, at noon in Berlin, and at noon of who knows where. */
const services = memoryServices();
const made = (n: number, StudyTime: string, TimezoneOffsetFromUTC?: string) =>
  buildDicom({
    StudyInstanceUID: uid(n),
    SeriesInstanceUID: uid(n + 1),
    SOPInstanceUID: uid(n + 2),
    StudyDate: '20260102',
    StudyTime,
    SeriesDate: '20260102',
    SeriesTime: StudyTime,
    ContentDate: '20260102',
    ContentTime: StudyTime,
    AcquisitionDateTime: `20260102${StudyTime}`,
    PatientBirthDate: '19700102',
    TimezoneOffsetFromUTC,
  });
const [NEW_YORK, BERLIN, SOMEWHERE] = [950, 960, 970];
beforeAll(async () => {
  for (const object of [made(NEW_YORK, '201530', '-0500'), made(BERLIN, '120000', '+0100'), made(SOMEWHERE, '120000')])
    expect(await store(services, object)).toMatchObject({ kind: 'stored' });
});

const search = async (query: string, handler = searchStudies, params = {}) => {
  const answer = await ask(services, handler, params, { query });
  return { ...answer, rows: answer.status === 200 ? (JSON.parse(answer.body.toString()) as DataSet[]) : [] };
};
const studies = async (query: string, handler = searchStudies): Promise<unknown[]> =>
  (await search(query, handler)).rows.map((row) => row['0020000D']?.Value?.[0]).sort();
const uids = (...numbers: number[]) => numbers.map(uid).sort();

describe('a query that names a time zone', () => {
  test('means dates and times of that zone, and is answered in them', async () => {
    const { rows, headers } = await search('StudyDate=20260103&TimezoneOffsetFromUTC=%2B0100');
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({
      '00080020': { Value: ['20260103'] },
      '00080030': { Value: ['021530'] },
      '00080201': { Value: ['+0100'] },
      '0020000D': { Value: [uid(NEW_YORK)] },
    });
    expect(headers).toMatchObject({ 'x-total-count': '1' });
    expect(headers.warning).toBeUndefined();
    // a blank, as the plus of who did not encode it
    expect(await studies('00080020=20260103&00080201=+0100')).toEqual(uids(NEW_YORK));
  });

  test('has on a day what was made on it there, and what does not say where it was made', async () => {
    expect(await studies('StudyDate=20260102&TimezoneOffsetFromUTC=%2B0100')).toEqual(uids(BERLIN, SOMEWHERE));
    expect(await studies('StudyDate=20260102&TimezoneOffsetFromUTC=-0500')).toEqual(uids(NEW_YORK, BERLIN, SOMEWHERE));
    const night = 'StudyDate=20260102-20260103&StudyTime=200000-060000&TimezoneOffsetFromUTC=%2B0100';
    expect(await studies(night)).toEqual(uids(NEW_YORK));
  });

  test('at every level, moments too', async () => {
    expect(await studies('SeriesDate=20260103&TimezoneOffsetFromUTC=%2B0100', searchSeries)).toEqual(uids(NEW_YORK));
    for (const key of ['ContentDate=20260103', 'AcquisitionDateTime=20260103020000-20260103030000'])
      expect(await studies(`${key}&TimezoneOffsetFromUTC=%2B0100`, searchInstances), key).toEqual(uids(NEW_YORK));
    const { rows } = await search('PatientID=P-1&includefield=SeriesDate&TimezoneOffsetFromUTC=%2B0000', searchSeries);
    const evening = rows.find((row) => row['0020000D']?.Value?.[0] === uid(NEW_YORK));
    expect(evening).toMatchObject({ '00080021': { Value: ['20260103'] }, '00080031': { Value: ['011530'] } });
  });

  test('page by page, and in the order asked for', async () => {
    const query = 'StudyDate=20260102&TimezoneOffsetFromUTC=-0500&limit=1';
    const pages = [];
    for (const offset of [0, 1, 2, 3]) pages.push(await search(`${query}&offset=${offset}`));
    expect(pages.flatMap(({ rows }) => rows.map((row) => row['0020000D']?.Value?.[0])).sort()).toEqual(
      uids(NEW_YORK, BERLIN, SOMEWHERE),
    );
    expect(pages.map(({ rows }) => rows.length)).toEqual([1, 1, 1, 0]);
    // In Berlin it was six in the morning, by that clock.
    const ordered = await search('StudyDate=20260102&TimezoneOffsetFromUTC=-0500&orderby=StudyTime');
    expect(ordered.rows.map((row) => row['00080030']?.Value?.[0])).toEqual(['060000', '120000', '201530']);
  });

  test('without a date moves what it is answered with alone', async () => {
    const { rows, headers } = await search('PatientID=P-1&TimezoneOffsetFromUTC=%2B0000');
    expect(rows.map((row) => row['00080030']?.Value?.[0]).sort()).toEqual(['011530', '110000', '120000']);
    expect(rows.every((row) => row['00100030']?.Value?.[0] === '19700102')).toBe(true);
    expect(headers).toMatchObject({ 'x-total-count': '3' });
  });

  test('that is none is a bad request; none at all leaves values as they stand', async () => {
    expect((await search('StudyDate=20260102&TimezoneOffsetFromUTC=CET')).status).toBe(400);
    expect(await studies('StudyDate=20260103&TimezoneOffsetFromUTC=')).toEqual([]);
    expect(await studies('StudyDate=20260102')).toEqual(uids(NEW_YORK, BERLIN, SOMEWHERE));
  });

  test('reads no more than a request may, and says so', async () => {
    const few = { ...services, limits: { ...services.limits, searchRecords: 2 } };
    const { headers } = await ask(
      few,
      searchStudies,
      {},
      { query: 'StudyTime=020000-030000&TimezoneOffsetFromUTC=%2B0100' },
    );
    expect(headers.warning).toContain('cut');
  });
});
