import { expect, test } from 'vitest';
import { searchInstances } from '#dicomweb/search.ts';
import { buildDicom } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask } from '#test/unit/dicomweb/asking.ts';

/** The end of `2019-2021` was read as an offset from UTC of 20 hours and 21 minutes: what was left asked for the year 2019. */
test.each([
  ['2019-2021', ['2019', '20200101120000', '202112312359']],
  ['201902-2020', ['20200101120000']],
  ['20190101-1300', []],
  // Offsets there are: one moment, and a range that ends with one.
  ['2019-1200', ['2019']],
  ['2019-2020-0500', ['2019', '20200101120000']],
])('AcquisitionDateTime=%s', async (asked, expected) => {
  const services = memoryServices();
  for (const [number, AcquisitionDateTime] of ['2018', '2019', '20200101120000', '202112312359', '2022'].entries()) {
    const object = buildDicom({ SOPInstanceUID: `1.2.3.4.${number + 1}`, AcquisitionDateTime });
    expect(await store(services, object)).toMatchObject({ kind: 'stored' });
  }
  const { body } = await ask(services, searchInstances, {}, { query: `AcquisitionDateTime=${asked}` });
  const found = body.length === 0 ? [] : JSON.parse(body.toString());
  expect(found.map((instance: Record<string, { Value: string[] }>) => instance['0008002A']!.Value[0]).sort()).toEqual(
    expected,
  );
});
