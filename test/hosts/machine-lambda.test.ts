import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { clientAudience } from '#api/client-assertion.ts';
import { TokenStore } from '#core/tokens.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { type LambdaFront, startLambdaFront } from '#test/fixtures/lambda-front.ts';
import { memoryServices, noPixels, TENANT } from '#test/fixtures/services.ts';

/** Machines of a deployment: registered, given secrets and keys, and let in by its functions, behind the authorizer. */
let front: LambdaFront;
let admin: string;
let ahead = 0;

beforeAll(async () => {
  const memory = memoryServices({ pixels: noPixels });
  const clock = {
    now: () => Date.now() + ahead,
    randomBytes: (n: number) => crypto.getRandomValues(new Uint8Array(n)),
    sleep: async () => {},
  };
  const services = { ...memory, clock };
  admin = (await new TokenStore(services).bootstrap(TENANT))!;
  front = await startLambdaFront(cloudArchive(readLambdaConfig({ NEPHOS_TENANTS: TENANT }, false), services, false));
});
afterAll(() => front?.close());

interface Told {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: answers are asserted on
  readonly json: any;
}
async function told(answer: Promise<Response>): Promise<Told> {
  const response = await answer;
  const text = await response.text();
  return { status: response.status, json: text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : undefined };
}
const ask = (method: string, path: string, token: string, body?: object): Promise<Told> =>
  told(
    fetch(front.origin + path, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    }),
  );
const tokenBy = (fields: Record<string, string>, headers: Record<string, string> = {}): Promise<Told> =>
  told(
    fetch(`${front.origin}/api/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      body: new URLSearchParams({ grant_type: 'client_credentials', ...fields }).toString(),
    }),
  );
const register = async (body: object): Promise<{ id: string; secret: string; secrets: { id: string }[] }> => {
  const { status, json } = await ask('POST', '/api/clients', admin, { name: 'AI', roles: ['finder'], ...body });
  expect(status).toBe(201);
  return json;
};

test('a secret opens what its roles permit, behind the authorizer, for ten minutes', async () => {
  const { id, secret } = await register({ method: 'client_secret' });
  const basic = { authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` };
  for (const asked of [await tokenBy({}, basic), await tokenBy({ client_id: id, client_secret: secret })]) {
    expect(asked).toMatchObject({ status: 200, json: { expires_in: 600, scope: 'finder' } });
    expect((await ask('GET', '/dicomweb/studies', asked.json.access_token)).status).toBe(200);
    expect((await ask('GET', '/api/clients', asked.json.access_token)).status).toBe(403);
  }
  expect(await tokenBy({ client_id: id, client_secret: 'nephoscs_guess' })).toMatchObject({
    ...{ status: 401, json: { error: 'invalid_client' } },
  });
  const { access_token: token } = (await tokenBy({}, basic)).json;
  ahead += 10 * 60_000 + 1_000;
  expect((await ask('GET', '/dicomweb/studies', token)).status).toBe(401);
});

test('a secret is replaced without a gap, ends by itself, and is taken back', async () => {
  const { id, secret } = await register({ method: 'client_secret', expiresInDays: 30 });
  const { status, json } = await ask('POST', `/api/clients/${id}/secrets`, admin, { expiresInDays: 60 });
  expect(status).toBe(201);
  for (const one of [secret, json.secret])
    expect((await tokenBy({ client_id: id, client_secret: one })).status).toBe(200);
  expect((await ask('DELETE', `/api/clients/${id}/secrets/${json.secrets[0].id}`, admin)).status).toBe(204);
  expect((await tokenBy({ client_id: id, client_secret: secret })).status).toBe(401);
  expect((await tokenBy({ client_id: id, client_secret: json.secret })).status).toBe(200);
  ahead += 61 * 24 * 3_600_000;
  expect((await tokenBy({ client_id: id, client_secret: json.secret })).status).toBe(401);
});

test('a key signs for it: each assertion once, for this client and this endpoint', async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  const { id } = await register({
    method: 'private_key_jwt',
    keys: [{ ...(await exportJWK(publicKey)), kid: 'k' }],
  });
  let count = 0;
  const assertion = (claims: object = {}): Promise<string> =>
    new SignJWT({
      ...{ iss: id, sub: id, jti: `j${++count}`, aud: `${front.origin}/api/token` },
      exp: Math.floor((Date.now() + ahead) / 1000) + 120,
      ...claims,
    })
      .setProtectedHeader({ alg: 'ES256', kid: 'k' })
      .sign(privateKey);
  const bring = async (jwt: string): Promise<Told> =>
    tokenBy({
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: jwt,
    });
  const once = await assertion();
  expect((await Promise.all([bring(once), bring(once)])).map(({ status }) => status).sort()).toEqual([200, 401]);
  const { json } = await bring(await assertion({ aud: clientAudience(id) }));
  expect((await ask('GET', '/dicomweb/studies', json.access_token)).status).toBe(200);
  for (const wrong of [{ aud: 'https://other.test/api/token' }, { iss: 'other' }, { exp: 1 }])
    expect((await bring(await assertion(wrong))).status).toBe(401);
});

test('revoked, it is out with the next request of any token that it has', async () => {
  const { id, secret } = await register({ method: 'client_secret' });
  const { access_token: token } = (await tokenBy({ client_id: id, client_secret: secret })).json;
  expect((await ask('GET', '/dicomweb/studies', token)).status).toBe(200);
  expect((await ask('DELETE', `/api/clients/${id}`, admin)).status).toBe(204);
  expect((await ask('GET', '/dicomweb/studies', token)).status).toBe(401);
  expect((await tokenBy({ client_id: id, client_secret: secret })).status).toBe(401);
});
