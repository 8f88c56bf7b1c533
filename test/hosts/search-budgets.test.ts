import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { newReadMeter, type ReadMeter } from '#core/ports/index-table.ts';
import { searchInstanceRecords } from '#core/search/instances.ts';
import { STUDY_ROWS, withPatientCounts } from '#core/search/patient-counts.ts';
import { parseQuery } from '#core/search/query.ts';
import { searchSeriesRecords } from '#core/search/series.ts';
import { searchStudyRecords } from '#core/search/studies.ts';
import type { Services } from '#core/services.ts';
import { TestClock } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';
import { storeSynthetic, syntheticStudy } from '#test/fixtures/study-corpus.ts';

/** Every row of docs/search-budgets.md, counted at several sizes of the archive. */

const SIZES = process.env.NEPHOS_LONG_TESTS ? [1_000, 20_000, 100_000] : [1_000, 20_000];
const TENANT = 'main';

const ROWS = readFileSync('docs/search-budgets.md', 'utf8')
  .split('\n')
  .map((line) => /^\| `(\/[^`]+)` \| (\d+) \| (\d+) \| (yes|no) \|/.exec(line))
  .filter((match) => match !== null)
  .map(([, url, records, calls, flat]) => ({
    url: url as string,
    records: Number(records),
    calls: Number(calls),
    flat: flat === 'yes',
  }));

const indexes = new Map<number, MemoryIndexTable>();

beforeAll(async () => {
  for (const size of SIZES) {
    const index = new MemoryIndexTable();
    await storeSynthetic(index, TENANT, Iterator.from(Array(size).keys()).map(syntheticStudy));
    indexes.set(size, index);
  }
}, 1_800_000);

async function search(
  url: string,
  size: number,
): Promise<{ meter: ReadMeter; found: number; total: number | undefined }> {
  const { pathname, searchParams } = new URL(url, 'http://x');
  const [, , StudyInstanceUID, , SeriesInstanceUID] = pathname.split('/');
  const level = pathname.endsWith('instances') ? 'instance' : pathname.endsWith('series') ? 'series' : 'study';
  const query = parseQuery(searchParams, { level, StudyInstanceUID, SeriesInstanceUID }, DEFAULT_LIMITS);
  const services = standIn<Services>({ index: indexes.get(size)!, limits: DEFAULT_LIMITS, clock: new TestClock() });
  const meter = newReadMeter();
  const { rows, total } = await {
    study: async () =>
      withPatientCounts(
        services,
        TENANT,
        query,
        await searchStudyRecords(services, TENANT, query, meter),
        STUDY_ROWS,
        meter,
      ),
    series: () => searchSeriesRecords(services, TENANT, query, meter),
    instance: () => searchInstanceRecords(services, TENANT, query, meter),
  }[level]();
  return { meter, found: rows.length, total };
}

test('the document has the budgets', () => {
  expect(ROWS.length).toBeGreaterThan(25);
});

describe.each(SIZES)('with %i studies', (size) => {
  test.each(ROWS)('$url reads at most $records records in $calls calls', async ({ url, records, calls }) => {
    const { meter } = await search(url, size);
    expect(meter.records).toBeLessThanOrEqual(records);
    expect(meter.calls).toBeLessThanOrEqual(calls);
  });

  test('the counters know the totals', async () => {
    const studies = Array.from({ length: size }, (_, i) => syntheticStudy(i));
    const dates = studies.map(({ study }) => String(study.attributes['00080020']?.Value?.[0]));
    const inJune = (i: number) => (dates[i] as string) >= '20180515' && (dates[i] as string) <= '20190203';
    expect((await search('/studies?limit=1', size)).total).toBe(size);
    expect((await search('/studies?limit=1&StudyDate=20180515-20190203', size)).total).toBe(
      studies.filter((_, i) => inJune(i)).length,
    );
    const ct = studies.filter(({ series }, i) => series.modality === 'CT' && inJune(i)).length;
    expect((await search('/studies?limit=1&StudyDate=20180515-20190203&ModalitiesInStudy=CT', size)).total).toBe(ct);
  });

  test('pages taken one after another hold every study once', async () => {
    const uids = new Set<string>();
    const step = Math.ceil(size / 7);
    for (let offset = 0; offset < size; offset += step) {
      const query = parseQuery(
        new URLSearchParams({ offset: String(offset), limit: '5' }),
        { level: 'study' },
        DEFAULT_LIMITS,
      );
      const services = standIn<Services>({
        index: indexes.get(size)!,
        limits: DEFAULT_LIMITS,
        clock: new TestClock(),
      });
      for (const row of (await searchStudyRecords(services, TENANT, query)).rows) uids.add(row.place);
    }
    const places = Array.from({ length: size }, (_, i) => syntheticStudy(i).study)
      .map(
        ({ attributes, StudyInstanceUID }) =>
          `${attributes['00080020']?.Value?.[0]}|${attributes['00080030']?.Value?.[0]}|${StudyInstanceUID}`,
      )
      .toSorted()
      .toReversed();
    const expected = Array.from({ length: 7 }, (_, i) => places.slice(i * step, i * step + 5)).flat();
    expect([...uids]).toEqual(expected);
  });
});

test.each(ROWS.filter((row) => row.flat && !row.url.includes('fuzzy')))(
  '$url costs the same at every size, but for what it finds',
  async ({ url }) => {
    const costs = await Promise.all(SIZES.map((size) => search(url, size)));
    const [smallest] = costs;
    for (const { meter, found } of costs) {
      const moreFound = found - smallest!.found;
      expect(meter.records).toBeLessThanOrEqual(2 * smallest!.meter.records + 3 * Math.max(0, moreFound) + 60);
    }
  },
);
