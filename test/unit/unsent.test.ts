import { expect, test } from 'vitest';
import { codeOf, isUnsent } from '#adapters/unsent.ts';

const failed = (code: string): Error => Object.assign(new Error(code), { code });

test('a request has not left only where every address says so', () => {
  expect(isUnsent(failed('ECONNREFUSED'))).toBe(true);
  expect(isUnsent(failed('ECONNRESET'))).toBe(false);
  expect(isUnsent(new AggregateError([failed('ECONNREFUSED'), failed('ENETUNREACH')]))).toBe(true);
  expect(isUnsent(new AggregateError([failed('ECONNREFUSED'), failed('ECONNRESET')]))).toBe(false);
  // Errors that tell nothing are no certainty.
  expect(isUnsent(new AggregateError([]))).toBe(false);
  expect(isUnsent(undefined)).toBe(false);
  expect(codeOf(undefined)).toBe('unknown');
});
