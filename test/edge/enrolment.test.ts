import '#test/fixtures/quiet-powertools.ts';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { codecModule } from '#adapters/local/codec-module.ts';
import { systemClock } from '#adapters/system-clock.ts';
import { invite } from '#core/enrolment.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import type { Services } from '#core/services.ts';
import { TokenStore } from '#core/tokens.ts';
import { readEdgeConfig } from '#edge/config.ts';
import { archiveAddress, enrolCommand } from '#edge/enrolment/enrol.ts';
import { type Gateway, openGateway } from '#edge/gateway.ts';
import { beat } from '#edge/status/heartbeat.ts';
import { statusPage } from '#edge/status/page.ts';
import { gatewayStatus } from '#edge/status/snapshot.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { startLambdaFront } from '#test/fixtures/lambda-front.ts';
import { memoryServices } from '#test/fixtures/services.ts';
import { cStore, dataSetsIn, dataSetsOf, drained, LOG, startArchiveSite, status, TENANT, until } from './clinic.ts';

/** An archive that asks who one is, and how a test looks into it. */
interface Host {
  readonly origin: string;
  readonly services: Services;
  /** of an administrator */
  readonly token: string;
  /** answers to the token endpoint from now on; undefined: its own */
  tokens: 'down' | undefined;
  /** how often it was asked for a token while it was down */
  refused: number;
  close(): Promise<void>;
}

const TOKEN_MS = DEFAULT_LIMITS.clientTokenMs;

/** @param tokenMs how long a token of a gateway holds */
async function embeddedHost(folder: string, tokenMs = TOKEN_MS): Promise<Host> {
  const site = await startArchiveSite(join(folder, 'archive'), {
    NEPHOS_AUTH: 'on',
    NEPHOS_LIMIT_CLIENT_TOKEN_MS: String(tokenMs),
  });
  const token = (await site.archive.tokens.bootstrap(TENANT))!;
  const host: Host = {
    origin: `http://127.0.0.1:${site.port}`,
    services: site.archive.services,
    token,
    tokens: undefined,
    refused: 0,
    close: () => site.close(),
  };
  site.intercept = (answer) => async (request) => {
    if (request.path !== '/api/token' || host.tokens !== 'down') return answer(request);
    host.refused++;
    return { response: { status: 503, headers: {} }, route: undefined };
  };
  return host;
}

async function lambdaHost(tokenMs = TOKEN_MS): Promise<Host> {
  const pixels = new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS);
  const ports = memoryServices({ pixels, ports: { clock: systemClock } });
  const archive = cloudArchive(
    readLambdaConfig({ NEPHOS_TENANTS: TENANT, NEPHOS_LIMIT_CLIENT_TOKEN_MS: String(tokenMs) }, false),
    ports,
    false,
  );
  const front = await startLambdaFront(archive);
  return {
    origin: front.origin,
    services: archive.services,
    token: (await new TokenStore(ports).bootstrap(TENANT))!,
    tokens: undefined,
    refused: 0,
    async close() {
      await front.close();
      await pixels.close();
    },
  };
}

let folder: string;
let host: Host;
let gateway: Gateway | undefined;
let said: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nephos-enrol-'));
  said = '';
});
afterEach(async () => {
  await gateway?.close();
  gateway = undefined;
  await host?.close();
  vi.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});

const api = async (method: string, path: string, body?: object) => {
  const response = await fetch(`${host.origin}/api${path}`, {
    method,
    headers: { authorization: `Bearer ${host.token}`, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, json: text === '' ? undefined : JSON.parse(text) };
};
const newCode = async (body: object = {}): Promise<string> =>
  (await api('POST', '/enrolments', { gateway: 'north-clinic', ...body })).json.code;
const env = (name = 'edge'): Record<string, string> => ({
  NEPHOS_DATA_DIR: join(folder, name),
  NEPHOS_DICOM_PORT: '0',
  NEPHOS_HTTP_PORT: '0',
});
const enrol = (code: string, options: { env?: Record<string, string>; address?: string; asArgument?: true } = {}) => {
  const args = [options.address ?? host.origin, ...(options.asArgument ? [code] : [])];
  const say = (text: string): void => {
    said += text;
  };
  return enrolCommand(args, options.env ?? env(), say, async () => `${code}\n`);
};
async function start(of = env()): Promise<Gateway> {
  gateway = await openGateway(withoutReserve(readEdgeConfig(of)), { log: LOG });
  return gateway;
}
const withoutReserve = (config: ReturnType<typeof readEdgeConfig>) => ({
  ...config,
  disk: { reserveBytes: 0 },
  upstreams: config.upstreams.map((one) => ({ ...one, retry: { firstMs: 5, mostMs: 40, refusals: 3 } })) as never,
});
const slices = (from: number, count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) => buildDicom({ SOPInstanceUID: uid(from + i), InstanceNumber: i }));

describe.each([
  ['the embedded host', (tokenMs?: number) => embeddedHost(folder, tokenMs)],
  ['the Lambda functions', lambdaHost],
] as const)('a gateway enrolled by one command with %s', (_, open) => {
  beforeEach(async () => {
    host = await open();
  });

  test('forwards what it is sent, and reports, as itself; nothing secret is anywhere but in its own file', async () => {
    const code = await newCode();
    expect(await enrol(code.toLowerCase(), { address: `${host.origin}/dicomweb/` })).toBe(0);
    expect(said).toContain('This gateway is north-clinic (gateway-north-clinic-');
    expect(said).not.toMatch(/"d"|nephos_/);
    const file = join(folder, 'edge/identity.json');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(folder, 'edge/edge.json'), 'utf8')).not.toMatch(/"d"|nephos_/);

    const edge = await start();
    const objects = slices(100, 12);
    expect(await cStore(edge, objects)).toEqual(objects.map(() => 0));
    await drained(edge, 12, 'upstream');
    expect(await dataSetsIn(host)).toEqual(dataSetsOf(objects));
    await beat(edge, new AbortController().signal);
    expect((await api('GET', '/gateways')).json.items).toMatchObject([{ id: 'north-clinic', isStale: false }]);
    const { identity } = await gatewayStatus(edge);
    expect(identity).toMatchObject({ archive: host.origin, refusal: undefined });
    expect((await api('GET', '/clients')).json.items).toMatchObject([
      { id: identity!.clientId, gateway: 'north-clinic' },
    ]);
    const { entries } = (await api('GET', '/audit?limit=1000')).json;
    const stored = entries.filter(({ event }: { event: string }) => event === 'InstancesTransferred');
    expect(new Set(stored.map(({ subject }: { subject: string }) => subject))).toEqual(
      new Set(['gateway:north-clinic']),
    );
  });

  test('has its tokens renewed while it works: they hold two seconds, the work goes on until there were three', async () => {
    await host.close();
    await rm(join(folder, 'archive'), { recursive: true, force: true });
    host = await open(2_000);
    expect(await enrol(await newCode(), { asArgument: true })).toBe(0);
    const edge = await start();
    const logins = async (): Promise<number> => {
      const { entries } = (await api('GET', '/audit?limit=1000')).json;
      return entries.filter(({ transaction }: { transaction: string }) => transaction === 'RequestToken').length;
    };
    for (let sent = 0; (await logins()) < 3; ) {
      await cStore(edge, slices(1_000 + sent, 2));
      sent += 2;
      await drained(edge, sent, 'upstream');
      await sleep(100);
    }
    expect((await status(edge, 'upstream')).held).toBe(0);
  });

  test('that is revoked in mid-stream stops, holds what comes in, loses nothing and says so; enrolled again, it goes on', async () => {
    expect(await enrol(await newCode())).toBe(0);
    const edge = await start();
    const objects = slices(2_000, 24);
    await cStore(edge, objects.slice(0, 8));
    await until(
      () => status(edge, 'upstream'),
      ({ confirmed }) => confirmed > 0,
    );
    const { clientId } = (await gatewayStatus(edge)).identity!;
    expect((await api('DELETE', `/clients/${clientId}`)).status).toBe(204);
    expect(await cStore(edge, objects.slice(8))).toEqual(objects.slice(8).map(() => 0));
    const stopped = await until(
      () => gatewayStatus(edge),
      ({ identity, destinations: [queue] }) =>
        identity?.refusal?.includes('it was revoked') === true &&
        queue!.pending >= 16 &&
        queue!.pause?.reason.includes('it was revoked') === true,
    );
    expect(statusPage(stopped, {} as never)).toContain('The archive gives this gateway no access');
    // The running gateway takes up its new identity by itself.
    expect(await enrol(await newCode())).toBe(0);
    await drained(edge, 24, 'upstream');
    expect(await dataSetsIn(host)).toEqual(dataSetsOf(objects));
    expect((await gatewayStatus(edge)).identity!.refusal).toBeUndefined();
  });

  test('keeps out who brings a code that was used, is over, was guessed, or was mistyped', async () => {
    // Attempts are counted by the ten minutes of the clock: they all are in the same ones.
    const at = Date.now();
    vi.spyOn(Date, 'now').mockReturnValue(at);
    const code = await newCode();
    expect(await enrol(code)).toBe(0);
    expect(await enrol(code, { env: env('second') })).toBe(2);
    expect(said).toContain('it was used, it is over');
    expect(existsSync(join(folder, 'second/identity.json'))).toBe(false);
    const over = await invite(host.services, TENANT, { gateway: 'late', createdBy: 'x', expiresAt: Date.now() - 1 });
    expect(await enrol(over.code, { env: env('second') })).toBe(2);
    const typo = code.slice(0, -1) + (code.endsWith('7') ? '8' : '7');
    expect(await enrol(typo, { env: env('second') })).toBe(2);
    expect(said).toContain('mistyped');
    for (let i = 0; i < 25; i++)
      await fetch(`${host.origin}/api/enrolments/exchange`, {
        method: 'POST',
        body: JSON.stringify({
          code: (
            await invite({ ...host.services, index: memoryServices().index }, 'x', {
              gateway: 'g',
              createdBy: 'x',
              expiresAt: 0,
            })
          ).code,
          key: { kty: 'EC', crv: 'P-256', ...publicHalf() },
        }),
      });
    const fresh = await newCode();
    expect(await enrol(fresh, { env: env('second') })).toBe(2);
    expect(said).toContain('too many codes');
  });

  test('belongs to the tenant of who invited it', async () => {
    const { code } = await invite(host.services, 'other', {
      gateway: 'north-clinic',
      createdBy: 'x',
      expiresAt: Date.now() + 3_600_000,
    });
    expect(await enrol(code)).toBe(0);
    const edge = await start();
    await cStore(edge, slices(3_000, 2));
    await drained(edge, 2, 'upstream');
    expect(await dataSetsIn(host)).toEqual(new Map());
    const blobs = await Array.fromAsync(host.services.blobs.list('other/'));
    expect(blobs.filter(({ key }) => key.endsWith('.dcm'))).toHaveLength(2);
  });
});

const publicHalf = () => {
  const { x, y } = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
  return { x, y };
};

describe('a gateway that is enrolled', () => {
  beforeEach(async () => {
    host = await embeddedHost(folder);
  });

  test('goes on taking objects while the token endpoint is down, and sends them when it is back', async () => {
    expect(await enrol(await newCode())).toBe(0);
    host.tokens = 'down';
    const edge = await start();
    const objects = slices(4_000, 6);
    expect(await cStore(edge, objects)).toEqual(objects.map(() => 0));
    const waiting = await until(
      () => status(edge, 'upstream'),
      ({ pause, pending }) => pause !== undefined && pending === 6,
    );
    expect(waiting.pause!.reason).toBe('the token endpoint answered 503');
    expect(waiting.held).toBe(0);
    host.tokens = undefined;
    await drained(edge, 6, 'upstream');
  });

  test('serves on with the token that it has while another cannot be had', async () => {
    const { now } = Date;
    let aheadMs = 0;
    vi.spyOn(Date, 'now').mockImplementation(() => now() + aheadMs);
    expect(await enrol(await newCode())).toBe(0);
    const edge = await start();
    await cStore(edge, slices(5_000, 1));
    await drained(edge, 1, 'upstream');
    host.tokens = 'down';
    // Another is due, and the one before holds for some twenty seconds more.
    aheadMs += TOKEN_MS - 29_000;
    await cStore(edge, slices(5_001, 1));
    await drained(edge, 2, 'upstream');
    await until(
      () => host.refused,
      (count) => count > 0,
    );
    expect((await gatewayStatus(edge)).identity!.refusal).toBeUndefined();
  });

  test('gives its tokens to no other archive, whatever a configuration names', async () => {
    expect(await enrol(await newCode())).toBe(0);
    const config = readEdgeConfig(env());
    const other = await startArchiveSite(join(folder, 'other'));
    const seen: unknown[] = [];
    other.intercept = (answer) => (request) => {
      seen.push(request.headers.authorization);
      return answer(request);
    };
    const upstreams = [{ ...config.upstreams[0], url: `http://127.0.0.1:${other.port}/dicomweb` }] as const;
    gateway = await openGateway({ ...withoutReserve(config), upstreams }, { log: LOG });
    await cStore(gateway, slices(6_000, 1));
    const { pause } = await until(
      () => status(gateway!, 'upstream'),
      (now) => now.pause !== undefined,
    );
    expect(pause!.reason).toBe('the gateway has been enrolled with another archive');
    expect(seen.filter((one) => one !== undefined)).toEqual([]);
    await other.close();
  });

  test('takes signed configurations by the key that came with its identity', async () => {
    const pem = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString();
    expect(await enrol(await newCode({ configurationKey: pem }))).toBe(0);
    expect(said).toMatch(/signed by the key SHA256:\S{43}/);
    expect(readEdgeConfig(env()).remoteConfiguration).toEqual({ publicKey: pem });
  });

  test('keeps what its configuration says beside, and the name of its queue', async () => {
    const file = join(folder, 'edge.json');
    const own = {
      aeTitle: 'NORTH',
      dataDir: join(folder, 'kept'),
      upstreams: [
        { name: 'research', url: 'https://research.example/dicomweb' },
        { name: 'cloud', url: `${host.origin}/dicomweb`, auth: { bearerToken: 'old' }, parallel: 2 },
      ],
    };
    await writeFile(file, JSON.stringify(own));
    const named = { NEPHOS_EDGE_CONFIG: file };
    expect(await enrol(await newCode(), { env: named })).toBe(0);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({
      ...own,
      upstreams: [
        { name: 'cloud', url: `${host.origin}/dicomweb`, auth: { enrolled: true }, parallel: 2 },
        own.upstreams[0],
      ],
      heartbeat: { id: 'north-clinic' },
    });
    expect(existsSync(join(folder, 'kept/identity.json'))).toBe(true);
  });

  test('does not spend its code where it could not keep what it gets', async () => {
    const code = await newCode();
    await mkdir(join(folder, 'file'));
    await writeFile(join(folder, 'file/edge-data'), 'a file where the folder should be');
    await expect(enrol(code, { env: { NEPHOS_DATA_DIR: join(folder, 'file/edge-data/x') } })).rejects.toMatchObject({
      code: 'ENOTDIR',
    });
    await writeFile(join(folder, 'broken.json'), '{');
    expect(await enrol(code, { env: { NEPHOS_EDGE_CONFIG: join(folder, 'broken.json') } })).toBe(2);
    await chmod(join(folder, 'broken.json'), 0o600);
    expect(await enrol(code)).toBe(0);
  });
});

test('the code travels over TLS, but on this machine', () => {
  expect(archiveAddress('https://pacs.example/dicomweb/')).toBe('https://pacs.example');
  expect(archiveAddress('https://pacs.example/prod/')).toBe('https://pacs.example/prod');
  expect(archiveAddress('http://127.0.0.1:8080')).toBe('http://127.0.0.1:8080');
  for (const bad of ['http://pacs.example', 'pacs.example', 'ftp://x', ''])
    expect(() => archiveAddress(bad)).toThrow('https');
});
