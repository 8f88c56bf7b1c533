import '#test/fixtures/quiet-powertools.ts';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { secretsClient } from '#adapters/aws/clients.ts';
import { readSecret } from '#adapters/aws/secret.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { logger } from '#lambda/observe.ts';
import { type AnyIssuer, startAnyIssuer } from '#test/fixtures/any-issuer.ts';
import { FormBrowser } from '#test/fixtures/form-browser.ts';
import { type LambdaFront, startLambdaFront } from '#test/fixtures/lambda-front.ts';
import { memoryServices, noPixels } from '#test/fixtures/services.ts';

/**
 * The functions of the cloud as a confidential client of the clinic's issuer (Entra's platform Web, Okta's web applications, Keycloak's
 * client authentication): what they show there lies in Secrets Manager, and in no environment.
 */
const ARN = 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:nephos-issuer-AbCdEf';
const SECRET = 'what the client has shown since it was registered';

let store: Server;
/** what lies in Secrets Manager, and how often it was fetched */
let kept: string;
let fetched: string[];
let issuer: AnyIssuer;
let front: LambdaFront;
let ahead: number;

beforeEach(async () => {
  // Tokens run out, and secrets may be fetched again, when `ahead` says so, and not while a busy machine signs in.
  vi.useFakeTimers({ toFake: ['Date'] });
  kept = SECRET;
  fetched = [];
  ahead = 0;
  store = createServer(async (request, response) => {
    fetched.push(((await json(request)) as { SecretId: string }).SecretId);
    response.setHeader('content-type', 'application/x-amz-json-1.1');
    response.end(JSON.stringify({ SecretString: kept }));
  }).listen(0, '127.0.0.1');
  await once(store, 'listening');
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  await front?.close();
  await issuer?.close();
  store.closeAllConnections();
  store.close();
});

async function deploy(client: Parameters<typeof startAnyIssuer>[2]): Promise<void> {
  issuer = await startAnyIssuer(() => `${front.origin}/api/session/callback`, 120, client);
  const config = readLambdaConfig(
    {
      NEPHOS_TENANTS: 'clinic',
      NEPHOS_OIDC_ISSUER: issuer.url,
      NEPHOS_OIDC_AUDIENCE: 'pacs-api',
      NEPHOS_OIDC_CLIENT_ID: 'pacs-console',
      NEPHOS_OIDC_CLIENT_SECRET_ARN: ARN,
      NEPHOS_OIDC_ROLES_CLAIM: 'groups',
      NEPHOS_OIDC_ROLES: 'pacs-readers=radiologist',
    },
    false,
  );
  const memory = memoryServices({ pixels: noPixels });
  const clock = {
    ...memory.clock,
    now: () => Date.now() + ahead,
    randomBytes: (n: number) => crypto.getRandomValues(new Uint8Array(n)),
    sleep: async () => {},
  };
  const secrets = secretsClient({
    endpoint: `http://127.0.0.1:${(store.address() as AddressInfo).port}`,
    region: 'eu-west-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  });
  const archive = cloudArchive(config, { ...memory, clock }, false, (arn) => readSecret(secrets, arn));
  front = await startLambdaFront(archive);
}

const signIn = async (browser = new FormBrowser()): Promise<FormBrowser> => {
  await browser.open(`${front.origin}/api/session/start?returnTo=/`);
  return browser;
};
const statusOf = async (browser: FormBrowser): Promise<number> =>
  (await browser.step(`${front.origin}/api/session`)).status;

test.each(['client_secret_basic', 'client_secret_post'])(
  'people sign in and stay signed in where the issuer wants a secret by %s, which is fetched once',
  async (token_endpoint_auth_method) => {
    await deploy({ token_endpoint_auth_method });
    const [one, other] = [await signIn(), await signIn()];
    expect([await statusOf(one), await statusOf(other)]).toEqual([200, 200]);
    ahead = 110_000;
    const before = issuer.grants.length;
    expect(await statusOf(one)).toBe(200);
    expect(issuer.grants.length).toBe(before + 1);
    expect(fetched).toEqual([ARN]);
    expect(one.went.join('\n')).not.toContain(encodeURIComponent(SECRET));
  },
);

test('a secret that was replaced at the issuer and in Secrets Manager is found by the next sign-in, and by sessions that go on', async () => {
  await deploy({ token_endpoint_auth_method: 'client_secret_basic' });
  const before = await signIn();
  issuer.secret = kept = 'another one, after ninety days';
  ahead = 60_000;
  expect(await statusOf(await signIn())).toBe(200);
  expect(fetched).toHaveLength(2);
  issuer.secret = kept = 'and one more';
  ahead = 110_000;
  const grants = issuer.grants.length;
  expect(await statusOf(before)).toBe(200);
  // Refused with the old one, renewed with the new one.
  expect(issuer.grants.length).toBe(grants + 2);
  expect(fetched).toHaveLength(3);
  expect(await statusOf(await signIn())).toBe(200);
  expect(fetched).toHaveLength(3);
});

test('with a wrong secret nobody signs in, sessions go on, and the log says why without the secret', async () => {
  await deploy({ token_endpoint_auth_method: 'client_secret_post' });
  const before = await signIn();
  issuer.secret = 'one that nobody has put into Secrets Manager yet';
  ahead = 110_000;
  expect(await statusOf(before)).toBe(200);
  const warned = vi.spyOn(logger, 'warn').mockImplementation(() => logger);
  const browser = new FormBrowser();
  const began = await browser.step(`${front.origin}/api/session/start`);
  const back = await browser.open(began.headers.get('location')!);
  expect(back.url).toBe(`${front.origin}/?signIn=unreachable`);
  expect(await statusOf(browser)).toBe(401);
  expect(warned.mock.calls).toMatchObject([
    ['sign-in-refused', { failure: { message: 'the issuer does not take what the archive shows of itself' } }],
  ]);
  expect(JSON.stringify(warned.mock.calls)).not.toContain(SECRET);
  // The old one again, as nothing else is there: but not with every request.
  const times = fetched.length;
  expect(times).toBeLessThanOrEqual(3);
  await signIn();
  expect(fetched.length).toBe(times);
  kept = issuer.secret;
  ahead += 6_000;
  expect(await statusOf(await signIn())).toBe(200);
});

test.each(['PEM', 'JWK'])('a private key (%s) in place of a secret signs an assertion', async (form) => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = { ...privateKey.export({ format: 'jwk' }), kid: 'pacs-1', alg: 'ES256' };
  kept = form === 'JWK' ? JSON.stringify(jwk) : String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
  await deploy({
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'pacs-1', use: 'sig', alg: 'ES256' }] },
  });
  const browser = await signIn();
  expect(await statusOf(browser)).toBe(200);
  const out = await browser.step(`${front.origin}/api/session`, {
    method: 'DELETE',
    headers: { 'sec-fetch-site': 'same-origin' },
  });
  expect(new URL((JSON.parse(out.text) as { next: string }).next).origin).toBe(issuer.url);
  expect(await statusOf(browser)).toBe(401);
});

test('a key that is none, and one of which the public half alone was kept, are said so without what was kept', async () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  for (kept of ['{"kty": "EC", "d": "half a k', JSON.stringify(publicKey.export({ format: 'jwk' }))]) {
    await deploy({ token_endpoint_auth_method: 'client_secret_post' });
    const warned = vi.spyOn(logger, 'warn').mockImplementation(() => logger);
    expect(await statusOf(await signIn())).toBe(401);
    expect(JSON.stringify(warned.mock.calls)).toContain('is none that can be used');
    expect(JSON.stringify(warned.mock.calls)).not.toContain(kept.slice(0, 20));
    vi.restoreAllMocks();
    await front.close();
    await issuer.close();
  }
});

test('a function that was given the secret’s name and no way to read it does not start', () => {
  const config = readLambdaConfig({ NEPHOS_OIDC_CLIENT_SECRET_ARN: ARN }, false);
  expect(() => cloudArchive(config, memoryServices({ pixels: noPixels }), false)).toThrow(/reads no secrets/);
});
