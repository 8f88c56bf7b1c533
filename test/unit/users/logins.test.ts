import { beforeEach, describe, expect, test } from 'vitest';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import type { Principal } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import { sweepExpired } from '#core/expiring.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { Logins } from '#core/logins.ts';
import type { Key, WriteOperation } from '#core/ports/index-table.ts';
import type { LoginIssuer, LoginTokens } from '#core/ports/login-issuer.ts';
import { TestClock } from '#test/fixtures/services.ts';

const ORIGIN = 'https://pacs.test';
const VERA: Principal = { tenant: 'clinic', subject: 'vera', roles: ['viewer'], claims: ['department=CT'] };
const MINUTE_MS = 60_000;

/** An issuer whose tokens hold ten minutes. */
class Issuer implements LoginIssuer {
  person: Principal | undefined = VERA;
  state: 'up' | 'down' | 'ended' = 'up';
  givesRefreshTokens = true;
  renewals = 0;
  readonly revoked: string[] = [];
  async authorizationUrl(_: string, { state }: { state: string }): Promise<string> {
    return `https://issuer.test/authorize?state=${state}`;
  }
  async exchange(): Promise<LoginTokens> {
    return this.#tokens('refresh-0');
  }
  async renew(_: string, refreshToken: string): Promise<LoginTokens | undefined> {
    if (this.state === 'down') throw new PacsError('BUSY', 'down');
    this.renewals++;
    await new Promise((resolve) => setImmediate(resolve));
    expect(refreshToken).toBe(`refresh-${this.renewals - 1}`);
    return this.state === 'ended' ? undefined : this.#tokens(`refresh-${this.renewals}`);
  }
  async logoutUrl(_: string, idToken: string | undefined): Promise<string> {
    return `https://issuer.test/logout?hint=${idToken}`;
  }
  async revoke(_: string, refreshToken: string): Promise<void> {
    this.revoked.push(refreshToken);
  }
  #tokens(refreshToken: string): LoginTokens {
    return {
      principal: this.person,
      idToken: 'id-token',
      refreshToken: this.givesRefreshTokens ? refreshToken : undefined,
      expiresInSeconds: 600,
    };
  }
}

let clock: TestClock;
let index: MemoryIndexTable;
let issuer: Issuer;
let logins: Logins;
beforeEach(() => {
  clock = new TestClock();
  index = new MemoryIndexTable();
  issuer = new Issuer();
  logins = new Logins({ index, clock, limits: DEFAULT_LIMITS }, issuer);
});

async function begin(): Promise<{ callback: URL; browser: string }> {
  const { url, browser } = await logins.start(ORIGIN, '/viewer?StudyInstanceUIDs=1.2');
  const state = new URL(url).searchParams.get('state')!;
  return { callback: new URL(`${ORIGIN}/api/session/callback?code=x&state=${state}`), browser };
}
async function signIn(): Promise<string> {
  const { callback, browser } = await begin();
  return (await logins.finish(callback, browser)).token;
}

describe('a sign-in', () => {
  test('opens a session for whom the issuer names, and leads back', async () => {
    const { callback, browser } = await begin();
    const opened = await logins.finish(callback, browser);
    expect(opened).toMatchObject({ principal: VERA, returnTo: '/viewer?StudyInstanceUIDs=1.2' });
    expect(await logins.verify(opened.token)).toEqual(VERA);
  });

  test('is good once, in its browser, for a quarter of an hour', async () => {
    const first = await begin();
    const other = await begin();
    await expect(logins.finish(first.callback, other.browser)).rejects.toMatchObject({ code: 'GONE' });
    await expect(logins.finish(first.callback, undefined)).rejects.toMatchObject({ code: 'GONE' });
    const both = await Promise.allSettled([1, 2].map(() => logins.finish(first.callback, first.browser)));
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    await expect(logins.finish(first.callback, first.browser)).rejects.toMatchObject({ code: 'GONE' });
    clock.advance(DEFAULT_LIMITS.loginStateMs + 1);
    await expect(logins.finish(other.callback, other.browser)).rejects.toMatchObject({ code: 'GONE' });
    await expect(logins.finish(new URL(ORIGIN), other.browser)).rejects.toMatchObject({ code: 'GONE' });
  });

  test('of somebody who has no place here opens nothing', async () => {
    issuer.person = undefined;
    const { callback, browser } = await begin();
    await expect(logins.finish(callback, browser)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });
});

describe('a session', () => {
  test('is renewed by one of all who ask, in any process, and takes what the issuer says now', async () => {
    const token = await signIn();
    const other = new Logins({ index, clock, limits: DEFAULT_LIMITS }, issuer);
    for (let round = 1; round <= 3; round++) {
      clock.advance(9 * MINUTE_MS);
      issuer.person = { ...VERA, roles: ['radiologist'] };
      const all = await Promise.all(Array.from({ length: 20 }, (_, n) => (n % 2 ? logins : other).verify(token)));
      expect(all.every((principal) => principal?.subject === 'vera')).toBe(true);
      expect(issuer.renewals).toBe(round);
    }
    expect((await logins.verify(token))?.roles).toEqual(['radiologist']);
  });

  test('ends when the issuer has ended it, names somebody else, or after its twelve hours', async () => {
    const ended = await signIn();
    issuer.state = 'ended';
    clock.advance(9 * MINUTE_MS);
    expect(await logins.verify(ended)).toBeUndefined();
    issuer.state = 'up';
    issuer.renewals = 0;
    const other = await signIn();
    issuer.person = { ...VERA, subject: 'otto' };
    clock.advance(9 * MINUTE_MS);
    expect(await logins.verify(other)).toBeUndefined();
    issuer.person = VERA;
    issuer.renewals = 0;
    const token = await signIn();
    for (let minutes = 0; minutes < 12 * 60; minutes += 9) {
      expect(await logins.verify(token), `after ${minutes} minutes`).toBeDefined();
      clock.advance(9 * MINUTE_MS);
    }
    expect(await logins.verify(token)).toBeUndefined();
  });

  test('goes on for a while when the issuer is down, and then waits for it', async () => {
    const token = await signIn();
    issuer.state = 'down';
    clock.advance(9 * MINUTE_MS);
    expect(await logins.verify(token)).toEqual(VERA);
    clock.advance(12 * MINUTE_MS);
    await expect(logins.verify(token)).rejects.toMatchObject({ code: 'BUSY' });
    issuer.state = 'up';
    clock.advance(MINUTE_MS);
    expect(await logins.verify(token)).toEqual(VERA);
  });

  test('without a refresh token ends with its tokens', async () => {
    issuer.givesRefreshTokens = false;
    const token = await signIn();
    clock.advance(9 * MINUTE_MS);
    expect(await logins.verify(token)).toEqual(VERA);
    clock.advance(2 * MINUTE_MS);
    expect(await logins.verify(token)).toBeUndefined();
  });

  test('is over at once for whom the archive does not know any more, and begins where it was opened last', async () => {
    let knownFrom = 0;
    const kept = new Logins({ index, clock, limits: DEFAULT_LIMITS }, issuer, {
      principal: async (tenant, subject, openedAt) =>
        openedAt < knownFrom ? undefined : { tenant, subject, roles: ['auditor'] },
    });
    const { callback, browser } = await begin();
    const { token } = await kept.finish(callback, browser);
    expect((await kept.verify(token))?.roles).toEqual(['auditor']);
    clock.advance(1);
    knownFrom = clock.now();
    const { token: again } = await kept.reopen(token);
    expect(await kept.verify(token)).toBeUndefined();
    expect(await kept.verify(again)).toBeDefined();
    clock.advance(1);
    knownFrom = clock.now();
    expect(await kept.verify(again)).toBeUndefined();
  });

  test('that is ended is ended at the issuer as well', async () => {
    const token = await signIn();
    expect(await logins.end(token)).toBe('https://issuer.test/logout?hint=id-token');
    expect(issuer.revoked).toEqual(['refresh-0']);
    expect(await logins.verify(token)).toBeUndefined();
    expect(await logins.end(token)).toBeUndefined();
  });

  test('leaves no token in the index, neither its own nor the issuer’s, and nothing when it is over', async () => {
    const written: WriteOperation[] = [];
    const watched = Object.assign(Object.create(index) as MemoryIndexTable, {
      get: (key: Key) => index.get(key),
      write: (operations: readonly WriteOperation[]) => {
        written.push(...operations);
        return index.write(operations);
      },
    });
    logins = new Logins({ index: watched, clock, limits: DEFAULT_LIMITS }, issuer);
    const token = await signIn();
    clock.advance(9 * MINUTE_MS);
    await logins.verify(token);
    const held = JSON.stringify(written, (_, value) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value,
    );
    expect(held).toContain('vera');
    for (const secret of [token, 'refresh-', 'id-token']) expect(held).not.toContain(secret);
    clock.advance(DEFAULT_LIMITS.loginMs + 1);
    await sweepExpired({ index, clock });
    const keys = written.flatMap((operation) => (operation.kind === 'put' ? [operation.key] : []));
    expect(keys.length).toBeGreaterThan(4);
    for (const key of keys) expect(await index.get(key), key.partition).toBeUndefined();
  });

  test('is nobody’s by another token, or a number that was made up', async () => {
    await signIn();
    for (const token of ['', 'nephos_login_', `nephos_login_${'A'.repeat(43)}`, 'eyJhbGciOiJub25lIn0.e30.'])
      expect(await logins.verify(token)).toBeUndefined();
  });
});
