import { generateKeyPairSync } from 'node:crypto';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import { clientAudience } from '#api/client-assertion.ts';
import { TokenStore } from '#core/tokens.ts';
import { chunked, memoryServices, TENANT } from '#test/fixtures/services.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const ENDPOINT = 'https://pacs.test/api/token';
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

function anArchive() {
  const services = memoryServices();
  const tokens = new TokenStore(services);
  const app = createArchiveApp({ services, tokens, corsOrigins: [], tenant: TENANT, onFailure: () => {} });
  const send = async (method: string, path: string, headers: Record<string, string>, body: string) => {
    const answered = await app.answer({
      method,
      path,
      query: new URLSearchParams(),
      headers,
      body: chunked(Buffer.from(body)),
      origin: 'https://pacs.test',
    });
    const { response } = answered!;
    const json = typeof response.body === 'string' && response.body !== '' ? JSON.parse(response.body) : {};
    return { status: response.status, headers: response.headers, json };
  };
  return {
    services,
    tokens,
    ask: (method: string, path: string, token?: string, body?: object) =>
      send(
        method,
        path,
        token === undefined ? {} : { authorization: `Bearer ${token}` },
        body === undefined ? '' : JSON.stringify(body),
      ),
    form: (fields: Record<string, string>, headers: Record<string, string> = {}) =>
      send(
        'POST',
        '/api/token',
        { 'content-type': 'application/x-www-form-urlencoded', ...headers },
        new URLSearchParams({ grant_type: 'client_credentials', ...fields }).toString(),
      ),
  };
}

let archive: ReturnType<typeof anArchive>;
let admin: string;
beforeEach(async () => {
  archive = anArchive();
  admin = (await archive.tokens.bootstrap(TENANT))!;
});
const basic = (id: string, secret: string) => ({
  authorization: `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}`,
});
const worker = { name: 'AI triage (north)', roles: ['finder', 'retriever'], method: 'client_secret' };
const register = async (body: object = worker) => (await archive.ask('POST', '/api/clients', admin, body)).json;

describe('a machine client with a secret', () => {
  test('is shown its secret once, gets a short token by it, and may do what its roles permit', async () => {
    const { id, secret } = await register();
    expect(id).toMatch(/^ai-triage-north-[0-9a-hjkmnp-z]{10}$/);
    for (const asked of [
      await archive.form({}, basic(id, secret)),
      await archive.form({ client_id: id, client_secret: secret }),
    ]) {
      expect(asked).toMatchObject({
        status: 200,
        headers: { 'cache-control': 'no-store' },
        json: { token_type: 'Bearer', expires_in: 600, scope: 'finder retriever' },
      });
      expect((await archive.ask('GET', '/dicomweb/studies', asked.json.access_token)).status).toBe(200);
      expect((await archive.ask('GET', '/api/clients', asked.json.access_token)).status).toBe(403);
    }
    const listed = await archive.ask('GET', '/api/clients', admin);
    expect(listed.json.items).toMatchObject([{ id, secrets: [{ id: expect.any(String) }] }]);
    for (const text of [secret, 'hash', 'version']) expect(JSON.stringify(listed.json.items)).not.toContain(text);
  });

  test('is refused with a wrong secret, an expired one, that of another client, or two ways at once', async () => {
    const first = await register();
    const second = await register({ ...worker, name: 'other' });
    for (const secret of ['', 'nephoscs_guess', second.secret])
      expect(await archive.form({}, basic(first.id, secret))).toMatchObject({
        status: 401,
        json: { error: 'invalid_client' },
      });
    expect((await archive.form({ client_id: 'nobody', client_secret: first.secret })).status).toBe(401);
    expect((await archive.form({ client_secret: first.secret }, basic(first.id, first.secret))).json).toEqual({
      error: 'invalid_request',
    });
    archive.services.clock.advance(181 * DAY_MS);
    expect((await archive.form({}, basic(first.id, first.secret))).status).toBe(401);
  });

  test('has its secret replaced without a gap: two hold at once, never three', async () => {
    const { id, secret } = await register();
    const next = await archive.ask('POST', `/api/clients/${id}/secrets`, admin, { expiresInDays: 30 });
    expect(next).toMatchObject({ status: 201, json: { secrets: [{}, {}] } });
    expect((await archive.ask('POST', `/api/clients/${id}/secrets`, admin, {})).status).toBe(409);
    for (const one of [secret, next.json.secret]) expect((await archive.form({}, basic(id, one))).status).toBe(200);
    const [old] = next.json.secrets;
    expect((await archive.ask('DELETE', `/api/clients/${id}/secrets/${old.id}`, admin)).status).toBe(204);
    expect((await archive.form({}, basic(id, secret))).status).toBe(401);
    expect((await archive.form({}, basic(id, next.json.secret))).status).toBe(200);
  });

  test('asks for fewer roles than it has, never for more', async () => {
    const { id, secret } = await register();
    const { json } = await archive.form({ scope: 'finder' }, basic(id, secret));
    expect(json.scope).toBe('finder');
    expect((await archive.ask('GET', '/api/session', json.access_token)).json.roles).toEqual(['finder']);
    expect((await archive.form({ scope: 'finder admin' }, basic(id, secret))).json).toEqual({ error: 'invalid_scope' });
  });

  test('revoked, or with less rights, is so with the very next request, whatever tokens it has', async () => {
    const { id, secret } = await register();
    const { access_token: token } = (await archive.form({}, basic(id, secret))).json;
    const session = await archive.ask('POST', '/api/session', undefined, { token });
    const cookie = { cookie: session.headers['set-cookie']!.split(';')[0]! };
    await archive.ask('PUT', `/api/clients/${id}`, admin, { roles: ['retriever'] });
    expect((await archive.ask('GET', '/dicomweb/studies', token)).status).toBe(403);
    await archive.ask('DELETE', `/api/clients/${id}`, admin);
    expect((await archive.ask('GET', '/dicomweb/studies', token)).status).toBe(401);
    expect((await archive.form({}, basic(id, secret))).status).toBe(401);
    expect(await archive.tokens.verify(cookie.cookie.split('=')[1]!)).toBeUndefined();
  });

  test('has a token for ten minutes, and no longer', async () => {
    const { id, secret } = await register();
    const { access_token: token } = (await archive.form({}, basic(id, secret))).json;
    archive.services.clock.advance(10 * 60_000 + 1);
    expect((await archive.ask('GET', '/dicomweb/studies', token)).status).toBe(401);
  });
});

describe('a machine client with a key', () => {
  async function signer(kid = 'k1') {
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
    const jwk = { ...(await exportJWK(publicKey)), kid };
    let count = 0;
    const assertion = (id: string, claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}) => {
      const now = Math.floor(archive.services.clock.now() / 1000);
      return new SignJWT({ iss: id, sub: id, aud: ENDPOINT, jti: `${kid} ${++count}`, exp: now + 120, ...claims })
        .setProtectedHeader({ alg: 'ES256', kid, ...header })
        .sign(privateKey);
    };
    return { jwk, assertion };
  }
  const bring = (assertion: string) =>
    archive.form({ client_assertion_type: ASSERTION_TYPE, client_assertion: assertion });
  const registerKey = (keys: object[]) => register({ ...worker, method: 'private_key_jwt', keys });

  test('gets a token by an assertion for the endpoint, or for itself by name', async () => {
    const { jwk, assertion } = await signer();
    const { id } = await registerKey([jwk]);
    for (const aud of [ENDPOINT, 'https://pacs.test', clientAudience(id)]) {
      const { status, json } = await bring(await assertion(id, { aud }));
      expect([aud, status]).toEqual([aud, 200]);
      expect((await archive.ask('GET', '/dicomweb/studies', json.access_token)).status).toBe(200);
    }
  });

  test('is refused for an assertion that was used, is over, holds too long, or is another’s', async () => {
    const { jwk, assertion } = await signer();
    const other = await signer();
    const { id } = await registerKey([jwk]);
    const second = await registerKey([other.jwk]);
    const used = await assertion(id);
    expect((await Promise.all([bring(used), bring(used), bring(used)])).map(({ status }) => status).sort()).toEqual([
      200, 401, 401,
    ]);
    expect((await bring(used)).status).toBe(401);
    const now = Math.floor(archive.services.clock.now() / 1000);
    const wrong = [
      await assertion(id, { exp: now - 60 }),
      await assertion(id, { exp: now + 3_600 }),
      await assertion(id, { exp: undefined }),
      await assertion(id, { jti: undefined }),
      await assertion(id, { aud: 'https://other.test/api/token' }),
      await assertion(id, { aud: clientAudience(second.id) }),
      await assertion(id, { iss: second.id }),
      await assertion(second.id),
      await other.assertion(id),
      'a.b.c',
      '',
    ];
    for (const [i, one] of wrong.entries()) expect([i, (await bring(one)).status]).toEqual([i, 401]);
    const [header, payload] = (await assertion(id)).split('.');
    const none = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url');
    for (const forged of [`${none}.${payload}.`, `${header}.${payload}.AAAA`])
      expect((await bring(forged)).status).toBe(401);
  });

  test('has a second key beside the first while it changes over', async () => {
    const [first, second] = [await signer('k1'), await signer('k2')];
    const { id } = await registerKey([first.jwk]);
    await archive.ask('PUT', `/api/clients/${id}`, admin, { keys: [first.jwk, second.jwk] });
    for (const one of [first, second]) expect((await bring(await one.assertion(id))).status).toBe(200);
    await archive.ask('PUT', `/api/clients/${id}`, admin, { keys: [second.jwk] });
    expect((await bring(await first.assertion(id))).status).toBe(401);
  });

  test('registers public keys alone, of kinds that are good enough', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
    const bad = [
      privateKey.export({ format: 'jwk' }),
      small.export({ format: 'jwk' }),
      { kty: 'oct', k: 'c2VjcmV0' },
      { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' },
      'text',
    ];
    for (const key of [...bad.map((one) => [one]), []])
      expect(
        (await archive.ask('POST', '/api/clients', admin, { ...worker, method: 'private_key_jwt', keys: key })).status,
      ).toBe(400);
  });
});

describe('an administrator', () => {
  test('gives nobody what he may not do himself, and sees no other tenant’s clients', async () => {
    const { id } = await register();
    const technologist = await archive.tokens.issue('other', {
      name: 't',
      subject: 'admin.other',
      roles: ['admin'],
      createdBy: 'x',
      expiresAt: null,
    });
    expect((await archive.ask('GET', '/api/clients', technologist.token)).json.items).toEqual([]);
    for (const [method, path, body] of [
      ['GET', `/api/clients/${id}`, undefined],
      ['PUT', `/api/clients/${id}`, { roles: ['admin'] }],
      ['DELETE', `/api/clients/${id}`, undefined],
      ['POST', `/api/clients/${id}/secrets`, {}],
    ] as const)
      expect((await archive.ask(method, path, technologist.token, body)).status).toBe(404);
    for (const wrong of [{ roles: [] }, { roles: ['root'] }, { method: 'password' }, { name: '' }, { keys: [{}] }])
      expect((await archive.ask('POST', '/api/clients', admin, { ...worker, ...wrong })).status).toBe(400);
  });

  test('finds in the trail who was registered, and each token that was given or refused', async () => {
    const { id, secret } = await register();
    await archive.form({}, basic(id, secret));
    await archive.form({}, basic(id, 'guess'));
    const { entries } = (await archive.ask('GET', '/api/audit', admin)).json;
    const seen = entries.map(({ transaction, subject, outcome }: Record<string, unknown>) => [
      transaction,
      subject,
      outcome,
    ]);
    expect(seen).toContainEqual(['CreateClient', 'admin', 0]);
    expect(seen).toContainEqual(['RequestToken', `client:${id}`, 0]);
    expect(seen).toContainEqual(['RequestToken', 'nobody', 4]);
  });
});
