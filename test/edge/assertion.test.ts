import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { jwtVerify } from 'jose';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checked } from '#edge/config.ts';
import { signAssertion } from '#edge/enrolment/assertion.ts';
import { Upstream } from '#edge/upstream.ts';
import { TestClock } from '#test/fixtures/services.ts';

let server: Server;
let origin: string;
let asked: URLSearchParams[];
beforeEach(async () => {
  asked = [];
  server = createServer(async (request, response) => {
    if (request.url !== '/token') return response.end('yes');
    asked.push(new URLSearchParams(await text(request)));
    response.end(JSON.stringify({ access_token: 't', expires_in: 600 }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});
const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

test('an issuer of one’s own is shown a signature in place of a secret, as RFC 7523 has it', async () => {
  const clock = new TestClock();
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const clientCredentials = {
    tokenUrl: `${origin}/token`,
    clientId: 'edge',
    privateKey: pem(privateKey),
    keyId: 'k7',
    assertionAudience: 'https://issuer.example/token',
    scope: 'pacs/gateway',
  };
  const { upstreams } = checked({ upstreams: [{ url: `${origin}/dicomweb`, auth: { clientCredentials } }] }, 'test');
  const upstream = new Upstream(upstreams[0], clock);
  expect((await upstream.request({ method: 'GET', path: '/studies' })).status).toBe(200);
  await upstream.close();
  const [form] = asked;
  expect(Object.fromEntries(form!)).toMatchObject({
    grant_type: 'client_credentials',
    client_id: 'edge',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    scope: 'pacs/gateway',
  });
  const { payload, protectedHeader } = await jwtVerify(form!.get('client_assertion')!, createPublicKey(privateKey), {
    issuer: 'edge',
    subject: 'edge',
    audience: 'https://issuer.example/token',
    currentDate: new Date(clock.now()),
  });
  expect(protectedHeader).toEqual({ alg: 'RS256', kid: 'k7' });
  expect(payload.jti).toMatch(/^[0-9a-f-]{36}$/);
  expect(payload.exp! - payload.iat!).toBeLessThanOrEqual(120);
});

test('signs by whatever key there is, and says so of one that cannot', async () => {
  const keys = [
    ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['ES384', generateKeyPairSync('ec', { namedCurve: 'P-384' })],
    ['EdDSA', generateKeyPairSync('ed25519')],
  ] as const;
  const signer = { clientId: 'edge', audience: 'https://issuer.example' };
  for (const [alg, { privateKey, publicKey }] of keys)
    for (const key of [pem(privateKey), JSON.stringify(privateKey.export({ format: 'jwk' }))]) {
      const assertion = await signAssertion({ ...signer, privateKey: key }, Date.now());
      expect((await jwtVerify(assertion, publicKey)).protectedHeader.alg).toBe(alg);
    }
  const other = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey;
  for (const privateKey of ['text', '{}', pem(other)])
    await expect(async () => signAssertion({ ...signer, privateKey }, Date.now())).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
});

test('a secret or a key, one of them', () => {
  const of = (members: object) => () =>
    checked(
      {
        upstreams: [
          {
            url: 'https://x/dicomweb',
            auth: { clientCredentials: { tokenUrl: 'https://x/t', clientId: 'c', ...members } },
          },
        ],
      },
      'test',
    );
  expect(of({})).toThrow('one of them');
  expect(of({ clientSecret: 's', privateKey: 'k' })).toThrow('one of them');
  expect(of({ clientSecret: 's' })).not.toThrow();
});
