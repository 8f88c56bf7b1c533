import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { exportJWK, SignJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { TokenStore } from '#core/tokens.ts';
import { createLog } from '#embedded/log.ts';
import { startService } from '#fargate/service.ts';
import { SERVICE, SERVICE_REQUESTS } from '#fargate/spec.ts';
import { readCloudConfig } from '#lambda/config.ts';
import { FUNCTIONS } from '#lambda/functions.ts';
import { buildDicom } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';
import { multipart } from './client.ts';
import { dicomwebSuite } from './dicomweb-suite.ts';
import { httpHost } from './service-host.ts';

const quiet = createLog('error', (line) => process.stderr.write(line));

async function start(env: Record<string, string> = {}) {
  const ports = memoryServices({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS) });
  const config = readCloudConfig({ NEPHOS_TENANTS: TENANT, ...env }, {});
  const service = await startService({ config, ports, port: 0, bind: '127.0.0.1', log: quiet });
  const token = (await new TokenStore(ports).bootstrap(TENANT))!;
  return { service, ports, token, host: httpHost(service.port, token, () => service.close()) };
}

dicomwebSuite('the service of the cloud', async () => (await start()).host);

describe('the service', () => {
  test('has none of the limits of Lambda', () => {
    const { limits } = readCloudConfig({}, {});
    // But what all hosts of the cloud share: rules of access are looked at once a second.
    expect({ ...DEFAULT_LIMITS, ...limits }).toEqual({ ...DEFAULT_LIMITS, accessPolicyMs: 1_000 });
  });

  test('may do what the functions may whose requests it takes over, and nothing else', () => {
    const [{ grants: store }, { grants: retrieve }] = [FUNCTIONS.store, FUNCTIONS.retrieve];
    expect(new Set(SERVICE.grants.archive)).toEqual(new Set([...store.archive, ...retrieve.archive]));
    expect(new Set(SERVICE.grants.sends)).toEqual(new Set([...store.sends, ...retrieve.sends]));
    expect(SERVICE.grants.landing).toEqual([]);
  });

  test.each([
    ['POST', '/dicomweb/studies', true],
    ['POST', '/dicomweb/studies/1.2', true],
    ['GET', '/dicomweb/studies/1.2', true],
    ['GET', '/dicomweb/studies/1.2/series/1.3', true],
    ['GET', '/dicomweb/studies', false],
    ['GET', '/dicomweb/studies/1.2/series', false],
    ['GET', '/dicomweb/studies/1.2/metadata', false],
    ['GET', '/dicomweb/studies/1.2/series/1.3/instances/1.4', false],
  ] as const)('takes over %s %s: %s', (method, path, expected) => {
    expect(new RegExp(SERVICE_REQUESTS[method]).test(path)).toBe(expected);
  });

  test('answers its health check to everybody, and nothing else without a token', async () => {
    const { service } = await start();
    const ask = async (path: string) => (await fetch(`http://127.0.0.1:${service.port}${path}`)).status;
    expect(await ask('/healthz')).toBe(200);
    expect(await ask('/dicomweb/studies')).toBe(401);
    expect(await ask('/elsewhere')).toBe(404);
    await service.close();
  });

  test('takes the tokens of the issuer, by the verifier of the functions', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' };
    const keys = createServer((_, answer) => answer.end(JSON.stringify({ keys: [jwk] }))).listen(0, '127.0.0.1');
    await once(keys, 'listening');
    const issuer = `http://127.0.0.1:${(keys.address() as AddressInfo).port}`;
    const { service, ports } = await start({
      NEPHOS_OIDC_ISSUER: issuer,
      NEPHOS_OIDC_AUDIENCE: 'pacs',
      NEPHOS_OIDC_JWKS_URL: `${issuer}/keys`,
    });
    const now = Math.floor(ports.clock.now() / 1000);
    const tokenFor = (audience: string) =>
      new SignJWT({ roles: ['viewer'] })
        .setProtectedHeader({ alg: 'ES256', kid: 'one' })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject('reader')
        .setIssuedAt(now)
        .setExpirationTime(now + 600)
        .sign(privateKey);
    const ask = async (audience: string) =>
      (
        await fetch(`http://127.0.0.1:${service.port}/dicomweb/studies`, {
          headers: { authorization: `Bearer ${await tokenFor(audience)}` },
        })
      ).status;
    expect(await ask('pacs')).toBe(200);
    expect(await ask('another')).toBe(401);
    await service.close();
    keys.close();
  });

  test('speaks of itself under the name that CloudFront was asked by, and believes the address CloudFront names', async () => {
    const { service, host, ports } = await start();
    const written: string[] = [];
    const write = ports.index.write.bind(ports.index);
    ports.index.write = (operations) => {
      written.push(JSON.stringify(operations));
      return write(operations);
    };
    const { method, headers, body } = multipart([buildDicom()]);
    const forwarded = { 'x-forwarded-host': 'pacs.example.org', 'x-forwarded-for': '6.6.6.6, 192.0.2.7, 130.176.1.1' };
    const answer = await host.fetch('/dicomweb/studies', { method, body, headers: { ...headers, ...forwarded } });
    expect(JSON.parse(answer.body.toString())['00081190'].Value[0]).toMatch(/^https:\/\/pacs\.example\.org\/dicomweb/);
    await host.fetch('/dicomweb/studies', { headers: { ...forwarded, authorization: 'Bearer wrong' } });
    await service.close();
    expect(written.join('\n')).toContain('192.0.2.7');
    expect(written.join('\n')).not.toContain('6.6.6.6');
  });

  test('told to end in the middle of a request, it answers it, keeps the object, and ends', async () => {
    const { service, host, token } = await start();
    const { method, headers, body } = multipart([buildDicom()]);
    const outgoing = request({
      host: '127.0.0.1',
      port: service.port,
      path: '/dicomweb/studies',
      method,
      headers: { ...headers, authorization: `Bearer ${token}`, 'content-length': body.length, expect: '100-continue' },
    });
    const answered = once(outgoing, 'response');
    // The service asks for the body when it reads it: the request is with it then.
    await once(outgoing, 'continue');
    outgoing.write(body.subarray(0, 200));
    const closed = host.close();
    await expect(fetch(`http://127.0.0.1:${service.port}/healthz`)).rejects.toThrow();
    outgoing.end(body.subarray(200));
    const [response] = await answered;
    expect(response.statusCode).toBe(200);
    response.resume();
    await closed;
  });
});

describe('its Dockerfile', () => {
  const read = (path: string): string => readFileSync(join(import.meta.dirname, '../..', path), 'utf8');
  const dockerfile = read('functions/fargate/Dockerfile');

  test('has the Node that the project is tested with, and ends without rights and with a health check', () => {
    const { devDependencies } = JSON.parse(read('package.json')) as { devDependencies: Record<string, string> };
    expect(dockerfile).toContain(`FROM node:${devDependencies.node}-bookworm-slim AS build`);
    const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '));
    expect(last).toMatch(/^USER 65532:65532$/m);
    expect(last).toMatch(/^HEALTHCHECK .*CMD \[/m);
    expect(last).toContain(`EXPOSE ${SERVICE.port}`);
  });

  test('copies what its ignore file lets through, and nothing else', () => {
    const allowed = [...read('functions/fargate/Dockerfile.dockerignore').matchAll(/^!(.+)$/gm)].map(([, one]) => one!);
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap((match) => match[1]!.split(' '));
    expect(copied.sort()).toEqual(allowed.sort());
  });
});
