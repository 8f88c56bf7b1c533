import { attributeOf } from '../dicom/dictionary.ts';
import type { DataSet, Element } from '../dicom/types.ts';

/** What stands where a value is required and must not be told. */
export const DUMMY_TEXT = 'Removed';
const DUMMY_DATE = '19000101';
const DUMMY_TIME = '000000';

const DUMMIES: Readonly<Record<string, Omit<Element, 'vr'>>> = {
  AE: { Value: ['REMOVED'] },
  AS: { Value: ['000Y'] },
  AT: { Value: ['00000000'] },
  CS: { Value: ['REMOVED'] },
  DA: { Value: [DUMMY_DATE] },
  DT: { Value: [DUMMY_DATE + DUMMY_TIME] },
  PN: { Value: [{ Alphabetic: DUMMY_TEXT }] },
  TM: { Value: [DUMMY_TIME] },
  UR: { Value: ['urn:removed'] },
};
const NUMBERS = new Set(['DS', 'IS', 'FD', 'FL', 'SL', 'SS', 'SV', 'UL', 'US', 'UV']);
const TEXTS = new Set(['LO', 'LT', 'SH', 'ST', 'UC', 'UT']);
/** eight zeros: whole words of every width */
const ZEROS = { InlineBinary: 'AAAAAAAAAAA=' };

/** A value of that VR that says nothing. */
export function dummyValue(vr: string): Element {
  if (TEXTS.has(vr)) return { vr, Value: [DUMMY_TEXT] };
  if (NUMBERS.has(vr)) return { vr, Value: [0] };
  return { vr, ...(DUMMIES[vr] ?? ZEROS) };
}

export const codeItem = (code: string, scheme: string, meaning: string): DataSet => ({
  '00080100': { vr: 'SH', Value: [code] },
  '00080102': { vr: 'SH', Value: [scheme] },
  '00080104': { vr: 'LO', Value: [meaning] },
});

export const DUMMY_CODE_SEQUENCE: Element = { vr: 'SQ', Value: [codeItem('REMOVED', '99NEPHOS', DUMMY_TEXT)] };

export const isCodeSequence = (tag: string): boolean =>
  attributeOf(Number.parseInt(tag, 16))?.keyword.endsWith('CodeSequence') === true;

const text = (vr: string, value: string): Element => ({ vr, Value: [value] });

/** One item that is all its IOD asks for, where the attributes of the item are not themselves in the profile's table. `graphicLayer`: what the item of the source has as such. */
export function dummySequence(tag: string, graphicLayer: DataSet): Element | undefined {
  switch (tag) {
    // Content Sequence
    case '0040A730':
      return {
        vr: 'SQ',
        Value: [
          {
            '0040A010': text('CS', 'CONTAINS'),
            '0040A040': text('CS', 'TEXT'),
            '0040A043': { vr: 'SQ', Value: [codeItem('121106', 'DCM', 'Comment')] },
            '0040A160': text('UT', DUMMY_TEXT),
          },
        ],
      };
    // Graphic Annotation Sequence
    case '00700001': {
      const anchor: DataSet = {
        '00700004': text('CS', 'PIXEL'),
        '00700006': text('ST', DUMMY_TEXT),
        '00700014': { vr: 'FL', Value: [1, 1] },
        '00700015': text('CS', 'N'),
      };
      const item: DataSet = { '00700008': { vr: 'SQ', Value: [anchor] } };
      return { vr: 'SQ', Value: [{ ...graphicLayer, ...item }] };
    }
    // Waveform Annotation Sequence
    case '0040B020':
      return {
        vr: 'SQ',
        Value: [
          {
            '00700006': text('ST', DUMMY_TEXT),
            '0040A0B0': { vr: 'US', Value: [1, 0] },
          },
        ],
      };
    default:
      return undefined;
  }
}
