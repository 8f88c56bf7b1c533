import { describe, expect, test } from 'vitest';
import { checkPassword, Passwords } from '#core/users/passwords.ts';
import { TestClock } from '#test/fixtures/services.ts';

const CHEAP = { ln: 4, r: 8, p: 1 };

describe('a password as it is kept', () => {
  test('tells nothing of itself, is another each time, and is recognized however its accents were typed', async () => {
    const passwords = new Passwords(new TestClock(), CHEAP);
    const kept = await passwords.hash('Käse und Brot im Regal');
    expect(kept).toMatch(/^\$scrypt\$ln=4,r=8,p=1\$[\w-]{22}\$[\w-]{43}$/);
    expect(await passwords.hash('Käse und Brot im Regal')).not.toBe(kept);
    expect(await passwords.verify('Käse und Brot im Regal'.normalize('NFD'), kept)).toBe(true);
    expect(await passwords.verify('Käse und Brot im regal', kept)).toBe(false);
    expect(await passwords.verify('Käse und Brot im Regal', undefined)).toBe(false);
  });

  test('is verified with the costs it was kept with, and is then due for those of today', async () => {
    const clock = new TestClock();
    const before = await new Passwords(clock, CHEAP).hash('an old lighthouse door');
    const today = new Passwords(clock, { ...CHEAP, ln: 5 });
    expect(await today.verify('an old lighthouse door', before)).toBe(true);
    expect(today.isOutdated(before)).toBe(true);
    expect(today.isOutdated(await today.hash('an old lighthouse door'))).toBe(false);
  });

  test('is derived with a memory of 32 MiB where nothing else is said (OWASP: N=2^15, r=8, p=3)', async () => {
    expect(await new Passwords(new TestClock()).hash('a lighthouse')).toMatch(/^\$scrypt\$ln=15,r=8,p=3\$/);
  });

  test('of hundreds who come at once the last are told to come again', async () => {
    const passwords = new Passwords(new TestClock(), CHEAP);
    const outcomes = await Promise.allSettled(Array.from({ length: 100 }, () => passwords.hash('x')));
    const refused = outcomes.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]).toMatchObject({ reason: { code: 'BUSY' } });
    expect(await passwords.verify('x', await passwords.hash('x'))).toBe(true);
  });
});

describe('what may be chosen', () => {
  test.each([
    'four walnuts under a lamp',
    'correct horse battery staple',
    'jK3$kd92lsP!x',
    'пароль из пяти слов',
    '東京タワーの下で待ってるよね',
    ' spaces  at both ends ',
  ])('%s', (password) => expect(() => checkPassword(password, 'vera.viewer', 12)).not.toThrow());

  test.each([
    ['elevenchars', /at least 12/],
    ['x'.repeat(257), /at most 256/],
    ['passwordpassword', /first/],
    ['Password123456', /first/],
    ['qwertyuiop1234', /first/],
    ['aaaaaaaaaaaaaaaa', /first/],
    ['1234567890123', /first/],
    ['vera.viewer2026!', /first/],
    ['Nephos-Radiology-2026', /first/],
    ['abcdefghijklmnop', /first/],
  ])('not %s', (password, why) => expect(() => checkPassword(password, 'vera.viewer', 12)).toThrow(why));
});
