import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { describe, expect, test, vi } from 'vitest';
import { isCrossSite, tokenOf } from '#api/session.ts';
import { TokenStore } from '#core/tokens.ts';
import { createApp } from '#embedded/app.ts';
import type { Archive } from '#embedded/archive.ts';
import { readConfig } from '#embedded/config.ts';
import { createLog } from '#embedded/log.ts';
import { memoryServices } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

const nothing = (async function* () {})();

function app(env: Record<string, string> = {}) {
  const services = memoryServices();
  const tokens = new TokenStore(services);
  const { answer } = createApp({
    archive: standIn<Archive>({ services, tokens }),
    config: readConfig(env),
    log: createLog('error', () => {}),
  });
  const ask = async (method: string, target: string, headers: Record<string, string> = {}, body?: object) => {
    const url = new URL(target, 'http://pacs.test');
    const { response } = await answer({
      method,
      path: url.pathname,
      query: url.searchParams,
      headers,
      origin: 'http://pacs.test',
      body: body
        ? (async function* () {
            yield Buffer.from(JSON.stringify(body));
          })()
        : nothing,
    });
    return response;
  };
  return { services, tokens, ask };
}

describe('with access control on', () => {
  test('nobody gets in: not to DICOMweb, the API, the metrics', async () => {
    const { ask } = app();
    for (const path of ['/dicomweb/studies', '/api/events', '/api/quarantine', '/metrics', '/wado?requestType=WADO']) {
      expect((await ask('GET', path)).status, path).toBe(401);
    }
    expect((await ask('POST', '/dicomweb/studies')).status).toBe(401);
    expect((await ask('DELETE', '/dicomweb/studies/1.2')).status).toBe(401);
    expect((await ask('GET', '/healthz')).status).toBe(200);
  });

  test('the bootstrap token is made once, works as Bearer, and is kept as a hash only', async () => {
    const { ask, tokens, services } = app();
    const write = vi.spyOn(services.index, 'write');
    const token = (await tokens.bootstrap('main'))!;
    expect(await tokens.bootstrap('main')).toBeUndefined();
    expect((await ask('GET', '/dicomweb/studies', { authorization: `Bearer ${token}` })).status).toBe(200);
    expect((await ask('GET', '/dicomweb/studies', { authorization: `Bearer ${token}x` })).status).toBe(401);
    const written = JSON.stringify(write.mock.calls);
    expect(written).toContain('bootstrap');
    expect(written).not.toContain(token);
  });

  test('the page exchanges it for an HttpOnly cookie, which signs in and out', async () => {
    const { ask, tokens } = app();
    const token = (await tokens.bootstrap('main'))!;
    expect((await ask('GET', '/api/session')).status).toBe(401);
    expect((await ask('POST', '/api/session', {}, { token: 'wrong' })).status).toBe(401);
    const opened = await ask('POST', '/api/session', {}, { token });
    expect(opened.status).toBe(200);
    const cookie = opened.headers['set-cookie']!;
    expect(cookie).toMatch(/HttpOnly; SameSite=Strict/);
    const session = { cookie: cookie.split(';')[0]! };
    expect(session.cookie).not.toContain(token);
    expect((await ask('GET', '/dicomweb/studies', session)).status).toBe(200);
    expect((await ask('DELETE', '/api/session', session)).status).toBe(204);
    expect((await ask('GET', '/dicomweb/studies', session)).status).toBe(401);
    expect((await ask('GET', '/dicomweb/studies', { authorization: `Bearer ${token}` })).status).toBe(200);
  });

  test('a session ends by itself', async () => {
    const { ask, tokens, services } = app();
    const token = (await tokens.bootstrap('main'))!;
    const opened = await ask('POST', '/api/session', {}, { token });
    const session = { cookie: opened.headers['set-cookie']!.split(';')[0]! };
    services.clock.advance(13 * 60 * 60 * 1000);
    expect((await ask('GET', '/dicomweb/studies', session)).status).toBe(401);
  });

  test('a page of another site cannot act with the cookie', async () => {
    const { ask, tokens } = app();
    const token = (await tokens.bootstrap('main'))!;
    const opened = await ask('POST', '/api/session', {}, { token });
    const session = { cookie: opened.headers['set-cookie']!.split(';')[0]!, 'sec-fetch-site': 'cross-site' };
    expect((await ask('DELETE', '/dicomweb/studies/1.2', session)).status).toBe(403);
    expect((await ask('DELETE', '/dicomweb/studies/1.2', { ...session, 'sec-fetch-site': 'same-origin' })).status).toBe(
      404,
    );
  });

  test('a renewed token takes the old one’s place', async () => {
    const { ask, tokens } = app();
    const old = (await tokens.bootstrap('main'))!;
    const renewed = await tokens.renewBootstrap('main');
    expect((await ask('GET', '/dicomweb/studies', { authorization: `Bearer ${old}` })).status).toBe(401);
    expect((await ask('GET', '/dicomweb/studies', { authorization: `Bearer ${renewed}` })).status).toBe(200);
  });
});

test('with access control off, pages of other sites still cannot write', async () => {
  const { ask } = app({ NEPHOS_AUTH: 'off', NEPHOS_CORS_ORIGINS: 'https://viewer.example' });
  expect((await ask('GET', '/dicomweb/studies')).status).toBe(200);
  const evil = { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' };
  expect((await ask('DELETE', '/dicomweb/studies/1.2', evil)).status).toBe(403);
  const trusted = { origin: 'https://viewer.example', 'sec-fetch-site': 'cross-site' };
  expect((await ask('DELETE', '/dicomweb/studies/1.2', trusted)).status).toBe(404);
});

test.each([
  ['http', { authorization: 'Bearer abc.def' }, { token: 'abc.def', from: 'bearer' }],
  ['http', { authorization: 'bearer  abc' }, { token: 'abc', from: 'bearer' }],
  ['http', { authorization: 'Basic abc' }, undefined],
  ['http', { cookie: 'a=b; nephos_session=xyz' }, { token: 'xyz', from: 'cookie' }],
  ['http', { cookie: 'nephos_session=' }, undefined],
  ['https', { cookie: 'a=b; __Host-nephos_session=xyz' }, { token: 'xyz', from: 'cookie' }],
  // A neighbour below the same domain may have set it.
  ['https', { cookie: 'nephos_session=xyz' }, undefined],
])('by %s, the token of %j', (scheme, headers, expected) => {
  expect(tokenOf({ headers, origin: `${scheme}://pacs.test` })).toEqual(expected);
});

test('a request without browser headers (a modality, curl) is not cross-site', () => {
  expect(isCrossSite({ method: 'POST', headers: {}, origin: 'http://pacs' }, [])).toBe(false);
});

describe('with an issuer configured', () => {
  test('its tokens are taken beside our own, and can be exchanged for a session', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256');
    const keys = { keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256' }] };
    vi.stubGlobal('fetch', async () => Response.json(keys));
    try {
      const { ask, services } = app({
        NEPHOS_OIDC_ISSUER: 'https://issuer.test',
        NEPHOS_OIDC_AUDIENCE: 'nephos',
        NEPHOS_OIDC_JWKS_URL: 'https://issuer.test/keys',
        NEPHOS_OIDC_ROLES: 'readers=finder',
      });
      const token = await new SignJWT({
        iss: 'https://issuer.test',
        aud: 'nephos',
        sub: 'dr-house',
        roles: ['readers'],
      })
        .setProtectedHeader({ alg: 'ES256', kid: 'one' })
        .setExpirationTime(services.clock.now() / 1000 + 60)
        .sign(privateKey);
      const bearer = { authorization: `Bearer ${token}` };
      expect((await ask('GET', '/dicomweb/studies', bearer)).status).toBe(200);
      expect((await ask('DELETE', '/dicomweb/studies/1.2', bearer)).status).toBe(403);
      expect((await ask('GET', '/dicomweb/studies', { authorization: `Bearer ${token}x` })).status).toBe(401);
      const opened = await ask('POST', '/api/session', {}, { token });
      expect(opened.status).toBe(200);
      const cookie = opened.headers['set-cookie']!.split(';')[0]!;
      expect((await ask('GET', '/dicomweb/studies', { cookie })).status).toBe(200);
    } finally {
      vi.unstubAllGlobals();
    }
  });
});
