import { describe, expect, test } from 'vitest';
import {
  formatAge,
  formatBytes,
  formatDate,
  formatNameGroup,
  formatTime,
  nameOf,
  textsOf,
} from '../../web/src/dicom/json.ts';
import { parseFileMeta } from '../../web/src/dicom/part10.ts';
import { compare, toRows } from '../../web/src/dicom/tag-rows.ts';

describe('values as people read them', () => {
  test.each([
    ['Doe^Jane', 'Doe, Jane'],
    ['Doe^Jane^M^Dr^MD', 'Doe, Jane M'],
    ['Doe', 'Doe'],
    ['^Jane', 'Jane'],
    ['', ''],
    ['van der Berg^Jan^^^', 'van der Berg, Jan'],
  ])('name %s → %s', (group, shown) => {
    expect(formatNameGroup(group)).toBe(shown);
  });

  test('a Japanese name shows its ideographic group beside the alphabetic one', () => {
    const set = {
      '00100010': {
        vr: 'PN',
        Value: [{ Alphabetic: 'Yamada^Tarou', Ideographic: '山田^太郎', Phonetic: 'やまだ^たろう' }],
      },
    };
    expect(nameOf(set, 'PatientName')).toEqual({ main: 'Yamada, Tarou', other: '山田, 太郎' });
  });

  test('a name in ideographs alone is the name', () => {
    const set = { '00100010': { vr: 'PN', Value: [{ Ideographic: '山田^太郎' }] } };
    expect(nameOf(set, 'PatientName')).toEqual({ main: '山田, 太郎', other: '' });
  });

  test.each([
    ['20240305', '05 Mar 2024'],
    ['2024.03.05', '05 Mar 2024'],
    ['20241399', '20241399'],
    ['', ''],
  ])('date %s → %s', (date, shown) => {
    expect(formatDate(date)).toBe(shown);
  });

  test('time keeps hours and minutes', () => {
    expect(formatTime('142233.123456')).toBe('14:22');
    expect(formatTime('14')).toBe('14');
  });

  test('age as given, else by the day of the study', () => {
    expect(formatAge('062Y', '', '')).toBe('62 y');
    expect(formatAge('003M', '', '')).toBe('3 m');
    expect(formatAge('000Y', '', '')).toBe('');
    expect(formatAge('', '19620317', '20240316')).toBe('61 y');
    expect(formatAge('', '19620317', '20240317')).toBe('62 y');
    expect(formatAge('', '20250101', '20240101')).toBe('');
  });

  test('sizes', () => {
    expect([0, 1023, 1536, 5 * 2 ** 20, 300 * 2 ** 30].map(formatBytes)).toEqual([
      '0 bytes',
      '1023 bytes',
      '1.5 KB',
      '5.0 MB',
      '300 GB',
    ]);
  });

  test('empty values are left out', () => {
    expect(textsOf({ '00080061': { vr: 'CS', Value: ['CT', null, 'SR'] } }, 'ModalitiesInStudy')).toEqual(['CT', 'SR']);
    expect(textsOf({ '00080061': { vr: 'CS' } }, 'ModalitiesInStudy')).toEqual([]);
  });
});

describe('the tag browser', () => {
  const set = {
    '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Doe^Jane' }] },
    '00080060': { vr: 'CS', Value: ['CT'] },
    '00400275': { vr: 'SQ', Value: [{ '00400007': { vr: 'LO', Value: ['CT chest'] } }] },
    '7FE00010': { vr: 'OW', BulkDataURI: 'http://x/bulk' },
    '00291010': { vr: 'UN', InlineBinary: 'AAEC' },
  };

  test('opens sequences and keeps the order of the tags', () => {
    expect(toRows(set).map(({ path, depth, value }) => [path, depth, value])).toEqual([
      ['00080060', 0, 'CT'],
      ['00100010', 0, 'Doe^Jane'],
      ['00291010', 0, '00 01 02'],
      ['00400275', 0, '1 item'],
      ['00400275/1', 1, 'Item 1'],
      ['00400275/1/00400007', 2, 'CT chest'],
      ['7FE00010', 0, ''],
    ]);
  });

  test('compares two objects tag by tag, nested ones included', () => {
    const other = {
      ...set,
      '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Roe^Richard' }] },
      '00100020': { vr: 'LO', Value: ['7'] },
      '00400275': { vr: 'SQ', Value: [{ '00400007': { vr: 'LO', Value: ['CT neck'] } }] },
    };
    expect(compare(set, other).map(({ path, existing, held }) => [path, existing, held])).toEqual([
      ['00100010', 'Doe^Jane', 'Roe^Richard'],
      ['00100020', undefined, '7'],
      ['00400275/1/00400007', 'CT chest', 'CT neck'],
    ]);
    expect(compare(set, set)).toEqual([]);
  });
});

describe('the head of a file', () => {
  const latin1 = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));
  const join = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));
  const element = (tag: number, vr: string, value: string) =>
    join(Uint8Array.of(2, 0, tag, 0), latin1(vr), Uint8Array.of(value.length, 0), latin1(value));
  const version = Uint8Array.of(2, 0, 1, 0, 0x4f, 0x42, 0, 0, 2, 0, 0, 0, 0, 1);
  const file = (...parts: Uint8Array[]) => join(new Uint8Array(128), latin1('DICM'), ...parts);

  test('tells class and instance', () => {
    const bytes = file(version, element(2, 'UI', '1.2.840.10008.5.1.4.1.1.2\0'), element(3, 'UI', '1.2.3.4.5 '));
    expect(parseFileMeta(bytes)).toEqual({ SOPClassUID: '1.2.840.10008.5.1.4.1.1.2', SOPInstanceUID: '1.2.3.4.5' });
  });

  test('a text file is none, a cut one tells what it can', () => {
    expect(parseFileMeta(latin1('notes'))).toBeUndefined();
    expect(parseFileMeta(new Uint8Array(500))).toBeUndefined();
    expect(parseFileMeta(file(version, element(2, 'UI', '1.2\0').subarray(0, 6)))).toEqual({
      SOPClassUID: '',
      SOPInstanceUID: '',
    });
    expect(parseFileMeta(file())).toEqual({ SOPClassUID: '', SOPInstanceUID: '' });
  });
});
