import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import type { StudyRecord } from '#core/archive/records.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { WRITE_LIMIT_OPERATIONS } from '#core/ports/index-table.ts';
import { countWrites, newTermWrites, postingPuts } from '#core/search/postings.ts';
import { parseQuery } from '#core/search/query.ts';
import { searchStudyRecords } from '#core/search/studies.ts';
import { TestClock } from '#test/fixtures/services.ts';

/** Objects hold anything: no value may keep a study from being stored, and each is found by what it holds. */

const anything = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 100 }),
  fc.string({
    unit: fc.constantFrom(
      'A',
      'é',
      'ß',
      '山',
      '𠮷',
      '\ud800',
      '\udc00',
      '\u0000',
      '\u0001',
      '\u0301',
      ' ',
      '^',
      '*',
      '|',
    ),
    maxLength: 90,
  }),
  fc.string({ maxLength: 2_000 }),
);
const study = fc
  .record({
    name: anything,
    group: anything,
    id: anything,
    accession: anything,
    description: anything,
    modality: anything,
    date: anything,
    born: anything,
  })
  .map(
    (s): StudyRecord => ({
      version: 1,
      StudyInstanceUID: '1.2.3',
      attributes: {
        '00080020': { vr: 'DA', Value: [s.date] },
        '00080030': { vr: 'TM', Value: [s.date] },
        '00080050': { vr: 'SH', Value: [s.accession] },
        '00081030': { vr: 'LO', Value: [s.description, s.id] },
        '00100010': { vr: 'PN', Value: [{ Alphabetic: s.name, Ideographic: s.group }] },
        '00100020': { vr: 'LO', Value: [s.id] },
        '00100030': { vr: 'DA', Value: [s.born] },
      },
      modalities: { [s.modality]: 1 },
      sopClasses: {},
      seriesCount: 1,
      instanceCount: 1,
      sizeBytes: 1,
      firstStoredAt: 1,
      lastStoredAt: 1,
      availability: 'ONLINE',
      revision: '1',
    }),
  );

test('whatever its values, a study can be indexed and is found by them', async () => {
  await fc.assert(
    fc.asyncProperty(study, async (record) => {
      const index = new MemoryIndexTable();
      const operations = [...(await newTermWrites(index, 'main', record)), ...postingPuts('main', undefined, record)];
      for (let at = 0; at < operations.length; at += WRITE_LIMIT_OPERATIONS)
        await index.write(operations.slice(at, at + WRITE_LIMIT_OPERATIONS));
      const atomic = countWrites('main', undefined, record);
      expect(atomic.length).toBeLessThanOrEqual(4);
      await index.write(atomic);
      for (const keyword of ['PatientID', 'AccessionNumber', 'PatientName']) {
        const tag = { PatientID: '00100020', AccessionNumber: '00080050', PatientName: '00100010' }[keyword] as string;
        const value = record.attributes[tag]?.Value?.[0];
        const text = String(typeof value === 'object' ? ((value as { Alphabetic?: string }).Alphabetic ?? '') : value);
        // What a client cannot write down, or writes as a pattern or as something else.
        if (
          text.length > 1_000 ||
          /[*?=\\]/.test(text) ||
          !text.isWellFormed() ||
          text !== text.trim() ||
          text.includes('\0')
        )
          continue;
        const query = parseQuery(new URLSearchParams({ [keyword]: text }), { level: 'study' }, DEFAULT_LIMITS);
        if (text === '' || /^[\^ ]*$/.test(text)) continue;
        const { rows } = await searchStudyRecords(
          { index, limits: DEFAULT_LIMITS, clock: new TestClock() },
          'main',
          query,
        );
        expect(rows.map((row) => row.StudyInstanceUID)).toEqual(['1.2.3']);
      }
    }),
    { numRuns: 400 },
  );
});
