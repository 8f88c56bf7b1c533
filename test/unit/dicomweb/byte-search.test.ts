import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteSearch } from '#dicomweb/byte-search.ts';

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

/** few different bytes, so that runs are found, nearly found and overlap */
const bytes = (options: { minLength?: number; maxLength: number }) =>
  fc.array(fc.constantFrom(0x0a, 0x2d, 0x61, 0x62), options).map((list) => Buffer.from(list));

test('a run is found where Buffer.indexOf finds it, from any place on', () => {
  fc.assert(
    fc.property(bytes({ minLength: 1, maxLength: 6 }), bytes({ maxLength: 60 }), fc.nat(70), (run, chunk, from) => {
      const expected = from > chunk.length ? -1 : chunk.indexOf(run, from);
      expect(new ByteSearch(run).indexIn(chunk, from)).toBe(expected);
    }),
    { numRuns: 3000 },
  );
});

test('a boundary is found at the beginning, at the end and behind lines that begin as it does', () => {
  const search = new ByteSearch(latin1('\n--boundary'));
  expect(search.indexIn(latin1('\n--boundary and on'), 0)).toBe(0);
  expect(search.indexIn(latin1('value\r\n--boundary'), 0)).toBe(6);
  expect(search.indexIn(latin1('\n--bound\n--boundar\n--boundary'), 0)).toBe(18);
  expect(search.indexIn(latin1('\n--boundary'), 1)).toBe(-1);
  expect(search.indexIn(latin1('\n--boundar'), 0)).toBe(-1);
  expect(search.indexIn(latin1(''), 0)).toBe(-1);
});

test('a run longer than 255 bytes is found', () => {
  const run = latin1(`\n--${'b'.repeat(300)}c`);
  expect(new ByteSearch(run).indexIn(Buffer.concat([Buffer.alloc(5000), run]), 0)).toBe(5000);
});
