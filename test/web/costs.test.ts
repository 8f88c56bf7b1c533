import { expect, test } from 'vitest';
import { scaleOf } from '../../web/src/components/bar-chart.tsx';
import { formatAmount, formatMonth, formatSize } from '../../web/src/pages/costs-words.ts';

const KIB = 1024;
const TIB = 1024 ** 4;

test.each([
  [0, 0],
  [1, 1],
  [722, 800],
  [1.3 * TIB, 2 * TIB],
  [6.5 * TIB, 8 * TIB],
  [8 * TIB, 8 * TIB],
  [9 * TIB, 10 * TIB],
  [120 * KIB, 200 * KIB],
  [1_000 * KIB, 1_000 * KIB],
])('a chart of at most %s bytes ends at %s', (most, end) => {
  expect(scaleOf(most)).toBe(end);
});

test.each([
  [0, '0 bytes'],
  [722, '722 bytes'],
  [1_536, '1.5 KiB'],
  [1e12, '931 GiB'],
  [6.5 * TIB, '6.5 TiB'],
  [3_000 * TIB, '2.9 PiB'],
])('%s bytes are said as %s', (bytes, said) => {
  expect(formatSize(bytes)).toBe(said);
});

test('amounts have their currency, and small ones are seen', () => {
  expect(formatAmount(1234.5, 'EUR')).toBe('1,234.50 EUR');
  expect(formatAmount(0.00071, 'USD')).toBe('0.0007 USD');
  expect(formatAmount(0, 'USD')).toBe('0.00 USD');
});

test('months are said by name', () => {
  expect(formatMonth('2026-11')).toBe('Nov 2026');
});
