import { describe, expect, test } from 'vitest';
import type { StudyRecord } from '#core/archive/records.ts';
import type { DataSet } from '#core/dicom/types.ts';
import {
  ATTRIBUTES,
  INSTANCE_ATTRIBUTES,
  pickAttributes,
  SERIES_ATTRIBUTES,
  STUDY_ATTRIBUTES,
} from '#core/search/attributes.ts';
import { countWrites, postingDeletes, postingPuts } from '#core/search/postings.ts';
import { syntheticStudy } from '#test/fixtures/study-corpus.ts';

describe('the attribute registry', () => {
  test('knows each attribute once a level, and what is counted is not taken from objects', () => {
    for (const rows of Object.values(ATTRIBUTES)) expect(new Set(rows.map((row) => row.tag)).size).toBe(rows.length);
    expect(STUDY_ATTRIBUTES).toContain('00100010');
    expect(STUDY_ATTRIBUTES).not.toContain('00080061');
    expect(SERIES_ATTRIBUTES).toContain('0008103E');
    expect(INSTANCE_ATTRIBUTES).toContain('00280010');
  });

  test('a record keeps what its level names, in tag order', () => {
    const dataSet: DataSet = {
      '00100020': { vr: 'LO', Value: ['P1'] },
      '00080060': { vr: 'CS', Value: ['CT'] },
      '00080020': { vr: 'DA', Value: ['20240101'] },
      '00200013': { vr: 'IS', Value: [1] },
      '7FE00010': { vr: 'OW', bulk: { offset: 1, length: 2 } },
    };
    expect(Object.keys(pickAttributes(dataSet, 'study'))).toEqual(['00080020', '00100020']);
    expect(Object.keys(pickAttributes(dataSet, 'series'))).toEqual(['00080060']);
    expect(Object.keys(pickAttributes(dataSet, 'instance'))).toEqual(['00200013']);
  });

  test('items keep the attributes that can be asked for', () => {
    const item: DataSet = { '00080100': { vr: 'SH', Value: ['C'] }, '0008010B': { vr: 'CS', Value: ['N'] } };
    const picked = pickAttributes({ '00081032': { vr: 'SQ', Value: [item] } }, 'study');
    expect(picked['00081032']?.Value).toEqual([{ '00080100': { vr: 'SH', Value: ['C'] } }]);
  });

  test('what would make a record too large for its item is left to the metadata', () => {
    const long = 'x'.repeat(40_000);
    const picked = pickAttributes(
      {
        '00101001': { vr: 'PN', Value: [{ Alphabetic: long }] },
        '001021B0': { vr: 'LT', Value: [long] },
        '00104000': { vr: 'LT', Value: ['short'] },
      },
      'study',
    );
    expect(Object.keys(picked)).toEqual(['00101001', '00104000']);
  });
});

describe('postings', () => {
  const before = syntheticStudy(1).study;

  test('a study takes about twenty rows', () => {
    expect(postingPuts('main', undefined, before).length).toBeLessThanOrEqual(25);
  });

  test('a study that only grew changes its line and nothing else', () => {
    const after: StudyRecord = { ...before, instanceCount: 2 };
    expect(postingPuts('main', before, after)).toEqual([]);
    expect(postingDeletes('main', before, after)).toEqual([]);
    expect(countWrites('main', before, after)).toMatchObject([{ kind: 'put', key: { partition: 'main|x|list' } }]);
  });

  test('a corrected date moves the line, the postings and the counts', () => {
    const after: StudyRecord = {
      ...before,
      attributes: { ...before.attributes, '00080020': { vr: 'DA', Value: ['20300101'] } },
    };
    expect(countWrites('main', before, after).map(({ kind }) => kind)).toEqual([
      'delete',
      'put',
      'add',
      'add',
      'add',
      'add',
      'add',
      'add',
    ]);
    expect(postingPuts('main', before, after).length).toBe(postingPuts('main', undefined, after).length);
    expect(postingDeletes('main', before, after).length).toBe(postingPuts('main', undefined, before).length);
  });

  test.each([undefined, { ...before, instanceCount: 0 }, { ...before, instanceCount: -1 }])(
    'a study without instances leaves no row',
    (after) => {
      expect(postingPuts('main', before, after)).toEqual([]);
      expect(postingDeletes('main', before, after).length).toBe(postingPuts('main', undefined, before).length);
      expect(countWrites('main', before, after).map(({ kind }) => kind)).toEqual(['delete', 'add', 'add', 'add']);
    },
  );
});
