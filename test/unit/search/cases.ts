import type { Element } from '#core/dicom/types.ts';

/**
 * Golden rows of attribute matching (PS3.4 C.2.2.2, PS3.18 §8.3.4.1). `value` is what the study has: undefined, no such
 * attribute; `{ vr }`, an empty one.
 */
export interface MatchCase {
  readonly keyword: string;
  readonly asked: string;
  readonly value: Element | undefined;
  readonly matches: boolean;
  readonly why: string;
  /** other parameters of the query */
  readonly having?: string;
}

const text = (vr: string, ...Value: string[]): Element => ({ vr, Value });
const name = (Alphabetic: string, Ideographic?: string, Phonetic?: string): Element => ({
  vr: 'PN',
  Value: [{ Alphabetic, ...(Ideographic && { Ideographic }), ...(Phonetic && { Phonetic }) }],
});
const rows = (
  keyword: string,
  value: Element | undefined,
  ...cases: [asked: string, matches: boolean, why: string, having?: string][]
): MatchCase[] =>
  cases.map(([asked, matches, why, having]) => ({ keyword, value, asked, matches, why, ...(having && { having }) }));

const yamada = name('Yamada^Tarou', '山田^太郎', 'やまだ^たろう');

export const MATCH_CASES: readonly MatchCase[] = [
  ...rows(
    'PatientID',
    text('LO', 'A12-7'),
    ['A12-7', true, 'single value'],
    ['a12-7', false, 'case counts but in person names'],
    ['A12', false, 'a part is no match without a wild card'],
    ['', true, 'an empty key is universal'],
    ['*', true, 'a star alone is universal'],
    ['A*', true, 'star for any run'],
    ['*12*', true, 'infix'],
    ['*-7', true, 'suffix'],
    ['A?2-7', true, 'question mark for one character'],
    ['A12-7?', false, 'a question mark stands for a character, not for none'],
    ['A12-7*', true, 'a star may stand for nothing'],
    [' A12-7 ', true, 'blanks around are no part of the value'],
    ['A12-7\\B3', false, 'several values only where the extension is asked for'],
    ['A12-7\\B3', true, 'multiple value matching', 'multiplevaluematching=true'],
    ['""', false, 'empty value matching finds no value that is there', 'emptyvaluematching=true'],
    ['a12*', false, 'case counts in patterns of identifiers'],
  ),
  ...rows(
    'StudyDescription',
    text('LO', 'CT TRAUMA Schädel'),
    ['*trauma*', true, 'people look for a part of a description without minding its case'],
    ['ct*schadel', true, 'nor its accents'],
    ['ct trauma schädel', false, 'a whole value matches by case'],
    ['CT TRAUMA Schädel', true, 'single value'],
    ['*head*', false, 'another word'],
  ),
  ...rows(
    'PatientID',
    undefined,
    ['A12-7', false, 'what is missing matches no value'],
    ['A*', false, 'nor a pattern'],
    ['?*', false, 'not even one of any length'],
    ['', true, 'but the universal key'],
    ['""', true, 'and empty value matching', 'emptyvaluematching=true'],
  ),
  ...rows(
    'PatientID',
    { vr: 'LO' },
    ['A', false, 'empty is as missing'],
    ['""', true, 'empty value matching', 'emptyvaluematching=true'],
  ),
  ...rows(
    'PatientName',
    name('Müller^Hans-Peter^^Dr.'),
    ['Müller^Hans-Peter^^Dr.', true, 'single value'],
    ['MULLER^HANS-PETER^^DR.', true, 'case and accents do not count in names'],
    ['muller*', true, 'prefix'],
    ['*peter*', true, 'infix'],
    ['Müller', false, 'a family name alone is not the whole name'],
    ['Müller^Hans-Peter', false, 'the prefix component is part of the name'],
    ['M?ller*', true, 'question mark'],
    ['=Müller*', false, 'the second component group is asked for'],
    ['Müller*=', true, 'an empty group asks nothing'],
    ['Mueller', false, 'a transliteration is another name'],
    ['peter muller', true, 'fuzzy: words in any order', 'fuzzymatching=true'],
    ['mull', true, 'fuzzy: the beginning of a word', 'fuzzymatching=true'],
    ['Mueller', true, 'fuzzy: sounds alike', 'fuzzymatching=true'],
    ['muller anna', false, 'fuzzy: every word is needed', 'fuzzymatching=true'],
    ['*ans-pet*', true, 'fuzzy: literal matching holds still', 'fuzzymatching=true'],
  ),
  ...rows(
    'PatientName',
    name('Smith^John^^^'),
    ['Smith^John', true, 'delimiters of empty components at the end say nothing'],
    ['Smith^John^', true, 'on either side'],
  ),
  ...rows(
    'PatientName',
    yamada,
    ['Yamada*', true, 'alphabetic group'],
    ['山田*', true, 'a single group may be any of them: ideographic'],
    ['*たろう', true, 'phonetic'],
    ['Yamada^Tarou=山田^太郎', true, 'two groups'],
    ['Yamada^Tarou=田中*', false, 'both have to match'],
    ['=山田^太郎', true, 'ideographic alone'],
    ['==やまだ*', true, 'phonetic alone'],
    ['=やまだ*', false, 'phonetic is not ideographic'],
    ['やまた*', false, 'a voiced kana is another letter'],
  ),
  ...rows('PatientName', undefined, ['*a*', false, 'missing'], ['x', false, 'missing, fuzzy', 'fuzzymatching=true']),
  ...rows(
    'StudyDate',
    text('DA', '20240229'),
    ['20240229', true, 'the day'],
    ['20240228', false, 'another day'],
    ['20240101-20240331', true, 'range'],
    ['20240229-20240229', true, 'range of one day'],
    ['20240229-', true, 'open end, inclusive'],
    ['-20240229', true, 'open start, inclusive'],
    ['20240301-', false, 'after it'],
    ['-20240228', false, 'before it'],
    ['2024.02.29', true, 'the form of ACR-NEMA'],
    ['2024-02-29', true, 'the form of ISO 8601'],
  ),
  ...rows(
    'StudyDate',
    text('DA', '2024.02.29'),
    ['20240229', true, 'the form of ACR-NEMA in the object'],
    ['20240101-20241231', true, 'in a range'],
  ),
  ...rows('StudyDate', undefined, ['-20991231', false, 'no date is in no range'], ['00010101-', false, 'nor in this']),
  ...rows('StudyDate', text('DA', 'unknown'), ['00010101-', false, 'what is no date is in no range']),
  ...rows(
    'StudyTime',
    text('TM', '103015.5'),
    ['103015.5', true, 'single'],
    ['1030', true, 'an hour and minute is the whole minute'],
    ['10', true, 'an hour is the whole hour'],
    ['1031', false, 'another minute'],
    ['1000-1030', true, 'a range to the end of its last minute'],
    ['-103014', false, 'before it'],
    ['10:30-10:31', true, 'colons as of old'],
    ['103015.6-', false, 'fractions count'],
  ),
  ...rows('StudyTime', text('TM', '10:30:15'), ['103015', true, 'colons in the object']),
  ...rows(
    'AcquisitionDateTime',
    text('DT', '20240229103015.123+0100'),
    ['20240229', true, 'the whole day'],
    ['20240229100000-20240229110000', true, 'range'],
    ['2024-', true, 'from a year on'],
    ['-202401', false, 'to a month'],
    ['20240229093015.123+0000', true, 'the same moment by the clocks of another zone'],
    ['20240229093000+0000-20240229094000+0000', true, 'a range that names its zone'],
    ['20240229103000+0000-20240229104000+0000', false, 'the same digits in another zone'],
    ['20240229040000-0500-20240229104000+0100', true, 'bounds of two zones'],
    ['20240229040000-0500-20240229100000+0100', false, 'and none between them'],
    ['-20240229093014+0000', false, 'to a second before it'],
  ),
  ...rows(
    'AcquisitionDateTime',
    text('DT', '20240229103015'),
    [
      '20240229093000+0000-20240229094000+0000',
      false,
      'a value without an offset is taken as one of the zone asked about',
    ],
    ['20240229103000+0000-20240229104000+0000', true, 'and so it matches'],
  ),
  ...rows(
    'ModalitiesInStudy',
    text('CS', 'CT', 'SR'),
    ['SR', true, 'any of several values'],
    ['MR', false, 'none of them'],
    ['MR\\CT', true, 'one of a list'],
    ['MR,CT', true, 'a list by commas, as viewers send it'],
    ['C*', true, 'wild cards may be used in CS'],
    ['ct', false, 'case counts'],
  ),
  ...rows(
    'StudyInstanceUID',
    text('UI', '1.2.840.1'),
    ['1.2.840.1', true, 'single UID'],
    ['1.2.840', false, 'no prefix'],
    ['1.9\\1.2.840.1', true, 'list of UID'],
    ['1.9,1.2.840.1', true, 'list by commas'],
    ['1.9', false, 'another'],
  ),
  ...rows(
    'InstanceNumber',
    { vr: 'IS', Value: [7] },
    ['7', true, 'number'],
    ['007', true, 'numbers by their value'],
    ['70', false, 'another'],
    ['6\\7', true, 'list'],
  ),
  ...rows('InstanceNumber', text('IS', '+7'), ['7', true, 'numbers that came as text']),
  ...rows(
    'RequestAttributesSequence.ScheduledProcedureStepID',
    {
      vr: 'SQ',
      Value: [
        { '00400009': text('SH', 'S1'), '00401001': text('SH', 'R1') },
        { '00400009': text('SH', 'S2'), '00401001': text('SH', 'R2') },
      ],
    },
    ['S2', true, 'any item'],
    ['S3', false, 'no item'],
    ['S*', true, 'as outside of sequences'],
    ['S1', true, 'both keys in one item', 'RequestAttributesSequence.RequestedProcedureID=R1'],
    ['S1', false, 'keys met by different items', 'RequestAttributesSequence.RequestedProcedureID=R2'],
  ),
  ...rows('RequestAttributesSequence.ScheduledProcedureStepID', { vr: 'SQ', Value: [] }, [
    'S1',
    false,
    'a sequence without items',
  ]),
];
