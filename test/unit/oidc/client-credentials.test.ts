import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeProtectedHeader, jwtVerify } from 'jose';
import { expect, test } from 'vitest';
import { ClientCredentials } from '#adapters/oidc/client-credentials.ts';
import { OidcLogin } from '#adapters/oidc/oidc-login.ts';
import { readOidcSettings } from '#adapters/oidc/settings.ts';

const ISSUER = 'https://issuer.test';
const clock = { time: 0, now: () => clock.time };

/** What a request to the token endpoint shows of the client. */
async function shown(text: string, methods?: string[]): Promise<{ body: URLSearchParams; headers: Headers }> {
  const [body, headers] = [new URLSearchParams(), new Headers()];
  const server = { issuer: ISSUER, ...(methods && { token_endpoint_auth_methods_supported: methods }) };
  await new ClientCredentials(async () => text, clock).authenticate(server, { client_id: 'pacs' }, body, headers);
  return { body, headers };
}

test('a secret goes where the issuer takes it: in the body, or in a header, as issuers do that say nothing', async () => {
  const basic = `Basic ${Buffer.from('pacs:s3cret%2F').toString('base64')}`;
  for (const methods of [undefined, ['client_secret_basic'], ['private_key_jwt', 'client_secret_basic']]) {
    const { body, headers } = await shown('s3cret/\n', methods);
    expect(headers.get('authorization')).toBe(basic);
    expect(body.has('client_secret')).toBe(false);
  }
  const { body, headers } = await shown('s3cret/\n', ['client_secret_basic', 'client_secret_post']);
  expect(Object.fromEntries(body)).toEqual({ client_id: 'pacs', client_secret: 's3cret/' });
  expect(headers.has('authorization')).toBe(false);
});

const pkcs8 = (key: KeyObject): string => String(key.export({ type: 'pkcs8', format: 'pem' }));
test.each<[string, () => { publicKey: KeyObject; privateKey: KeyObject }, (key: KeyObject) => string, string]>([
  ['RSA', () => generateKeyPairSync('rsa', { modulusLength: 2048 }), pkcs8, 'RS256'],
  [
    'RSA as OpenSSL 1 wrote it',
    () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
    (key) => String(key.export({ type: 'pkcs1', format: 'pem' })),
    'RS256',
  ],
  ['P-384', () => generateKeyPairSync('ec', { namedCurve: 'P-384' }), pkcs8, 'ES384'],
  ['Ed25519', () => generateKeyPairSync('ed25519'), pkcs8, 'Ed25519'],
  [
    'JWK that says its name, its algorithm and its certificate',
    () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
    (key) =>
      JSON.stringify({ ...key.export({ format: 'jwk' }), alg: 'PS256', kid: 'one', 'x5t#S256': 'thumb', use: 'sig' }),
    'PS256',
  ],
])(
  'a private key (%s) signs what it says of the client to this issuer, for a short time',
  async (_, make, write, alg) => {
    const { publicKey, privateKey } = make();
    const { body } = await shown(write(privateKey));
    const assertion = body.get('client_assertion')!;
    expect(body.get('client_assertion_type')).toBe('urn:ietf:params:oauth:client-assertion-type:jwt-bearer');
    const { payload } = await jwtVerify(assertion, publicKey, { issuer: 'pacs', subject: 'pacs', audience: ISSUER });
    expect(payload.exp! - payload.iat!).toBeLessThanOrEqual(300);
    const header = decodeProtectedHeader(assertion);
    expect(header.alg).toBe(alg);
    expect([header.kid, header['x5t#S256']]).toEqual(alg === 'PS256' ? ['one', 'thumb'] : [undefined, undefined]);
  },
);

test.each([
  ['', /empty/],
  ['  \n', /empty/],
  ['{"kty":"oct","k":"c2VjcmV0"}', /none that can be used/],
  ['{}', /none that can be used/],
  ['-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----', /none that can be used/],
])('%j is said to be of no use', async (text, message) => {
  await expect(shown(text)).rejects.toMatchObject({ code: 'BUSY', message: expect.stringMatching(message) });
});

test('what the issuer refuses is read anew, but not with every request', async () => {
  let [text, reads] = ['one', 0];
  const read = async (): Promise<string> => {
    reads += 1;
    if (text === 'away') throw new Error('not now');
    return text;
  };
  const credentials = new ClientCredentials(read, clock);
  clock.time = 0;
  expect(await credentials.replaced()).toBe(false);
  text = 'two';
  expect([await credentials.replaced(), reads]).toEqual([false, 1]);
  clock.time = 5_000;
  expect([await credentials.replaced(), reads]).toEqual([true, 2]);
  clock.time = 10_000;
  expect([await credentials.replaced(), reads]).toEqual([false, 3]);
  clock.time = 15_000;
  text = 'away';
  await expect(credentials.replaced()).rejects.toThrow('not now');
  text = 'three';
  const body = new URLSearchParams();
  const server = { issuer: ISSUER, token_endpoint_auth_methods_supported: ['client_secret_post'] };
  await credentials.authenticate(server, { client_id: 'pacs' }, body, new Headers());
  expect(body.get('client_secret')).toBe('three');
});

test('a secret in a file may be replaced there: the archive goes on with the new one', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'nephos-secret-'));
  const path = join(folder, 'secret');
  await writeFile(path, 'old\n');
  let taken = 'old';
  const seen: (string | null)[] = [];
  const fetch = (async (input: string | URL, init: RequestInit = {}) => {
    if (String(input).endsWith('/.well-known/openid-configuration'))
      return Response.json({
        ...{ issuer: ISSUER, jwks_uri: `${ISSUER}/keys`, token_endpoint: `${ISSUER}/token` },
        token_endpoint_auth_methods_supported: ['client_secret_post'],
      });
    const secret = new URLSearchParams(String(init.body)).get('client_secret');
    seen.push(secret);
    // As Keycloak says it.
    if (secret !== taken) return Response.json({ error: 'unauthorized_client' }, { status: 401 });
    return Response.json({ access_token: 'a', token_type: 'Bearer', expires_in: 60 });
  }) as typeof globalThis.fetch;
  const settings = readOidcSettings(
    {
      ...{ NEPHOS_OIDC_ISSUER: ISSUER, NEPHOS_OIDC_AUDIENCE: 'api', NEPHOS_OIDC_CLIENT_ID: 'pacs' },
      NEPHOS_OIDC_CLIENT_SECRET_FILE: path,
    },
    ['main'],
  )!;
  const login = new OidcLogin({ ...settings.login!, settings: () => settings, fetch }, clock);
  const renew = () => login.renew('https://pacs.test', 'r');
  expect(await renew()).toBeDefined();
  taken = 'new';
  clock.time += 60_000;
  await expect(renew()).rejects.toMatchObject({ code: 'BUSY' });
  await writeFile(path, 'new\n');
  clock.time += 60_000;
  expect(await renew()).toBeDefined();
  expect(seen).toEqual(['old', 'old', 'old', 'new']);
  await rm(folder, { recursive: true });
});
