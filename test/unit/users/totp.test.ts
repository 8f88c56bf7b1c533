import { expect, test } from 'vitest';
import { newRecoveryCodes, newTotpSecret, normalRecoveryCode, totpCode, totpStep, totpUri } from '#core/users/totp.ts';
import { TestClock } from '#test/fixtures/services.ts';

/** `12345678901234567890` in base32: the secret of RFC 6238 Appendix B. */
const SECRET = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';

test.each([
  [59, '287082'],
  [1_111_111_109, '081804'],
  [1_111_111_111, '050471'],
  [1_234_567_890, '005924'],
  [2_000_000_000, '279037'],
  [20_000_000_000, '353130'],
])('at %i s the code is %s (RFC 6238 Appendix B, its last six digits)', (seconds, code) => {
  expect(totpCode(SECRET, Math.floor(seconds / 30))).toBe(code);
});

test('a code holds for its step and one on either side, and never after one that was accepted', () => {
  const now = 1_111_111_111_000;
  const step = Math.floor(now / 30_000);
  for (const [offset, accepted] of [
    [-2, undefined],
    [-1, step - 1],
    [0, step],
    [1, step + 1],
    [2, undefined],
  ] as const)
    expect(totpStep(SECRET, totpCode(SECRET, step + offset), now, 0), String(offset)).toBe(accepted);
  expect(totpStep(SECRET, totpCode(SECRET, step), now, step)).toBeUndefined();
  expect(totpStep(SECRET, totpCode(SECRET, step - 1), now, step)).toBeUndefined();
  expect(totpStep(SECRET, '050 471', now, 0)).toBe(step);
  for (const code of ['', '05047', '0504711', 'abcdef', ' ', '０５０４７１'])
    expect(totpStep(SECRET, code, now, 0), code).toBeUndefined();
});

test('secrets have 160 bits, recovery codes 80, and both are read as people type them', () => {
  const clock = new TestClock();
  expect(newTotpSecret(clock)).toMatch(/^[A-Z2-7]{32}$/);
  const codes = newRecoveryCodes(clock);
  expect(new Set(codes).size).toBe(10);
  expect(codes[0]).toMatch(/^([A-Z2-7]{4}-){3}[A-Z2-7]{4}$/);
  expect(normalRecoveryCode(` ${codes[0]!.toLowerCase().replaceAll('-', ' ')}`)).toBe(codes[0]!.replaceAll('-', ''));
  expect(totpUri('ABC', 'Nephos pacs.example', 'v:w')).toBe(
    'otpauth://totp/Nephos%20pacs.example:v%3Aw?secret=ABC&issuer=Nephos%20pacs.example',
  );
});
