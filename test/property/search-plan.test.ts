import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import type { StudyRecord } from '#core/archive/records.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import type { WriteOperation } from '#core/ports/index-table.ts';
import { elementsOf, matchesAll } from '#core/search/match.ts';
import { countWrites, newTermWrites, postingDeletes, postingPuts } from '#core/search/postings.ts';
import { parseQuery } from '#core/search/query.ts';
import { searchStudyRecords } from '#core/search/studies.ts';
import { studyDataSet, studySort } from '#core/search/study-list.ts';
import { TestClock } from '#test/fixtures/services.ts';

/** Whatever the plan, the answer is that of looking at every study. */

const TENANT = 'main';

const word = fc.constantFrom(
  'Anna',
  'ANN',
  'Müller',
  'Muller',
  'Mulder',
  'Smith',
  'Smyth',
  'O’Neil',
  "O'Neil",
  'van',
  'der',
  'Berg',
  'Bergmann',
  'X',
  '山田',
  '太郎',
  '𠮷野',
  'Łuk',
);
const group = fc
  .array(word, { minLength: 1, maxLength: 4 })
  .chain((words) => fc.constantFrom('^', ' ', '-').map((by) => words.join(by)));
const name = fc
  .record({ Alphabetic: group })
  .chain((alphabetic) =>
    fc
      .option(group)
      .map((ideographic) => (ideographic === null ? alphabetic : { ...alphabetic, Ideographic: ideographic })),
  );
const identifier = fc.oneof(
  fc.stringMatching(/^[0-9]{1,12}$/),
  fc.stringMatching(/^[AB][0-9]{2,6}$/),
  fc.constantFrom('a1', 'A 12-3', '𠮷1', '9'.repeat(70), `${'8'.repeat(66)}17`, 'É77'),
);
const date = fc.constantFrom(
  '20240101',
  '20240102',
  '20240131',
  '20240201',
  '20231231',
  '2023.12.30',
  '',
  '19000101',
  'rubbish',
);
const time = fc.constantFrom('101500', '10:15:00', '2359', '00', '101500.5', '', 'noon');
const description = fc.oneof(
  fc.constantFrom(
    'CT CHEST',
    'ct chest',
    'Chest (PA/LAT)',
    'x'.repeat(80),
    `${'y'.repeat(66)}z chest`,
    'MR*',
    'Brain',
    '',
  ),
  fc.array(fc.stringMatching(/^[a-d]{1,3}$/), { minLength: 13, maxLength: 20 }).map((words) => words.join(' ')),
);
const modality = fc.constantFrom('CT', 'MR', 'SR', 'PT');

const optional = (tag: string, vr: string, value: unknown): DataSet =>
  value === null ? {} : value === '' ? { [tag]: { vr } } : ({ [tag]: { vr, Value: [value] } } as DataSet);

const study = fc
  .record({
    number: fc.integer({ min: 1, max: 40 }),
    name: fc.option(name),
    id: fc.option(identifier),
    accession: fc.option(identifier),
    date: fc.option(date),
    time: fc.option(time),
    description: fc.option(description),
    physician: fc.option(name),
    born: fc.option(date),
    modalities: fc.uniqueArray(modality, { minLength: 1, maxLength: 3 }),
    instanceCount: fc.integer({ min: 0, max: 3 }),
  })
  .map(
    (s): StudyRecord => ({
      version: 1,
      StudyInstanceUID: `1.2.${s.number}`,
      attributes: {
        ...optional('00080020', 'DA', s.date),
        ...optional('00080030', 'TM', s.time),
        ...optional('00080050', 'SH', s.accession),
        ...optional('00080090', 'PN', s.physician),
        ...optional('00081030', 'LO', s.description),
        ...optional('00100010', 'PN', s.name),
        ...optional('00100020', 'LO', s.id),
        ...optional('00100030', 'DA', s.born),
      },
      modalities: Object.fromEntries(s.modalities.map((m) => [m, 1])),
      sopClasses: { '1.2.3': 1 },
      seriesCount: 1,
      instanceCount: s.instanceCount,
      sizeBytes: 1,
      firstStoredAt: 1,
      lastStoredAt: 1,
      availability: 'ONLINE',
      revision: '1',
    }),
  );

/** A key made of what one of the studies holds: whole, in part, with wild cards, in another case, or with a letter changed. */
const key = fc
  .record({
    which: fc.nat(30),
    attribute: fc.constantFrom(
      ['PatientName', '00100010'],
      ['PatientName', '00100010'],
      ['ReferringPhysicianName', '00080090'],
      ['PatientID', '00100020'],
      ['AccessionNumber', '00080050'],
      ['StudyDescription', '00081030'],
    ),
    from: fc.nat(70),
    length: fc.nat(7),
    shape: fc.constantFrom('x', '*x', 'x*', '*x*', '*x*', '?x', 'x?', '*x*x*', 'whole', 'whole', 'lower', 'twisted'),
  })
  .map(
    ({ which, attribute: [keyword, tag], from, length, shape }) =>
      (states: readonly StudyRecord[]): [string, string] => {
        const value = states[which % Math.max(1, states.length)]?.attributes[tag as string]?.Value?.[0] ?? 'Anna';
        const text = typeof value === 'string' ? value : Object.values(value as object).join('=');
        const characters = [...text];
        const start = from % characters.length;
        const part = characters.slice(start, start + length + 1).join('');
        const twisted = text.replace(/[iy]/, 'ie').replace('ll', 'l').split('^').reverse().join(' ');
        const whole: Record<string, string> = { whole: text, lower: text.toLowerCase(), twisted };
        const shaped = whole[shape] ?? shape.replaceAll('x', part);
        return [keyword as string, shaped];
      },
  );

const fixed = fc.oneof(
  fc.tuple(fc.constant('ModalitiesInStudy'), fc.oneof(modality, fc.constantFrom('CT\\MR', 'C?', 'XX'))),
  fc.tuple(
    fc.constant('StudyDate'),
    fc.constantFrom(
      '20240101',
      '20231231-20240102',
      '-20240101',
      '20240102-',
      '20240131-20230101',
      '20000101-20300101',
    ),
  ),
  fc.tuple(fc.constant('StudyTime'), fc.constantFrom('10', '1000-1100', '-1200', '2300-', '101500')),
  fc.tuple(fc.constant('PatientBirthDate'), fc.constantFrom('20240101', '20231230', '20230101-')),
  fc.tuple(fc.constant('StudyInstanceUID'), fc.constantFrom('1.2.3', '1.2.3\\1.2.4,1.2.5', '1.9')),
  fc.tuple(fc.constant('fuzzymatching'), fc.constantFrom('true', 'false')),
  fc.tuple(fc.constant('limit'), fc.constantFrom('1', '3', '10', '100')),
  fc.tuple(fc.constant('offset'), fc.constantFrom('0', '1', '2', '7')),
  fc.tuple(
    fc.constant('orderby'),
    fc.constantFrom('StudyDate', '-StudyDate', 'StudyDate,StudyTime', 'PatientID,StudyDate', '-PatientName'),
  ),
);
/** at most two keys, so that matches are not rare, and what goes with them */
const parameters = fc
  .tuple(fc.array(key, { maxLength: 2 }), fc.array(fixed, { maxLength: 2 }))
  .map(([keys, others]) => (states: readonly StudyRecord[]) => [...keys.map((make) => make(states)), ...others]);

async function write(index: MemoryIndexTable, operations: readonly WriteOperation[]): Promise<void> {
  for (let at = 0; at < operations.length; at += 100) await index.write(operations.slice(at, at + 100));
}

/** Stores the states of the studies one after another, as the fold does. */
async function archiveOf(states: readonly StudyRecord[]): Promise<{ index: MemoryIndexTable; studies: StudyRecord[] }> {
  const index = new MemoryIndexTable();
  const studies = new Map<string, StudyRecord>();
  for (const after of states) {
    const before = studies.get(after.StudyInstanceUID);
    await write(index, [...(await newTermWrites(index, TENANT, after)), ...postingPuts(TENANT, before, after)]);
    await write(index, [
      {
        kind: 'put',
        key: { partition: `${TENANT}|study|${after.StudyInstanceUID}`, sort: 'study' },
        item: after as never,
      },
      ...countWrites(TENANT, before, after),
    ]);
    await write(index, postingDeletes(TENANT, before, after));
    studies.set(after.StudyInstanceUID, after);
  }
  return { index, studies: [...studies.values()].filter((s) => s.instanceCount > 0) };
}

test('a planned search finds what a look at every study finds, in the same order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(study, { maxLength: 30 }),
      fc.array(parameters, { minLength: 8, maxLength: 8 }),
      async (states, queries) => {
        const { index, studies } = await archiveOf(states);
        for (const parametersOf of queries) {
          const query = parseQuery(new URLSearchParams(parametersOf(states)), { level: 'study' }, DEFAULT_LIMITS);
          const found = await searchStudyRecords(
            { index, limits: DEFAULT_LIMITS, clock: new TestClock() },
            TENANT,
            query,
          );
          const expected = studies.filter((s) => matchesAll(query.conditions.study, elementsOf(studyDataSet(s))));
          const uids = found.rows.map((row) => row.StudyInstanceUID);
          expect(uids.length).toBe(Math.max(0, Math.min(expected.length - query.offset, query.limit)));
          expect(new Set(uids).size).toBe(uids.length);
          for (const uid of uids) expect(expected.some((s) => s.StudyInstanceUID === uid)).toBe(true);
          expect(found.more).toBe(expected.length > query.offset + query.limit);
          if (found.total !== undefined) expect(found.total).toBe(expected.length);
          expect(found.cut).toBe(false);
          const [first] = query.order;
          if (first === undefined || first.tag === '00080020') {
            const places = expected.map(studySort).sort();
            if (first === undefined || first.descending) places.reverse();
            expect(found.rows.map((row) => row.place)).toEqual(places.slice(query.offset, query.offset + query.limit));
          }
        }
      },
    ),
    { numRuns: 300 },
  );
});
