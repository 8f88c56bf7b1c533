import '#test/fixtures/quiet-powertools.ts';
import type { APIGatewayAuthorizerResult } from 'aws-lambda';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { TokenStore } from '#core/tokens.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { authorizerFunction } from '#lambda/authorizer-function.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { httpFunction } from '#lambda/http-function.ts';
import { archiveOf } from '#test/fixtures/granted-index.ts';
import { invocable, lambdaContext, proxyEvent } from '#test/fixtures/lambda-runtime.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';

const ISSUER = 'https://issuer.test';
const ARN = 'arn:aws:execute-api:eu-west-1:000000000000:api/live/GET/dicomweb/studies';
const { privateKey, publicKey } = await generateKeyPair('RS256');

const memory = memoryServices();
const config = readLambdaConfig(
  {
    NEPHOS_TENANTS: TENANT,
    NEPHOS_OIDC_ISSUER: ISSUER,
    NEPHOS_OIDC_AUDIENCE: 'nephos',
    NEPHOS_OIDC_JWKS_URL: `${ISSUER}/keys`,
  },
  false,
);
const archive = () => cloudArchive(config, memory, false);

beforeEach(() => {
  const keys = async () => Response.json({ keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'RS256' }] });
  vi.stubGlobal('fetch', vi.fn(keys));
});
afterEach(() => vi.unstubAllGlobals());

const token = (claims: object = {}) =>
  new SignJWT({ roles: ['finder'], ...claims })
    .setProtectedHeader({ alg: 'RS256', kid: 'one' })
    .setIssuer(ISSUER)
    .setAudience('nephos')
    .setSubject('dr-house')
    .setExpirationTime(memory.clock.now() / 1000 + 60)
    .sign(privateKey);

async function decide(headers: Record<string, string>, method = 'GET'): Promise<APIGatewayAuthorizerResult> {
  const event = proxyEvent({ method, url: new URL('https://pacs.test/dicomweb/studies'), headers });
  const handler = invocable<APIGatewayAuthorizerResult>(authorizerFunction(() => archiveOf('authorizer', archive())));
  return handler({ ...event, type: 'REQUEST', methodArn: ARN }, lambdaContext());
}

test('a token of the issuer lets its bearer in; the functions get to know who it is', async () => {
  const decision = await decide({ Authorization: `Bearer ${await token()}` });
  expect(decision.context).toEqual({ tenant: TENANT, subject: 'dr-house', roles: 'finder' });
  expect(decision.policyDocument.Statement).toEqual([{ Action: 'execute-api:Invoke', Effect: 'Allow', Resource: ARN }]);

  const search = invocable<{ statusCode: number }>(httpFunction('search', () => archiveOf('search', archive())));
  const url = new URL('https://pacs.test/dicomweb/studies');
  const authorizer = decision.context as Record<string, string>;
  expect((await search(proxyEvent({ method: 'GET', url, headers: {}, authorizer }), lambdaContext())).statusCode).toBe(
    200,
  );
});

test('so does a token of our own, and the session of a browser; but not from a page of another site', async () => {
  const tokens = new TokenStore(memory);
  const own = (await tokens.bootstrap(TENANT))!;
  expect((await decide({ Authorization: `Bearer ${own}` })).context).toMatchObject({
    subject: 'admin',
    roles: 'admin',
  });
  const session = await tokens.openSession({ tenant: TENANT, subject: 'reader', roles: ['finder'] });
  const cookie = { Cookie: `__Host-nephos_session=${session}` };
  expect((await decide(cookie)).context).toMatchObject({ subject: 'reader' });
  const crossSite = await decide({ ...cookie, 'Sec-Fetch-Site': 'cross-site' }, 'POST');
  expect(crossSite.policyDocument.Statement).toMatchObject([{ Effect: 'Deny' }]);
});

test.each([
  ['nothing', () => ({})],
  ['an unknown token', () => ({ Authorization: 'Bearer nephos_unknown' })],
  [
    'a token that is over',
    async () => ({ Authorization: `Bearer ${await token({ exp: 1 }).then((text) => `${text}x`)}` }),
  ],
  ['another scheme', () => ({ Authorization: 'Basic dXNlcjpwYXNz' })],
])('with %s nobody gets in: 401', async (_, headers) => {
  await expect(decide(await headers())).rejects.toThrow(/^Unauthorized$/);
});

test('an issuer that cannot be reached is our fault, not the token’s', async () => {
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('fetch failed')));
  await expect(decide({ Authorization: `Bearer ${await token()}` })).rejects.toThrow('cannot be judged');
});

test('where too many tokens were not valid it lets a request pass as nobody’s, for API Gateway cannot say 429: the function does', async () => {
  const limited = cloudArchive({ ...config, rates: { failuresPerMinute: 1 } }, memoryServices(), false);
  const url = new URL('https://pacs.test/dicomweb/studies');
  const headers = { Authorization: `Bearer ${await token()}x`, 'X-Forwarded-For': '203.0.113.9, 130.176.1.1' };
  const ask = invocable<APIGatewayAuthorizerResult>(authorizerFunction(() => limited));
  const asked = { ...proxyEvent({ method: 'GET', url, headers }), type: 'REQUEST', methodArn: ARN };
  await expect(ask(asked, lambdaContext())).rejects.toThrow('Unauthorized');
  const { context, policyDocument } = await ask(asked, lambdaContext());
  expect(context).toEqual({ refusedSeconds: '60' });
  expect(policyDocument.Statement).toMatchObject([{ Effect: 'Allow' }]);

  const search = invocable<{ statusCode: number; headers: Record<string, string> }>(
    httpFunction('search', () => limited),
  );
  const authorizer = context as Record<string, string>;
  const answer = await search(proxyEvent({ method: 'GET', url, headers, authorizer }), lambdaContext());
  expect([answer.statusCode, answer.headers['retry-after']]).toEqual([429, '60']);
});
