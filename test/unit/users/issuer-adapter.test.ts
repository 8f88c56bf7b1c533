import { beforeEach, expect, test } from 'vitest';
import { MemoryIndexTable } from '#adapters/memory/memory-index-table.ts';
import { sweepExpired } from '#core/expiring.ts';
import { IssuerAdapter } from '#embedded/issuer/adapter.ts';
import { TestClock } from '#test/fixtures/services.ts';

let clock: TestClock;
let index: MemoryIndexTable;
const of = (model: string) => new IssuerAdapter(model, { index, clock });
beforeEach(() => {
  clock = new TestClock();
  index = new MemoryIndexTable();
});

test('a code is consumed once, however many ask at the same moment', async () => {
  await of('AuthorizationCode').upsert('code', { jti: 'code', grantId: 'g', redirectUri: 'https://x' }, 60);
  const all = await Promise.allSettled(Array.from({ length: 10 }, () => of('AuthorizationCode').consume('code')));
  expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  for (const outcome of all) if (outcome.status === 'rejected') expect(outcome.reason.error).toBe('invalid_grant');
  expect(await of('AuthorizationCode').find('code')).toMatchObject({ jti: 'code', consumed: expect.any(Number) });
});

test('what was made under a grant goes with it, and a session is found by its uid without its id', async () => {
  await of('RefreshToken').upsert('r', { jti: 'r', grantId: 'g' }, 600);
  await of('AccessToken').upsert('a', { jti: 'a', grantId: 'g' }, 600);
  await of('AccessToken').upsert('b', { jti: 'b', grantId: 'other' }, 600);
  await of('RefreshToken').revokeByGrantId('g');
  expect(await of('RefreshToken').find('r')).toBeUndefined();
  expect(await of('AccessToken').find('a')).toBeUndefined();
  expect(await of('AccessToken').find('b')).toMatchObject({ jti: 'b' });
  await of('Session').upsert('s', { jti: 's', uid: 'u', accountId: 'vera' }, 600);
  expect(await of('Session').findByUid('u')).toEqual({ uid: 'u', accountId: 'vera' });
  await of('Session').destroy('s');
  expect(await of('Session').findByUid('u')).toBeUndefined();
});

test('what is over is not there, is swept, and what was written anew meanwhile stays', async () => {
  await of('Interaction').upsert('old', { jti: 'old' }, 60);
  await of('Interaction').upsert('new', { jti: 'new' }, 60);
  clock.advance(30_000);
  await of('Interaction').upsert('new', { jti: 'new', result: { login: {} } }, 60);
  clock.advance(31_000);
  expect(await of('Interaction').find('old')).toBeUndefined();
  expect(await sweepExpired({ index, clock })).toBe(1);
  expect(await of('Interaction').find('new')).toMatchObject({ result: { login: {} } });
  clock.advance(60_000);
  expect(await sweepExpired({ index, clock })).toBe(1);
  const { records } = await index.query({ partition: '_system|expiring', limit: 10 });
  expect(records).toEqual([]);
});
