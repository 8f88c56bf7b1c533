import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addRestriction } from '#core/access/changes.ts';
import { confine } from '#core/access/confine.ts';
import type { Principal } from '#core/access.ts';
import { storeObject } from '#core/archive/store.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { newReadMeter } from '#core/ports/index-table.ts';
import { parseQuery } from '#core/search/query.ts';
import { searchStudyRecords } from '#core/search/studies.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices } from '#test/fixtures/services.ts';

/** With restricted patients in the archive, pages and totals are those of the list without their studies, and no dearer. */
const ADMIN: Principal = { tenant: 'main', subject: 'admin', roles: ['admin'] };
const READER: Principal = { tenant: 'main', subject: 'reader', roles: ['viewer'] };
const STUDIES = 60;

interface Study {
  readonly n: number;
  readonly patient: string;
  readonly date: string;
  readonly modality: string;
}
const studies: readonly Study[] = Array.from({ length: STUDIES }, (_, i) => ({
  n: i + 1,
  patient: `P${(i * 7) % 12}`,
  date: `2024${String(1 + ((i * 5) % 12)).padStart(2, '0')}${String(1 + ((i * 11) % 28)).padStart(2, '0')}`,
  modality: i % 3 === 0 ? 'MR' : 'CT',
}));

async function anArchive(restricted: readonly string[]) {
  const services = memoryServices();
  for (const { n, patient, date, modality } of studies) {
    const object = buildDicom({
      StudyInstanceUID: uid(n),
      SeriesInstanceUID: uid(1_000 + n),
      SOPInstanceUID: uid(2_000 + n),
      PatientID: patient,
      StudyDate: date,
      Modality: modality,
    });
    await storeObject(services, { tenant: 'main', source: 'T' }, chunked(object)).outcome;
  }
  for (const id of restricted)
    await addRestriction(services, ADMIN, { patient: { id }, reason: 'public', subjects: [], roles: [] });
  return services;
}

test('the pages of the list are those of a list without the restricted', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.subarray(['P0', 'P1', 'P5', 'P9', 'nobody'], { maxLength: 3 }),
      fc.array(
        fc.record({
          offset: fc.nat(STUDIES + 5),
          limit: fc.nat({ max: 20 }),
          modality: fc.constantFrom('', 'CT', 'MR'),
          from: fc.constantFrom('', '20240301', '20240615'),
          ascending: fc.boolean(),
        }),
        { minLength: 12, maxLength: 12 },
      ),
      async (restricted, questions) => {
        const services = await anArchive(restricted);
        const confined = await confine(services, READER, 'search');
        expect(confined === services).toBe(restricted.length === 0);
        for (const { offset, limit, modality, from, ascending } of questions) {
          const parameters = new URLSearchParams({ offset: String(offset), limit: String(limit) });
          if (modality !== '') parameters.set('ModalitiesInStudy', modality);
          if (from !== '') parameters.set('StudyDate', `${from}-`);
          parameters.set('orderby', ascending ? 'StudyDate,StudyTime' : '-StudyDate,-StudyTime');
          const query = parseQuery(parameters, { level: 'study' }, DEFAULT_LIMITS);
          const meter = newReadMeter();
          const page = await searchStudyRecords(confined, 'main', query, meter);
          const expected = studies
            .filter((one) => !restricted.includes(one.patient) && one.date >= from)
            .filter((one) => modality === '' || one.modality === modality)
            .map((one) => ({ ...one, place: `${one.date}|101500|${uid(one.n)}` }))
            .sort((a, b) => (a.place < b.place ? -1 : 1));
          if (!ascending) expected.reverse();
          const what = JSON.stringify({ restricted, offset, limit, modality, from, ascending });
          expect(
            page.rows.map((row) => row.place),
            what,
          ).toEqual(expected.slice(offset, offset + limit).map(({ place }) => place));
          expect(page.total, what).toBe(expected.length);
          expect(page.more, what).toBe(offset + limit < expected.length);
        }
      },
    ),
    { numRuns: 15 },
  );
});
