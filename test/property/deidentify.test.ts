import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PROFILE_ROWS } from '#core/deidentify/actions.ts';
import type { Profile } from '#core/deidentify/profile.ts';
import { attribute } from '#core/dicom/dictionary.ts';
import { deidentified } from '#test/fixtures/deidentified.ts';
import {
  type BuilderDataSet,
  type BuilderValue,
  buildDicom,
  EXPLICIT_LE,
  IMPLICIT_LE,
} from '#test/fixtures/dicom-builder.ts';

/** Secrets are no words: letters that no vocabulary has, and numbers of their own. */
const secretName = fc.stringMatching(/^[Q-Z][bcdfghjklmnpqrstvwxz]{5,9}$/);
const secretNumber = fc.stringMatching(/^[QXZ]\d{5,9}$/);
const secretDate = (firstYear: number, lastYear: number) =>
  fc
    .tuple(
      fc.integer({ min: firstYear, max: lastYear }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 28 }),
    )
    .map(([year, month, day]) => `${year}${String(month).padStart(2, '0')}${String(day).padStart(2, '0')}`);
/** Dates are shifted by up to ten years: none may become another by that. */
const secretDates = fc.tuple(secretDate(1921, 1930), secretDate(1945, 1960), secretDate(1975, 1999));
const secretUid = fc.stringMatching(/^1\.3\.6\.1\.4\.1\.[1-9]\d{7,12}\.[1-9]\d{3,8}$/);

const named = (vrs: readonly string[], isIdentifying: boolean): string[] => {
  const keywords: string[] = [];
  for (const { tag, keyword } of PROFILE_ROWS.values()) {
    const row = attribute(tag);
    if (isIdentifying && row !== undefined && vrs.includes(row.vr) && /^(?:0008|0010|0032|0038|0040)/.test(tag))
      keywords.push(keyword);
  }
  return keywords;
};
const NAMES = named(['PN'], true);
const NUMBERS = named(['LO', 'SH'], true).filter((keyword) => /ID|Number|Name|Location/.test(keyword));
const DATES = ['StudyDate', 'SeriesDate', 'AcquisitionDate', 'ContentDate', 'PatientBirthDate', 'AdmittingDate'];
const UIDS = [
  'StudyInstanceUID',
  'SeriesInstanceUID',
  'SOPInstanceUID',
  'FrameOfReferenceUID',
  'SynchronizationFrameOfReferenceUID',
];
/** where people write what they should not: some are in the table, some stay */
const WRITTEN = [
  'StudyDescription',
  'SeriesDescription',
  'ImageComments',
  'SequenceName',
  'ConvolutionKernel',
  'FilterType',
  'KVPComment',
].filter((keyword) => attribute(keyword) !== undefined);
const SEQUENCES = [
  'RequestAttributesSequence',
  'ReferencedSeriesSequence',
  'AnatomicRegionSequence',
  'ConceptNameCodeSequence',
];

interface Case {
  readonly source: BuilderDataSet;
  readonly secrets: readonly string[];
}

const cases: fc.Arbitrary<Case> = fc
  .record({
    names: fc.uniqueArray(secretName, { minLength: 3, maxLength: 3 }),
    numbers: fc.uniqueArray(secretNumber, { minLength: 4, maxLength: 4 }),
    dates: secretDates,
    uids: fc.uniqueArray(secretUid, { minLength: 5, maxLength: 5 }),
    nameKeywords: fc.uniqueArray(fc.constantFrom(...NAMES), { maxLength: 4 }),
    numberKeywords: fc.uniqueArray(fc.constantFrom(...NUMBERS), { maxLength: 6 }),
    dateKeywords: fc.uniqueArray(fc.constantFrom(...DATES), { minLength: 3, maxLength: 3 }),
    written: fc.uniqueArray(fc.constantFrom(...WRITTEN), { maxLength: 4 }),
    sequence: fc.constantFrom(...SEQUENCES),
    depth: fc.integer({ min: 1, max: 4 }),
  })
  .map((drawn) => {
    const { names, numbers, dates, uids } = drawn;
    const secrets = [...names, ...numbers, ...dates, ...uids];
    const pick = (from: readonly string[], i: number): string => from[i % from.length]!;
    const values: Record<string, BuilderValue> = {};
    for (const [i, keyword] of drawn.nameKeywords.entries())
      values[keyword] = `${pick(names, i)}^${pick(names, i + 1)}`;
    for (const [i, keyword] of drawn.numberKeywords.entries()) values[keyword] = pick(numbers, i);
    for (const [i, keyword] of drawn.dateKeywords.entries()) values[keyword] = pick(dates, i);
    for (const [i, keyword] of UIDS.entries()) values[keyword] = uids[i];
    // All secrets stand where they belong, so that a copy of them elsewhere is known for what it is.
    values.PatientName = `${names[0]}^${names[1]}`;
    values.PatientID = numbers[0];
    values.OtherPatientNames = `${names[2]}^${names[1]}`;
    values.AccessionNumber = numbers[1];
    values.StudyID = numbers[2];
    values.StationName = numbers[3];
    for (const [i, keyword] of DATES.entries()) values[keyword] ??= pick(dates, i);
    for (const [i, keyword] of drawn.written.entries())
      values[keyword] = `for ${pick(names, i)} ${pick(numbers, i + 1)} ${pick(dates, i)}`.slice(0, 60);
    values['00091001'] = { vr: 'LO', value: names[0]! };
    values['00090010'] = { vr: 'LO', value: names[1]! };
    values.ManufacturerModelName = { vr: 'UN', value: Buffer.from(`${names[2]}`) };
    let nested: Record<string, BuilderValue> = {
      CodeMeaning: `of ${names[1]}`,
      CodingSchemeDesignator: '99X',
      PatientName: `${names[2]}^${names[0]}`,
      PersonName: `${names[1]}^`,
      TextValue: `${names[0]} born ${dates[0]}, number ${numbers[0]}`,
      ReferencedSOPInstanceUID: uids[2],
    };
    for (let i = 0; i < drawn.depth; i++) nested = { [drawn.sequence]: [nested as BuilderDataSet] };
    return { source: { ...values, ...nested } as BuilderDataSet, secrets };
  });

const profiles: fc.Arbitrary<Partial<Profile>> = fc.record({
  dates: fc.constantFrom('remove', 'shift'),
  retainPatientCharacteristics: fc.boolean(),
  retainSafePrivate: fc.boolean(),
  cleanDescriptors: fc.boolean(),
  cleanStructuredContent: fc.boolean(),
  cleanGraphics: fc.boolean(),
});

test('no name, number, date or UID of the source is anywhere in the bytes of the copy', async () => {
  let copies = 0;
  await fc.assert(
    fc.asyncProperty(
      cases,
      profiles,
      fc.constantFrom(EXPLICIT_LE, IMPLICIT_LE),
      async ({ source, secrets }, profile, syntax) => {
        const object = buildDicom(source, { transferSyntaxUID: syntax });
        const { bytes, refused } = await deidentified(object, profile);
        expect(refused).toBeUndefined();
        copies++;
        // the 39 digits of a new UID may hold those of a date by chance
        const told = bytes
          .toString('latin1')
          .toLowerCase()
          .replaceAll(/2\.25\.\d{30,}/g, 'UID');
        for (const secret of secrets) expect(told.includes(secret.toLowerCase()), secret).toBe(false);
      },
    ),
    { numRuns: 150 },
  );
  expect(copies).toBeGreaterThan(100);
});
