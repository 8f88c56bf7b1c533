import { describe, expect, test } from 'vitest';
import { textOf } from '#core/dicom/element-text.ts';
import { matchWorklist, type WorklistEntry, worklistQuery } from '#core/worklist/match.ts';
import type { WorklistState } from '#core/worklist/records.ts';
import { dataSet, scheduled, type Written } from '#test/fixtures/worklist.ts';

const entry = (
  AccessionNumber: string,
  overrides: Written,
  step: Written,
  state: WorklistState = 'SCHEDULED',
): WorklistEntry => {
  const date = String(step.ScheduledProcedureStepStartDate ?? '20240131');
  const time = String(step.ScheduledProcedureStepStartTime ?? '103000');
  return { state, startsAt: date + time, dataSet: scheduled({ AccessionNumber, ...overrides }, step) };
};
const at = (day: string, time: string): Written => ({
  ScheduledProcedureStepStartDate: day,
  ScheduledProcedureStepStartTime: time,
});

/** a department's list of two days */
const LIST: readonly WorklistEntry[] = [
  entry('1', { PatientName: 'Müller^Jürgen', PatientID: 'P-1' }, { ...at('20240131', '080000') }),
  entry(
    '2',
    { PatientName: 'Doe^Jane' },
    { ...at('20240131', '143000'), Modality: 'MR', ScheduledStationAETitle: ['MR1', 'MR2'] },
  ),
  entry('3', { RequestedProcedureID: 'RP-77' }, { ...at('20240201', '091500'), ScheduledProcedureStepID: 'S-3' }),
  entry('4', {}, { ...at('20240201', '160000'), ScheduledPerformingPhysicianName: 'Ruiz^Ana' }, 'IN PROGRESS'),
  entry('5', {}, { ...at('20240131', '090000'), ScheduledProcedureStepStatus: 'DEPARTED' }, 'COMPLETED'),
  entry('6', {}, { ...at('20240131', '100000') }, 'CANCELED'),
];

const found = (keys: Written, policy = {}): string =>
  matchWorklist(LIST, dataSet({ AccessionNumber: '', ...keys }), policy)
    .map((result) => textOf(result['00080050']))
    .join(' ');
const step = (keys: Written): Written => ({ ScheduledProcedureStepSequence: keys });

describe('a worklist query (PS3.4 K.6.1.2.2)', () => {
  test.each<[string, Written, string]>([
    ['nothing asked: all that is open, in the order of the day', {}, '1 2 3 4'],
    ['modality', step({ Modality: 'MR' }), '2'],
    ['one of several stations', step({ ScheduledStationAETitle: 'MR2' }), '2'],
    ['a station by its beginning', step({ ScheduledStationAETitle: 'MR*' }), '2'],
    ['a day', step({ ScheduledProcedureStepStartDate: '20240131' }), '1 2'],
    ['days on', step({ ScheduledProcedureStepStartDate: '20240201-' }), '3 4'],
    ['up to a day', step({ ScheduledProcedureStepStartDate: '-20240131' }), '1 2'],
    ['days from and to', step({ ScheduledProcedureStepStartDate: '20240131-20240201' }), '1 2 3 4'],
    ['the times of one day', step(at('20240131', '1200-1800')), '2'],
    [
      'from a moment to a moment: a range of dates and one of times are one',
      step(at('20240131-20240201', '1200-1000')),
      '2 3',
    ],
    ['a name, whatever its case and accents', { PatientName: 'muller*' }, '1'],
    ['a name by its sound only where that was negotiated', { PatientName: 'Mueller' }, ''],
    ['PatientID', { PatientID: 'P-1' }, '1'],
    ['a PatientID keeps its case', { PatientID: 'p-1' }, ''],
    ['RequestedProcedureID', { RequestedProcedureID: 'RP-77' }, '3'],
    [
      'ScheduledProcedureStepID with other keys of the step',
      step({ ScheduledProcedureStepID: 'S-3', Modality: 'CT' }),
      '3',
    ],
    ['keys of which one does not match', step({ ScheduledProcedureStepID: 'S-3', Modality: 'MR' }), ''],
    [
      'who performs',
      step({ ScheduledPerformingPhysicianName: 'Ruiz*', ScheduledProcedureStepStartDate: '20240201' }),
      '3 4',
    ],
    ['what is over, by its status', step({ ScheduledProcedureStepStatus: 'DEPARTED' }), '5'],
    ['an attribute that no item has', { AdmissionID: 'X' }, ''],
    ['a level, which a worklist does not have, is no key', { QueryRetrieveLevel: 'STUDY', PatientID: 'P-1' }, '1'],
  ])('%s', (_what, keys, expected) => {
    expect(found(keys)).toBe(expected);
  });

  test('names match by their sound where that was negotiated', () => {
    expect(found({ PatientName: 'Mueller' }, { fuzzy: true })).toBe('1');
  });

  describe('of a time zone (PS3.4 K.4.1.1.5)', () => {
    const berlin = { zoneMinutes: 60 };
    const inNewYork = [entry('N', { TimezoneOffsetFromUTC: '-0500' }, { ...at('20240131', '233000') })];
    const asked = (keys: Written, policy = {}) =>
      matchWorklist(inNewYork, dataSet({ TimezoneOffsetFromUTC: '', ...keys }), policy);

    test('the day that it is there; the answer has the clock of there, and says so', () => {
      const [result] = asked(step(at('20240201', '')), berlin);
      expect(result).toEqual(dataSet({ TimezoneOffsetFromUTC: '+0100', ...step(at('20240201', '053000')) }));
      expect(asked(step(at('20240131', '')), berlin)).toEqual([]);
    });

    test('without one the item is answered as it stands, with its own offset', () => {
      expect(asked(step(at('20240131', '')))).toEqual([
        dataSet({ TimezoneOffsetFromUTC: '-0500', ...step(at('20240131', '233000')) }),
      ]);
    });

    test('an item that names no zone is taken at its word, and none is put into its mouth', () => {
      const [result] = matchWorklist(LIST, dataSet({ TimezoneOffsetFromUTC: '', ...step(at('20240131', '')) }), berlin);
      expect(result).toEqual(dataSet(step(at('20240131', '080000'))));
    });

    test('items are read as many days before and after as zones may be apart', () => {
      const keys = dataSet(step(at('20240131-20240201', '1200-1000')));
      expect(worklistQuery(keys, berlin)).toMatchObject({ from: '20240130', to: '20240202' });
      expect(worklistQuery(keys, { zoneMinutes: 14 * 60 })).toMatchObject({ from: '20240129', to: '20240203' });
    });
  });

  test('what is past drops out, unless dates are asked for', () => {
    expect(found({}, { notBefore: '20240201000000' })).toBe('3 4');
    expect(found(step({ ScheduledProcedureStepStartDate: '20240131' }), { notBefore: '20240201000000' })).toBe('1 2');
  });

  test('the keys come back with the values of the item; what it lacks, empty', () => {
    const keys = dataSet({
      SpecificCharacterSet: 'ISO_IR 100',
      PatientName: '',
      PatientWeight: '',
      ScheduledProcedureStepSequence: { Modality: 'MR', ScheduledStationAETitle: '', PreMedication: '' },
      ReferencedStudySequence: { ReferencedSOPClassUID: '' },
    });
    expect(matchWorklist(LIST, keys)).toEqual([
      {
        '00081110': { vr: 'SQ' },
        '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Doe^Jane' }] },
        '00101030': { vr: 'DS' },
        '00400100': {
          vr: 'SQ',
          Value: [
            {
              '00080060': { vr: 'CS', Value: ['MR'] },
              '00400001': { vr: 'AE', Value: ['MR1', 'MR2'] },
              '00400012': { vr: 'LO' },
            },
          ],
        },
      },
    ]);
  });

  test('a sequence without an item, or with an empty one, asks for all of it', () => {
    const all = LIST[1]!.dataSet['00400100'];
    for (const Value of [undefined, [{}]]) {
      const keys = { ...dataSet({ AccessionNumber: '2' }), '00400100': { vr: 'SQ', ...(Value && { Value }) } };
      expect(matchWorklist(LIST, keys)[0]!['00400100']).toEqual(all);
    }
  });

  test('a key that is none is named', () => {
    expect(() => found(step({ ScheduledProcedureStepStartDate: 'today' }))).toThrow(/ScheduledProcedureStepStartDate/);
  });
});
