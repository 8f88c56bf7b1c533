import { createHmac } from 'node:crypto';
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { OidcLogin } from '#adapters/oidc/oidc-login.ts';
import { readOidcSettings } from '#adapters/oidc/settings.ts';
import type { LoginProof } from '#core/ports/login-issuer.ts';

const ISSUER = 'https://issuer.test/realm';
const ORIGIN = 'https://pacs.test';
const PROOF: LoginProof = { state: 's'.repeat(43), nonce: 'n'.repeat(43), verifier: 'v'.repeat(43) };
const callback = (query = `code=c&state=${PROOF.state}&iss=${encodeURIComponent(ISSUER)}`) =>
  new URL(`${ORIGIN}/api/session/callback?${query}`);

let key: { privateKey: CryptoKey; publicKey: CryptoKey };
let other: { privateKey: CryptoKey; publicKey: CryptoKey };
beforeAll(async () => {
  [key, other] = await Promise.all([generateKeyPair('ES256'), generateKeyPair('ES256')]);
});

/** An issuer, whose answer to the code each test chooses. */
class Issuer {
  idToken: () => Promise<string> | string = () => signed();
  token: object = {};
  status = 200;
  metadata: object = {};
  down = false;
  readonly asked: { path: string; body: URLSearchParams }[] = [];

  fetch = (async (input: string | URL, init: RequestInit = {}) => {
    if (this.down) throw new TypeError('fetch failed');
    const path = String(input).slice(ISSUER.length);
    this.asked.push({ path, body: new URLSearchParams(String(init.body ?? '')) });
    if (path === '/.well-known/openid-configuration')
      return Response.json({
        issuer: ISSUER,
        jwks_uri: `${ISSUER}/keys`,
        authorization_endpoint: `${ISSUER}/authorize`,
        token_endpoint: `${ISSUER}/token`,
        id_token_signing_alg_values_supported: ['ES256', 'RS256'],
        ...this.metadata,
      });
    if (path === '/keys')
      return Response.json({ keys: [{ ...(await exportJWK(key.publicKey)), kid: 'k', alg: 'ES256' }] });
    if (path !== '/token') return new Response('', { status: 404 });
    if (this.status !== 200) return Response.json({ error: 'invalid_grant' }, { status: this.status });
    return Response.json({
      access_token: 'a',
      token_type: 'Bearer',
      expires_in: 600,
      refresh_token: 'r',
      id_token: await this.idToken(),
      ...this.token,
    });
  }) as typeof globalThis.fetch;
}

const now = () => Math.floor(Date.now() / 1000);
const claims = (more: Record<string, unknown> = {}): JWTPayload => ({
  ...{ iss: ISSUER, aud: 'console', sub: 'dr-house', iat: now(), exp: now() + 300, nonce: PROOF.nonce },
  roles: ['radiologist'],
  ...more,
});
const signed = (more: Record<string, unknown> = {}, by = key): Promise<string> =>
  new SignJWT(claims(more)).setProtectedHeader({ alg: 'ES256', kid: 'k' }).sign(by.privateKey);
const unsigned = (header: object): string =>
  [header, claims()].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');

let issuer: Issuer;
let login: OidcLogin;
const made = (env: Record<string, string> = {}) => {
  const names = { NEPHOS_OIDC_ISSUER: ISSUER, NEPHOS_OIDC_AUDIENCE: 'api', NEPHOS_OIDC_CLIENT_ID: 'console', ...env };
  const settings = readOidcSettings(names, ['main'])!;
  return new OidcLogin({ ...settings.login!, settings: () => settings, fetch: issuer.fetch }, { now: Date.now });
};
beforeEach(() => {
  issuer = new Issuer();
  login = made();
});

test('a browser is sent to the issuer with a challenge, and comes back to the archive', async () => {
  const url = new URL(await login.authorizationUrl(ORIGIN, PROOF));
  expect(url.origin + url.pathname).toBe(`${ISSUER}/authorize`);
  expect(Object.fromEntries(url.searchParams)).toEqual({
    ...{ client_id: 'console', response_type: 'code', redirect_uri: `${ORIGIN}/api/session/callback` },
    ...{ scope: 'openid profile', state: PROOF.state, nonce: PROOF.nonce, code_challenge_method: 'S256' },
    code_challenge: expect.stringMatching(/^[\w-]{43}$/),
  });
  expect(url.href).not.toContain(PROOF.verifier);
  issuer.metadata = { scopes_supported: ['openid', 'offline_access'] };
  expect(new URL(await made().authorizationUrl(ORIGIN, PROOF)).searchParams.get('scope')).toContain('offline_access');
  const chosen = made({ NEPHOS_OIDC_SCOPES: 'openid groups' });
  expect(new URL(await chosen.authorizationUrl(ORIGIN, PROOF)).searchParams.get('scope')).toBe('openid groups');
});

test('a code is exchanged with its verifier, and what the issuer says is who it is', async () => {
  expect(await login.exchange(ORIGIN, callback(), PROOF)).toMatchObject({
    principal: { tenant: 'main', subject: 'dr-house', roles: ['radiologist'] },
    refreshToken: 'r',
    expiresInSeconds: 600,
  });
  const { body } = issuer.asked.find(({ path }) => path === '/token')!;
  expect(Object.fromEntries(body)).toMatchObject({
    ...{ grant_type: 'authorization_code', code: 'c', code_verifier: PROOF.verifier, client_id: 'console' },
    redirect_uri: `${ORIGIN}/api/session/callback`,
  });
});

describe('what the issuer says is not believed', () => {
  const refused = async () =>
    expect(login.exchange(ORIGIN, callback(), PROOF)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  test.each<[string, () => Promise<string> | string]>([
    ['when it has run out', () => signed({ exp: now() - 120, iat: now() - 600 })],
    ['for another client', () => signed({ aud: 'other' })],
    ['of another issuer', () => signed({ iss: 'https://evil.test' })],
    ['for another sign-in (nonce)', () => signed({ nonce: 'x'.repeat(43) })],
    ['without a nonce', () => signed({ nonce: undefined })],
    ['without a subject', () => signed({ sub: undefined })],
    ['signed by a key that is not its own', () => signed({}, other)],
    ['unsigned (alg none)', () => `${unsigned({ alg: 'none' })}.`],
    [
      'signed with its public key as a secret (HS256)',
      async () => {
        const text = unsigned({ alg: 'HS256', kid: 'k' });
        const secret = await exportSPKI(key.publicKey);
        return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
      },
    ],
    ['when it is no token at all', () => 'x.y.z'],
  ])('%s', async (_, idToken) => {
    issuer.idToken = idToken;
    await refused();
  });

  test('without an ID token, or when it refuses the code', async () => {
    issuer.token = { id_token: undefined };
    await refused();
    issuer.token = {};
    issuer.status = 400;
    await refused();
  });

  test('when the browser brings another state, another issuer, or an error', async () => {
    for (const query of [
      'code=c&state=other',
      'code=c',
      `code=c&state=${PROOF.state}&iss=https://evil.test`,
      `error=access_denied&state=${PROOF.state}`,
    ])
      await expect(login.exchange(ORIGIN, callback(query), PROOF), query).rejects.toMatchObject({
        code: 'UNAUTHENTICATED',
      });
  });
});

test('an issuer that does not answer is busy, not wrong; one that has ended a session says so', async () => {
  expect(await login.renew(ORIGIN, 'r')).toMatchObject({ principal: { subject: 'dr-house' } });
  issuer.status = 400;
  expect(await login.renew(ORIGIN, 'r')).toBeUndefined();
  issuer.status = 503;
  await expect(login.renew(ORIGIN, 'r')).rejects.toMatchObject({ code: 'BUSY' });
  issuer.down = true;
  await expect(login.exchange(ORIGIN, callback(), PROOF)).rejects.toMatchObject({ code: 'BUSY' });
  await expect(made().authorizationUrl(ORIGIN, PROOF)).rejects.toMatchObject({ code: 'BUSY' });
});

test('signing out goes where the issuer says, or where the settings say, and names the person only where it is the standard’s way', async () => {
  expect(await login.logoutUrl(ORIGIN, 'id')).toBeUndefined();
  issuer.metadata = { end_session_endpoint: `${ISSUER}/end` };
  const standard = new URL((await made().logoutUrl(ORIGIN, 'id'))!);
  expect(standard.searchParams.get('id_token_hint')).toBe('id');
  expect(standard.searchParams.get('post_logout_redirect_uri')).toBe(`${ORIGIN}/`);
  const own = made({ NEPHOS_OIDC_LOGOUT_URL: 'https://pool.test/logout' });
  const cognito = new URL((await own.logoutUrl(ORIGIN, 'id'))!);
  expect(cognito.origin).toBe('https://pool.test');
  expect(cognito.searchParams.get('logout_uri')).toBe(`${ORIGIN}/`);
  expect(cognito.searchParams.has('id_token_hint')).toBe(false);
});
