import { expect, test } from 'vitest';
import type { DataSet } from '#core/dicom/types.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { queryOf } from '#dimse/services/query.ts';

const NIGHT_SHIFT: DataSet = {
  '00080020': { vr: 'DA', Value: ['20240131-20240201'] },
  '00080030': { vr: 'TM', Value: ['220000-060000'] },
};

test('a range of dates and one of times are one moment to another where that was negotiated (PS3.4 C.2.2.2.5)', () => {
  const { conditions } = queryOf(NIGHT_SHIFT, 'STUDY', DEFAULT_LIMITS, { fuzzy: false, combinedTimes: true });
  expect(conditions.study.map(({ key }) => key)).toEqual([
    { kind: 'dateAndTime', timeTag: '00080030', from: '20240131220000000000', to: '20240201060000999999' },
  ]);
});

test('and two conditions of their own where it was not', () => {
  const { conditions } = queryOf(NIGHT_SHIFT, 'STUDY', DEFAULT_LIMITS, { fuzzy: false });
  expect(conditions.study.map(({ key }) => key.kind)).toEqual(['range', 'range']);
});
