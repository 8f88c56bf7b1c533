import { describe, expect, test } from 'vitest';
import { toDateRange, toSearchParams, toWildcard } from '../../web/src/api/search.ts';
import { isFiltered, readQuery } from '../../web/src/pages/studies-query.ts';

describe('filters of the study list', () => {
  test.each([
    ['doe', '*doe*'],
    ['Doe, Jane', '*Doe*Jane*'],
    ['doe^jane', '*doe*jane*'],
    ['doe*', 'doe*'],
    ['d?e', 'd?e'],
    ['  ', ''],
  ])('name %s asks for %s', (typed, asked) => {
    expect(toWildcard(typed, true)).toBe(asked);
  });

  test('a number keeps its blanks', () => {
    expect(toWildcard('12 34')).toBe('*12 34*');
  });

  test.each([
    ['2024-01-01', '2024-01-31', '20240101-20240131'],
    ['2024-01-01', '', '20240101-'],
    ['', '2024-01-31', '-20240131'],
    ['2024-01-01', '2024-01-01', '20240101'],
    ['', '', ''],
  ])('dates %s to %s ask for %s', (from, to, asked) => {
    expect(toDateRange(from, to)).toBe(asked);
  });

  test('an address becomes a query of the archive', () => {
    const query = readQuery(new URLSearchParams('name=doe&modality=CT,MR&from=2024-01-01&sort=PatientName&page=3'));
    const params = toSearchParams(query);
    expect(Object.fromEntries(params)).toMatchObject({
      PatientName: '*doe*',
      ModalitiesInStudy: 'CT,MR',
      StudyDate: '20240101-',
      orderby: 'PatientName',
      limit: '26',
      offset: '50',
    });
    expect(params.has('PatientID')).toBe(false);
  });

  test('a bent address falls back to the plain list, newest first', () => {
    const query = readQuery(new URLSearchParams('sort=Nonsense&page=-4&size=7&from=yesterday'));
    expect(query).toMatchObject({ sort: 'StudyDate', descending: true, page: 1, pageSize: 25, from: '' });
    expect(isFiltered(query)).toBe(false);
  });
});
