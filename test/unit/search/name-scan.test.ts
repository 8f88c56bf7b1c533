import { expect, test } from 'vitest';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import { keys, type StudyRecord } from '#core/archive/records.ts';
import type { Element, PersonName } from '#core/dicom/types.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { asItem, newReadMeter } from '#core/ports/index-table.ts';
import { matches } from '#core/search/match.ts';
import { countWrites, newTermWrites, partitions, postingPuts } from '#core/search/postings.ts';
import { parseQuery } from '#core/search/query.ts';
import { searchStudyRecords } from '#core/search/studies.ts';
import { studySort } from '#core/search/study-list.ts';
import { TestClock } from '#test/fixtures/services.ts';

/** Infixes that hundreds of words hold: lines are gone through by their names before postings are merged, and in place of it. */

const TENANT = 't';
const SYLLABLES = ['ba', 'be', 'ko', 'ló', 'mi', "o'n", 'ra', 'šu', 'te', 'zy'];
const three = (i: number) =>
  [Math.floor(i / 100) % 10, Math.floor(i / 10) % 10, i % 10].map((n) => SYLLABLES[n]).join('');

const study = (i: number, name: Element, day: string, modality: string): StudyRecord => ({
  version: 1,
  StudyInstanceUID: `1.2.${i}`,
  attributes: { '00100010': name, '00080020': { vr: 'DA', Value: [day] } },
  modalities: { [modality]: 1 },
  sopClasses: {},
  seriesCount: 1,
  instanceCount: 1,
  sizeBytes: 1,
  firstStoredAt: 0,
  lastStoredAt: 0,
  availability: 'ONLINE',
  revision: 'r',
});
const person = (name: PersonName): Element => ({ vr: 'PN', Value: [name] });

const mixed = Array.from({ length: 1_000 }, (_, i) => {
  const name = person({
    Alphabetic: `${three(i)}^${i % 2 ? 'Jo' : 'Mirako'}`,
    ...(i % 10 === 0 && { Ideographic: '山田^太郎', Phonetic: 'やまだ^たろう' }),
    ...(i % 89 === 0 && { Phonetic: 'mira '.repeat(70) }),
  });
  return study(i, i % 97 === 0 ? { vr: 'PN' } : name, `202601${10 + (i % 19)}`, i % 3 ? 'CT' : 'MR');
});
/** What is asked for stands behind more of others than are gone through. */
const farBehind = [
  ...Array.from({ length: 140 }, (_, i) =>
    study(i, person({ Alphabetic: `ira${three(i)}` }), `202501${10 + (i % 19)}`, 'CT'),
  ),
  ...Array.from({ length: 1_100 }, (_, i) =>
    study(1_000 + i, person({ Alphabetic: 'Qux^Bo' }), `202601${10 + (i % 19)}`, 'MR'),
  ),
];

async function archiveOf(studies: readonly StudyRecord[], lineNames: 'all' | 'some'): Promise<MemoryIndexTable> {
  const index = new MemoryIndexTable();
  for (const [i, record] of studies.entries()) {
    const rows = [
      ...(await newTermWrites(index, TENANT, record)),
      ...postingPuts(TENANT, undefined, record),
      ...countWrites(TENANT, undefined, record),
    ];
    for (let at = 0; at < rows.length; at += 90) await index.write(rows.slice(at, at + 90));
    await index.write([{ kind: 'put', key: keys.study(TENANT, record.StudyInstanceUID), item: asItem(record) }]);
    if (lineNames === 'all' || i % 2 === 0) continue;
    // as lines were written before they held names
    const key = { partition: partitions.list(TENANT), sort: studySort(record) };
    const { names: _, ...line } = (await index.get(key))!;
    await index.write([{ kind: 'put', key, item: line }]);
  }
  return index;
}

const ofBefore = mixed.slice(0, 300);
const archives = [
  [await archiveOf(mixed, 'all'), mixed],
  [await archiveOf(ofBefore, 'some'), ofBefore],
  [await archiveOf(farBehind, 'all'), farBehind],
] as const;
const services = { limits: DEFAULT_LIMITS, clock: new TestClock() };

const ASKED = [
  'PatientName=*ami*',
  'PatientName=*ba*',
  'PatientName=*LO*',
  'PatientName=*ira*',
  'PatientName=*k*',
  'PatientName=?a*',
  'PatientName=b*',
  'PatientName=ba*o',
  'PatientName=ira*',
  'PatientName=山*',
  'PatientName=*a*o',
  'PatientName=*m*i*^j*',
  'PatientName=*b*=*田*',
  'PatientName=*a*==*mi*',
  'PatientName=*太*',
  "PatientName=*o'n*",
  'PatientName=*a*&StudyDate=20260112-20260120',
  'PatientName=*ko*&ModalitiesInStudy=MR',
  'PatientName=*nobody*',
  'PatientName=*e*&fuzzymatching=true',
] as const;
const PAGES = [
  'limit=25',
  'limit=7&offset=60',
  'limit=1000',
  'limit=30&orderby=StudyDate',
  'limit=30&orderby=PatientName',
];

test.each(ASKED.flatMap((asked) => PAGES.map((page) => [`${asked}&${page}`] as const)))(
  '%s finds what looking at every study finds, in order, each once',
  async (text) => {
    const query = parseQuery(new URLSearchParams(text), { level: 'study' }, DEFAULT_LIMITS);
    for (const [index, studies] of archives) {
      const { rows } = await searchStudyRecords({ ...services, index }, TENANT, query);
      const found = rows.map(({ StudyInstanceUID }) => StudyInstanceUID);
      const elements = (record: StudyRecord) => (tag: string) =>
        tag === '00080061' ? { vr: 'CS', Value: Object.keys(record.modalities) } : record.attributes[tag];
      const wanted = studies
        .filter((record) => query.conditions.study.every((condition) => matches(condition, elements(record))))
        .map((record) => ({ place: studySort(record), uid: record.StudyInstanceUID }))
        .sort((a, b) => (a.place < b.place ? -1 : 1));
      if (!text.includes('orderby')) wanted.reverse();
      if (text.includes('orderby=PatientName')) {
        expect(found).toHaveLength(Math.min(30, wanted.length));
        for (const uid of found) expect(wanted.map((one) => one.uid)).toContain(uid);
      } else expect(found).toEqual(wanted.slice(query.offset, query.offset + query.limit).map(({ uid }) => uid));
    }
  },
);

test.each([
  ['infix reads lines', '*ra*'],
  ['start reads whole names', 'bab*'],
])('a page of a common %s, not the postings of every word that meets it', async (_, pattern) => {
  const meter = newReadMeter();
  const query = parseQuery(new URLSearchParams(`PatientName=${pattern}&limit=5`), { level: 'study' }, DEFAULT_LIMITS);
  const { rows } = await searchStudyRecords({ ...services, index: archives[0][0] }, TENANT, query, meter);
  expect(rows).toHaveLength(5);
  expect(meter.calls).toBeLessThan(8);
});

test('who stands far behind others is found by postings, after so many lines', async () => {
  const meter = newReadMeter();
  const query = parseQuery(new URLSearchParams('PatientName=*ira*&limit=25'), { level: 'study' }, DEFAULT_LIMITS);
  const { rows } = await searchStudyRecords({ ...services, index: archives[2][0] }, TENANT, query, meter);
  expect(rows).toHaveLength(25);
  expect(meter.calls).toBeGreaterThan(140);
  expect(meter.records).toBeLessThan(3_000);
});
