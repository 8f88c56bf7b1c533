import '#test/fixtures/quiet-powertools.ts';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Provider from 'oidc-provider';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '#adapters/system-clock.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { type LambdaFront, startLambdaFront } from '#test/fixtures/lambda-front.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';

const API = 'urn:pacs.example';
const SECRET = 'a-secret-of-the-issuer-that-is-long-enough';
let issuer: string;
let server: Server;
let front: LambdaFront;

/** An issuer whose machines get JSON Web Tokens for the archive by client credentials, rights as scopes (as Cognito, Keycloak, Entra do). */
beforeAll(async () => {
  server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const resource = (_: unknown, audience: string) => ({
    scope: 'pacs/finder pacs/retriever pacs/root',
    audience,
    accessTokenTTL: 300,
    accessTokenFormat: 'jwt',
  });
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: 'ai-worker',
        client_secret: SECRET,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: { enabled: true, getResourceServerInfo: resource, useGrantedResource: () => true },
    },
  });
  server.on('request', provider.callback());
  const env = {
    NEPHOS_TENANTS: TENANT,
    NEPHOS_OIDC_ISSUER: issuer,
    NEPHOS_OIDC_AUDIENCE: API,
    NEPHOS_OIDC_ROLES_CLAIM: 'groups,scope',
    NEPHOS_OIDC_ROLES: 'pacs/finder=finder,pacs/retriever=retriever',
  };
  const ports = memoryServices({ ports: { clock: systemClock } });
  front = await startLambdaFront(cloudArchive(readLambdaConfig(env, false), ports, false));
});
afterAll(async () => {
  await front.close();
  server.closeAllConnections();
  server.close();
});

async function tokenOf(scope: string, resource = API): Promise<string> {
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`ai-worker:${SECRET}`).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope, resource }),
  });
  expect(response.status).toBe(200);
  return ((await response.json()) as { access_token: string }).access_token;
}
const ask = async (path: string, token: string) => {
  const response = await fetch(front.origin + path, { headers: { authorization: `Bearer ${token}` } });
  return { status: response.status, json: response.status === 200 ? await response.json() : undefined };
};

test('a machine of an issuer of one’s own may do what its scopes stand for, by the functions of the cloud', async () => {
  const token = await tokenOf('pacs/finder');
  expect((await ask('/dicomweb/studies', token)).status).toBe(200);
  expect((await ask('/api/session', token)).json).toMatchObject({
    tenant: TENANT,
    subject: 'ai-worker',
    roles: ['finder'],
  });
  expect((await ask('/api/clients', token)).status).toBe(403);
});

test('a scope that stands for nothing gives nothing; a token for something else is none', async () => {
  expect((await ask('/dicomweb/studies', await tokenOf('pacs/root'))).status).toBe(403);
  expect((await ask('/dicomweb/studies', await tokenOf('pacs/finder', 'urn:other.example'))).status).toBe(401);
});
