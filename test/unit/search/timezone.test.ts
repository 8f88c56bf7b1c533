import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DataSet } from '#core/dicom/types.ts';
import { elementsOf } from '#core/search/match.ts';
import { offsetMinutes } from '#core/search/offset.ts';
import { dataSetInZone, inZone, widened } from '#core/search/timezone.ts';

const da = (value: string) => ({ vr: 'DA', Value: [value] });
const tm = (value: string) => ({ vr: 'TM', Value: [value] });
const zoneOf = (value: string) => ({ vr: 'SH', Value: [value] });
const seen = (dataSet: DataSet, zone: string, tag: string): unknown =>
  inZone(elementsOf(dataSet), offsetMinutes(zone)!)(tag)?.Value?.[0];

const DATE = '00080020';
const TIME = '00080030';
const ZONE = '00080201';

describe('an offset from UTC', () => {
  test.each([
    ['+0000', 0],
    ['+0130', 90],
    ['-0330', -210],
    ['+1400', 840],
    ['-1200', -720],
    ['-0000', undefined],
    ['+1401', undefined],
    ['0100', undefined],
    ['+01:00', undefined],
    ['', undefined],
  ])('%s is %s minutes', (text, minutes) => expect(offsetMinutes(text)).toBe(minutes));
});

describe('a study made in New York, asked about from Berlin', () => {
  const study = { [DATE]: da('20260102'), [TIME]: tm('201530.25'), [ZONE]: zoneOf('-0500') };

  test('has the date and the time of Berlin, and says so', () => {
    expect(seen(study, '+0100', DATE)).toBe('20260103');
    expect(seen(study, '+0100', TIME)).toBe('021530.25');
    expect(seen(study, '+0100', ZONE)).toBe('+0100');
  });

  test('keeps the precision of its time, unless the offset needs minutes', () => {
    const hour = { ...study, [TIME]: tm('20') };
    expect(seen(hour, '+0100', TIME)).toBe('02');
    expect(seen(hour, '+0530', TIME)).toBe('0630');
  });

  test('without a time its date stays', () => {
    expect(seen({ ...study, [TIME]: tm('') }, '+0100', DATE)).toBe('20260102');
  });

  test('made on a day that there is not, it stays where it is', () => {
    const never = { ...study, [DATE]: da('20260299') };
    expect(seen(never, '+0100', DATE)).toBe('20260299');
    expect(seen(never, '+0100', TIME)).toBe('201530.25');
    expect(widened({ [DATE]: da('20260299') }, 60)[DATE]).toEqual(da('20260299-20260299'));
  });

  test('a birthday is moved by nobody', () => {
    const born = { ...study, '00100030': da('19700101'), '00100032': tm('2300') };
    expect(seen(born, '+0100', '00100030')).toBe('19700101');
    expect(seen(born, '+0100', '00100032')).toBe('2300');
  });

  test('a moment is read by its own offset, else by that of the object', () => {
    const acquired = (value: string) =>
      seen({ ...study, '0008002A': { vr: 'DT', Value: [value] } }, '+0100', '0008002A');
    expect(acquired('20260102201530')).toBe('20260103021530');
    expect(acquired('20260102201530+0000')).toBe('20260102211530');
    expect(acquired('20260102')).toBe('20260102');
  });

  test('one that states no offset is taken at its word', () => {
    const { [ZONE]: _, ...silent } = study;
    expect(seen(silent, '+0100', DATE)).toBe('20260102');
    expect(seen(silent, '+0100', ZONE)).toBeUndefined();
  });
});

test('keys are widened by a day, their times left open, and what is needed to judge is asked for', () => {
  expect(widened({ [DATE]: da('20260301-20260302'), '00100030': da('19700101') }, 60)).toEqual({
    [DATE]: da('20260228-20260303'),
    [TIME]: { vr: 'TM' },
    [ZONE]: { vr: 'SH' },
    '00100030': da('19700101'),
  });
  expect(widened({ [DATE]: da('-20251231'), [TIME]: tm('10-12') }, 60)[DATE]).toEqual(da('-20260101'));
});

test('in Samoa a study made on Baker Island is two days late: keys are widened by as much', () => {
  const study = { [DATE]: da('20260101'), [TIME]: tm('233000'), [ZONE]: zoneOf('-1200') };
  expect(seen(study, '+1400', DATE)).toBe('20260103');
  expect(widened({ [DATE]: da('20260103') }, 14 * 60)[DATE]).toEqual(da('20260101-20260105'));
});

test('what stands in sequences is read by the offset of the data set', () => {
  const step = { '00400002': da('20260102'), '00400003': tm('2015') };
  const item = { [ZONE]: zoneOf('-0500'), '00400100': { vr: 'SQ', Value: [step] } };
  expect(dataSetInZone(item, 60)).toEqual({
    [ZONE]: zoneOf('+0100'),
    '00400100': { vr: 'SQ', Value: [{ '00400002': da('20260103'), '00400003': tm('0215') }] },
  });
});

test('there and back again is where it was', () => {
  const offset = fc
    .integer({ min: -48, max: 56 })
    .map((quarters) => quarters * 15)
    .map((minutes) => {
      const size = Math.abs(minutes);
      return `${minutes < 0 ? '-' : '+'}${String(Math.floor(size / 60)).padStart(2, '0')}${String(size % 60).padStart(2, '0')}`;
    });
  const moment = fc.date({ min: new Date('1950-01-02'), max: new Date('2100-01-01'), noInvalidDate: true });
  fc.assert(
    fc.property(moment, offset, offset, (when, from, to) => {
      const text = when.toISOString().replaceAll(/[-:T]/g, '');
      const study = { [DATE]: da(text.slice(0, 8)), [TIME]: tm(text.slice(8, 14)), [ZONE]: zoneOf(from) };
      const there = {
        [DATE]: da(String(seen(study, to, DATE))),
        [TIME]: tm(String(seen(study, to, TIME))),
        [ZONE]: zoneOf(to),
      };
      expect([seen(there, from, DATE), seen(there, from, TIME)]).toEqual([text.slice(0, 8), text.slice(8, 14)]);
    }),
  );
});
