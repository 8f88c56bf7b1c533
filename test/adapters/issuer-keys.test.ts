import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openIssuerKeys, rotateIssuerKeys, sealIssuerKeysAnew } from '#adapters/local/issuer-keys.ts';
import { newKey } from '#adapters/local/sealed-format.ts';
import { secretBox } from '#adapters/local/secret-box.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-issuer-keys-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const file = () => join(dir, 'issuer-keys.json');
const master = (id: string) => ({ id: id.repeat(16), key: newKey() });

test('processes that start together agree on keys that their owner alone can read', async () => {
  const all = await Promise.all(Array.from({ length: 8 }, () => openIssuerKeys(dir)));
  expect(new Set(all.map((keys) => JSON.stringify(keys))).size).toBe(1);
  expect((await stat(file())).mode & 0o777).toBe(0o600);
  expect(all[0]!.jwks[0]).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' });
});

test('new keys sign, the two before them are still known; what seals secrets stays', async () => {
  const first = await openIssuerKeys(dir);
  for (let n = 0; n < 3; n++) await rotateIssuerKeys(dir);
  const { jwks, cookieKeys, secretKey } = await openIssuerKeys(dir);
  expect(new Set(jwks.map(({ kid }) => kid)).size).toBe(3);
  expect(jwks.map(({ kid }) => kid)).not.toContain(first.jwks[0]!.kid);
  expect(cookieKeys).toHaveLength(3);
  expect(secretKey).toBe(first.secretKey);
  expect((await stat(file())).mode & 0o777).toBe(0o600);
});

test('with a master key the file tells nothing, and opens with none but that', async () => {
  const [one, two] = [master('1'), master('2')];
  const keys = await openIssuerKeys(dir, [one]);
  const text = await readFile(file(), 'utf8');
  for (const secret of [keys.secretKey, keys.cookieKeys[0]!, keys.jwks[0]!.d!]) expect(text).not.toContain(secret);
  await expect(openIssuerKeys(dir, [two])).rejects.toThrow('does not hold the master key 1111');
  await expect(openIssuerKeys(dir, [{ ...two, id: one.id }])).rejects.toThrow('damaged or has been altered');
  await sealIssuerKeysAnew(dir, [two, one]);
  expect(await openIssuerKeys(dir, [two])).toEqual(keys);
});

test('a secret is opened for what it was sealed for, and unaltered', () => {
  const box = secretBox(newKey().toString('base64url'));
  const sealed = box.seal('SECRET', 'totp clinic vera');
  expect(sealed).not.toContain('SECRET');
  expect(box.open(sealed, 'totp clinic vera')).toBe('SECRET');
  expect(() => box.open(sealed, 'totp clinic otto')).toThrow();
  const altered = Buffer.from(sealed, 'base64url');
  altered[0]! ^= 1;
  expect(() => box.open(altered.toString('base64url'), 'totp clinic vera')).toThrow();
});
