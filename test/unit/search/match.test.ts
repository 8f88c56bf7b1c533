import { describe, expect, test } from 'vitest';
import { attribute } from '#core/dicom/dictionary.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { elementsOf, matchesAll, matchesPattern } from '#core/search/match.ts';
import { parseQuery } from '#core/search/query.ts';
import { MATCH_CASES } from './cases.ts';

describe('attribute matching', () => {
  test.each(
    MATCH_CASES.map((row) => ({ ...row, label: `${row.keyword}=${row.asked} ${row.having ?? ''}: ${row.why}` })),
  )('$label', ({ keyword, asked, value, matches, having }) => {
    const parameters = new URLSearchParams(having ?? '');
    parameters.append(keyword, asked);
    const { conditions, metadataConditions, ignored } = parseQuery(parameters, { level: 'instance' }, DEFAULT_LIMITS);
    expect(ignored).toEqual([]);
    const all = [...conditions.study, ...conditions.series, ...conditions.instance, ...metadataConditions];
    const tag = attribute(keyword.split('.')[0] as string)?.tag as string;
    expect(matchesAll(all, elementsOf(value === undefined ? {} : { [tag]: value }))).toBe(matches);
  });

  test('a date and its time are one range of moments', () => {
    const { conditions } = parseQuery(
      new URLSearchParams({ StudyDate: '20240101-20240103', StudyTime: '1200-0800' }),
      { level: 'study' },
      DEFAULT_LIMITS,
    );
    const at = (date: string, time?: string) =>
      matchesAll(
        conditions.study,
        elementsOf({
          '00080020': { vr: 'DA', Value: [date] },
          '00080030': { vr: 'TM', ...(time && { Value: [time] }) },
        }),
      );
    expect(at('20240101', '115959')).toBe(false);
    expect(at('20240101', '120000')).toBe(true);
    expect(at('20240102', '030000')).toBe(true);
    expect(at('20240103', '080059.9')).toBe(true);
    expect(at('20240103', '0801')).toBe(false);
    expect(at('20240102')).toBe(false);
  });

  test('a moment without an offset of its own is of the zone that its object names', () => {
    const { conditions } = parseQuery(
      new URLSearchParams({ AcquisitionDateTime: '20240229093000+0000-20240229094000+0000' }),
      { level: 'instance' },
      DEFAULT_LIMITS,
    );
    const of = (offset: string) =>
      matchesAll(
        conditions.instance,
        elementsOf({
          '0008002A': { vr: 'DT', Value: ['20240229103015'] },
          '00080201': { vr: 'SH', Value: [offset] },
        }),
      );
    expect(of('+0100')).toBe(true);
    expect(of('+0000')).toBe(false);
  });

  test('a single time goes with each day of a range', () => {
    const { conditions } = parseQuery(
      new URLSearchParams({ StudyDate: '20240101-20240103', StudyTime: '10' }),
      { level: 'study' },
      DEFAULT_LIMITS,
    );
    const at = (date: string, time: string) =>
      matchesAll(
        conditions.study,
        elementsOf({ '00080020': { vr: 'DA', Value: [date] }, '00080030': { vr: 'TM', Value: [time] } }),
      );
    expect(at('20240102', '1030')).toBe(true);
    expect(at('20240102', '1130')).toBe(false);
  });

  test.each([
    ['', '', true],
    ['*', '', true],
    ['?', '', false],
    ['a*b*c', 'axxbxxc', true],
    ['a*b*c', 'axxbxx', false],
    ['*aab', 'aaaab', true],
    ['**a**', 'a', true],
    ['a?c*', 'abcd', true],
  ])('the pattern %j and the text %j', (pattern, text, expected) => {
    expect(matchesPattern(pattern, text)).toBe(expected);
  });
});
