import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { signConfiguration } from '#core/gateway-signature.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { associate, proposing, sendEcho, sendObject } from '#dimse/scu.ts';
import type { Session } from '#dimse/session.ts';
import { VERIFICATION } from '#dimse/sop-classes.ts';
import { readEdgeConfig } from '#edge/config.ts';
import { type Gateway, openGateway } from '#edge/gateway.ts';
import { beat } from '#edge/status/heartbeat.ts';
import { effectiveConfig, withSigned } from '#edge/status/remote-configuration.ts';
import { gatewayStatus } from '#edge/status/snapshot.ts';
import { statusSideOf } from '#edge/status/status-side.ts';
import { createLog } from '#embedded/log.ts';
import { buildDicom, CT_IMAGE_STORAGE, EXPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { standIn } from '#test/fixtures/stand-in.ts';
import { nephos, type RunningArchive, startArchive } from '#test/hosts/process.ts';

let dir: string;
let archive: RunningArchive;
let gateway: Gateway;
let origin: string;
/** Somebody else's server on loopback. */
async function listen(answer: RequestListener): Promise<{ server: Server; port: number }> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, port: (server.address() as { port: number }).port };
}
const silent = createLog('error', () => {});

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-status-'));
  archive = await startArchive(join(dir, 'archive'));
});
afterAll(async () => {
  await archive?.stop();
  await rm(dir, { recursive: true, force: true });
});

let number = 0;
/** Its own configuration file, in a data folder of its own. */
async function environment(members: object = {}): Promise<Record<string, string>> {
  const folder = join(dir, `edge-${++number}`);
  const file = join(dir, `edge-${number}.json`);
  const upstreams = [{ name: 'cloud', url: `${archive.origin}/dicomweb` }];
  await writeFile(
    file,
    JSON.stringify({
      dataDir: folder,
      dicom: { port: 0 },
      http: { port: 0 },
      upstreams,
      disk: { reserveBytes: 0 },
      ...members,
    }),
  );
  return { NEPHOS_EDGE_CONFIG: file };
}

async function open(env: Record<string, string>): Promise<Gateway> {
  const { config, number, newest, refused } = effectiveConfig(env);
  const opened = await openGateway(config, { log: silent });
  statusSideOf(opened).configuration = { number, refused };
  statusSideOf(opened).newestConfiguration = newest;
  statusSideOf(opened).reload = (given) => opened.reload(withSigned(env, readEdgeConfig(env), given));
  await expect.poll(() => statusSideOf(opened).httpPort, { timeout: 60_000 }).toBeGreaterThan(0);
  // The first report goes out by itself: it must not meet those of a test.
  if (config.heartbeat !== undefined)
    await expect.poll(() => statusSideOf(opened).report, { timeout: 60_000 }).toBeDefined();
  return opened;
}

const start = async (members: object = {}): Promise<void> => {
  gateway = await open(await environment(members));
  origin = `http://127.0.0.1:${statusSideOf(gateway).httpPort}`;
};
afterEach(() => gateway?.close());

/** @returns the status of the C-STORE */
async function send(n: number, callingAETitle = 'CT1', ImageComments = ''): Promise<number> {
  const session = await associate(
    { aeTitle: 'NEPHOS', host: '127.0.0.1', port: gateway.listeners.port! },
    { callingAETitle, contexts: proposing([CT_IMAGE_STORAGE, [EXPLICIT_LE]], [VERIFICATION, [EXPLICIT_LE]]) },
  );
  const identity = { SOPInstanceUID: uid(40_000 + n), PatientName: 'Secret^Name', PatientID: 'MRN-77' };
  const object = buildDicom({ ...identity, ImageComments });
  const dataSet = object.subarray(scanPart10(object, DEFAULT_LIMITS).dataSetOffset);
  await sendEcho(session, VERIFICATION);
  const { status } = await sendObject(session, session.contexts.get(1)!, uid(40_000 + n), dataSet);
  await session.release();
  return status;
}
const store = async (n: number, callingAETitle?: string): Promise<void> =>
  expect(await send(n, callingAETitle)).toBe(0);
const get = async (path: string, headers: Record<string, string> = {}) => {
  const response = await fetch(origin + path, { headers, redirect: 'manual' });
  return { status: response.status, text: await response.text(), headers: response.headers };
};
const act = (form: Record<string, string>, headers: Record<string, string> = {}) =>
  fetch(`${origin}/status/actions`, { method: 'POST', body: new URLSearchParams(form), headers, redirect: 'manual' });
const confirmed = () => expect.poll(async () => (await gatewayStatus(gateway)).destinations[0], { timeout: 60_000 });

describe('a gateway that sends on', () => {
  beforeEach(() => start());

  test('tells what has been sent, who has called, and how much room there is', async () => {
    await store(1);
    await store(2, 'MR2');
    await confirmed().toMatchObject({ confirmed: 2, pending: 0, held: 0, link: 'online' });
    const status = JSON.parse((await get('/status.json')).text);
    expect(status.callers.map((one: { aeTitle: string; objects: number }) => [one.aeTitle, one.objects])).toEqual([
      ['MR2', 1],
      ['CT1', 1],
    ]);
    expect(status.disk.daysLeft).toBeGreaterThan(1);
    const page = await get('/status');
    expect(page.text).toContain('All is well; nothing waits.');
    expect(page.text).toMatch(/CT1<\/th>/);
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
  });

  test('nothing of a patient is in the page, in its JSON or in the metrics', async () => {
    await store(3);
    await confirmed().toMatchObject({ confirmed: 1 });
    for (const path of ['/status', '/status.json', '/metrics'])
      expect((await get(path)).text).not.toMatch(/Secret|MRN-77/);
  });

  test('metrics for Prometheus', async () => {
    await store(4);
    await confirmed().toMatchObject({ confirmed: 1 });
    await expect.poll(async () => (await gatewayStatus(gateway)).associations, { timeout: 60_000 }).toBe(0);
    const { text, headers } = await get('/metrics');
    expect(headers.get('content-type')).toContain('text/plain; version=0.0.4');
    for (const line of [
      'nephos_edge_queue_instances{destination="cloud"} 0',
      'nephos_edge_queue_oldest_age_seconds{destination="cloud"} 0',
      'nephos_edge_held_instances{destination="cloud"} 0',
      ...['line', 'transient', 'ambiguous', 'permanent'].map(
        (name) => `nephos_edge_failures_total{destination="cloud",class="${name}"} 0`,
      ),
      'nephos_edge_confirmed_instances_total{destination="cloud"} 1',
      'nephos_edge_upstream_online{destination="cloud"} 1',
      'nephos_edge_caller_instances_total{calling_ae="CT1"} 1',
      'nephos_edge_associations 0',
    ])
      expect(text).toContain(line);
    expect(text).toMatch(/nephos_edge_buffer_days_left \d/);
  });

  test('is well, whatever its upstream', async () => {
    expect(await get('/healthz')).toMatchObject({ status: 200 });
  });

  test('pauses, and sends when it is resumed, also after a restart', async () => {
    await act({ action: 'pause', destination: 'cloud' });
    await store(5);
    await confirmed().toMatchObject({ paused: true, pending: 1 });
    expect((await get('/status')).text).toContain('Paused by a person');
    expect((await get('/metrics')).text).toContain('nephos_edge_paused{destination="cloud"} 1');
    const env = { NEPHOS_EDGE_CONFIG: join(dir, `edge-${number}.json`) };
    await gateway.close();
    gateway = await open(env);
    origin = `http://127.0.0.1:${statusSideOf(gateway).httpPort}`;
    await confirmed().toMatchObject({ paused: true, pending: 1 });
    expect((await gatewayStatus(gateway)).callers).toMatchObject([{ aeTitle: 'CT1' }]);
    const answer = await act({ action: 'resume', destination: 'cloud' });
    expect(answer.status).toBe(303);
    await confirmed().toMatchObject({ paused: false, pending: 0, confirmed: 1 });
  });

  test('refuses what it does not know, and what another site sends', async () => {
    expect((await act({ action: 'explode', destination: 'cloud' })).status).toBe(400);
    expect((await act({ action: 'pause', destination: 'nowhere' })).status).toBe(404);
    expect((await act({ action: 'pause', destination: 'cloud' }, { origin: 'https://evil.example' })).status).toBe(403);
    expect((await act({ action: 'pause', destination: 'cloud' }, { 'sec-fetch-site': 'cross-site' })).status).toBe(403);
    expect((await get('/nothing')).status).toBe(404);
    expect((await gatewayStatus(gateway)).destinations[0]!.paused).toBe(false);
  });
});

test('two archives that cannot be reached are both named, and an instance that waits for both is not told of as two', async () => {
  const url = 'http://127.0.0.1:1/dicomweb';
  await start({
    upstreams: [
      { name: 'north', url },
      { name: 'south', url },
    ],
  });
  await store(90);
  await expect
    .poll(async () => (await get('/status')).text, { timeout: 60_000 })
    .toContain('north and south cannot be sent to at the moment; 1 to 2 instances wait here, safe.');
});

describe('a schedule', () => {
  test('that lets nothing through by day is set aside by "send now"', async () => {
    const upstreams = [{ name: 'cloud', url: `${archive.origin}/dicomweb`, bandwidth: [{ bytesPerSecond: 0 }] }];
    await start({ upstreams });
    await store(6);
    await confirmed().toMatchObject({ pending: 1, bytesPerSecondLimit: 0 });
    expect((await get('/status')).text).toContain('nothing but STAT now');
    await act({ action: 'sendNow', destination: 'cloud' });
    await confirmed().toMatchObject({ pending: 0, confirmed: 1 });
    expect((await get('/status')).text).toContain('At full speed');
  });
});

describe('what the archive refuses', () => {
  test('is held with its reason, and sent again by a click', async () => {
    const answer = { status: 400 };
    const { server, port } = await listen((request, response) => {
      request.resume();
      request.on('end', () => response.writeHead(request.method === 'POST' ? answer.status : 404).end());
    });
    const retry = { firstMs: 1, mostMs: 5, refusals: 2 };
    await start({ upstreams: [{ name: 'cloud', url: `http://127.0.0.1:${port}/dicomweb`, retry }] });
    await store(7);
    await confirmed().toMatchObject({ held: 1, pending: 0 });
    const page = await get('/status');
    expect(page.text).toContain('1 instance held: somebody has to look.');
    expect(page.text).toContain('it answered 400');
    expect(page.text).toContain(uid(40_007));
    answer.status = 503;
    const done = await act({ action: 'retry', destination: 'cloud' }, { accept: 'application/json' });
    expect(await done.json()).toEqual({ said: '1 held instance is sent again.' });
    await confirmed().toMatchObject({ held: 0, pending: 1 });
    server.close();
    server.closeAllConnections();
  });
});

describe('other bytes under a UID that is taken', () => {
  const conflicts = async () => (await gatewayStatus(gateway)).conflicts;
  const instance = `${uid(1)}/series/${uid(2)}/instances`;
  const commentAtArchive = async (n: number): Promise<unknown> => {
    const answer = await fetch(`${archive.origin}/dicomweb/studies/${instance}/${uid(40_000 + n)}/metadata`);
    const [found] = (await answer.json()) as Record<string, { Value?: unknown[] }>[];
    return found?.['00204000']?.Value?.[0];
  };
  const decide = async (action: string): Promise<unknown> => {
    const { listed } = await conflicts();
    const done = await act({ action, conflict: listed[0]!.id }, { accept: 'application/json' });
    expect(done.status).toBe(200);
    return done.json();
  };

  test('are shown, with nothing of the patient, and sent on when somebody takes them', async () => {
    await start();
    expect(await send(20, 'CT1', 'first')).toBe(0);
    await confirmed().toMatchObject({ confirmed: 1, pending: 0 });
    expect(await send(20, 'CT1', 'other')).toBe(0x0110);
    expect(await conflicts()).toMatchObject({ count: 1, listed: [{ SOPInstanceUID: uid(40_020), source: 'CT1' }] });
    const { text } = await get('/status');
    expect(text).toContain('1 object under a UID that other bytes have: somebody has to decide.');
    expect(text).toContain('the same pixel data arrived with another header');
    expect(text).not.toMatch(/Secret|MRN-77/);
    expect((await get('/metrics')).text).toMatch(/^nephos_edge_conflicts 1$/m);

    expect(await decide('takeConflict')).toEqual({ said: expect.stringContaining('are sent on') });
    expect(await conflicts()).toMatchObject({ count: 0, listed: [] });
    // The archive has its own say: it keeps what it had first, and shows the conflict where people decide.
    const quarantine = async () =>
      ((await (await fetch(`${archive.origin}/api/quarantine`)).json()) as { items: { SOPInstanceUID: string }[] })
        .items;
    await expect
      .poll(async () => (await quarantine()).map(({ SOPInstanceUID }) => SOPInstanceUID), { timeout: 60_000 })
      .toContain(uid(40_020));
    expect(await commentAtArchive(20)).toBe('first');
    await confirmed().toMatchObject({
      heldInstances: [
        { reason: expect.stringMatching(/^it keeps it aside, .*: the same pixel data .* header \(0110H\)$/) },
      ],
    });
    expect((await get('/status')).text).toContain('What it keeps aside is decided there: then let it go here.');
    const gone = await act({ action: 'letGo', destination: 'cloud' }, { accept: 'application/json' });
    expect(await gone.json()).toEqual({ said: '1 instance need not be in cloud any more.' });
    await confirmed().toMatchObject({ held: 0, confirmed: 1, heldInstances: [] });
  });

  test('are discarded, also while nothing can be sent', async () => {
    await start({ upstreams: [{ name: 'cloud', url: 'http://127.0.0.1:9/dicomweb' }] });
    expect(await send(21, 'CT1', 'first')).toBe(0);
    expect(await send(21, 'CT1', 'other')).toBe(0x0110);
    expect(await decide('discardConflict')).toEqual({ said: expect.stringContaining('in the trash') });
    expect(await conflicts()).toMatchObject({ count: 0 });
    expect((await act({ action: 'discardConflict', conflict: 'x' })).status).toBe(400);
    expect((await act({ action: 'takeConflict', conflict: '0'.repeat(26) })).status).toBe(404);
  });
});

describe('access', () => {
  test('off loopback a token is needed', async () => {
    expect(() => readEdgeConfig({ NEPHOS_UPSTREAM: 'http://a/dicomweb', NEPHOS_HTTP_BIND: '0.0.0.0' })).toThrow(
      /http\.token/,
    );
  });

  test('with a token: health for all, the rest for who has it; a browser signs in', async () => {
    await start({ http: { port: 0, token: 'a-long-secret' } });
    expect((await get('/healthz')).status).toBe(200);
    for (const path of ['/status.json', '/metrics']) expect((await get(path)).status).toBe(401);
    const page = await get('/status');
    expect(page.status).toBe(401);
    expect(page.text).toContain('Access token');
    expect((await act({ action: 'pause', destination: 'cloud' })).status).toBe(401);
    expect((await get('/status.json', { authorization: 'Bearer wrong' })).status).toBe(401);
    expect((await get('/metrics', { authorization: 'Bearer a-long-secret' })).status).toBe(200);
    const signIn = (token: string) =>
      fetch(`${origin}/sign-in`, { method: 'POST', body: new URLSearchParams({ token }), redirect: 'manual' });
    expect((await signIn('wrong')).status).toBe(401);
    const signed = await signIn('a-long-secret');
    expect(signed.status).toBe(303);
    const cookie = signed.headers.get('set-cookie')!;
    expect(cookie).toMatch(/HttpOnly; SameSite=Strict/);
    expect((await get('/status', { cookie: cookie.split(';')[0]! })).status).toBe(200);
  });
});

describe('heartbeats', () => {
  const ID = 'radiology-1';
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  const remoteConfiguration = { publicKey: publicKey.export({ type: 'spki', format: 'pem' }) as string };
  const heartbeat = { id: ID, everySeconds: 3600 };
  afterEach(() => fetch(`${archive.origin}/api/gateways/${ID}/configuration`, { method: 'DELETE' }));
  const now = () => beat(gateway, new AbortController().signal);
  interface Listed {
    readonly id: string;
    readonly isStale: boolean;
    readonly report: Record<string, unknown> & { readonly configuration: object };
  }
  const listed = async (): Promise<Listed> => {
    const { items } = (await (await fetch(`${archive.origin}/api/gateways`)).json()) as { items: Listed[] };
    return items.find(({ id }) => id === ID)!;
  };
  const lay = (number: number, document: object, key = pem, id = ID) => {
    const signed = signConfiguration(key, id, { number, document: JSON.stringify(document) });
    return fetch(`${archive.origin}/api/gateways/${ID}/configuration`, { method: 'PUT', body: JSON.stringify(signed) });
  };

  test('bring version, backlog, last contacts, and nothing of patients', async () => {
    await start({ heartbeat });
    await store(8);
    await confirmed().toMatchObject({ confirmed: 1 });
    await now();
    const { report, isStale } = await listed();
    expect(isStale).toBe(false);
    expect(report).toMatchObject({
      version: JSON.parse(readFileSync('package.json', 'utf8')).version,
      queues: [{ upstream: 'cloud', link: 'online', waiting: 0, held: 0, paused: false }],
      modalities: [{ aeTitle: 'CT1', objects: 1 }],
      configuration: { number: null },
    });
    expect(JSON.stringify(report)).not.toMatch(/Secret|MRN-77|2\.25\.4711/);
    expect(statusSideOf(gateway).report?.error).toBeUndefined();
  });

  test('bring a signed configuration back: it counts at once, and after a restart', async () => {
    await start({ heartbeat, remoteConfiguration });
    expect((await lay(1, { aeTitle: 'REMOTE', cache: { maxAgeHours: 5 } })).status).toBe(204);
    await now();
    expect(gateway.config).toMatchObject({ aeTitle: 'REMOTE', cache: { maxAgeHours: 5 } });
    await now();
    expect((await listed()).report.configuration).toEqual({ number: 1 });
    await gateway.close();
    gateway = await open({ NEPHOS_EDGE_CONFIG: join(dir, `edge-${number}.json`) });
    expect(gateway.config.aeTitle).toBe('REMOTE');
    expect(statusSideOf(gateway).configuration.number).toBe(1);
  });

  test.each([
    [
      'another key',
      () =>
        lay(
          10,
          { aeTitle: 'EVIL' },
          generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
        ),
      /signature is wrong/,
    ],
    ['that of another gateway', () => lay(11, { aeTitle: 'EVIL' }, pem, 'radiology-2'), /signature is wrong/],
    ['one that the schema refuses', () => lay(12, { aeTitle: 'FAR TOO LONG A TITLE' }), /aeTitle must match/],
    [
      'one that reaches for what is local',
      () => lay(13, { http: { bind: '0.0.0.0' } }),
      /http can be set by the local/,
    ],
    ['one that moves the data', () => lay(14, { dataDir: '/' }), /dataDir can be set by the local/],
  ])('%s is refused, and the archive told why', async (_, put, reason) => {
    await start({ heartbeat, remoteConfiguration });
    expect((await put()).status).toBe(204);
    await now();
    expect(gateway.config.aeTitle).toBe('NEPHOS');
    await now();
    const { configuration } = (await listed()).report as {
      configuration: { number: number | null; refused: { reason: string } };
    };
    expect(configuration.number).toBeNull();
    expect(configuration.refused.reason).toMatch(reason);
    expect((await get('/status')).text).toContain('was refused');
  });

  test('an older configuration is refused, should an archive come up with one', async () => {
    await start({ heartbeat, remoteConfiguration });
    await lay(20, { aeTitle: 'NEWER' });
    await now();
    await fetch(`${archive.origin}/api/gateways/${ID}/configuration`, { method: 'DELETE' });
    const side = statusSideOf(gateway);
    const older = signConfiguration(pem, ID, { number: 19, document: '{"aeTitle":"OLDER"}' });
    // The archive itself would not give it: somebody between does.
    const { server, port } = await listen((_, response) => response.end(JSON.stringify({ configuration: older })));
    await gateway.reload({ ...gateway.config, heartbeat: { ...heartbeat, apiUrl: `http://127.0.0.1:${port}/api` } });
    await now();
    expect(side.configuration).toMatchObject({
      number: 20,
      refused: { number: 19, reason: 'it is not newer than 20' },
    });
    expect(gateway.config.aeTitle).toBe('NEWER');
    server.close();
    server.closeAllConnections();
  });

  test('one that was changed on the disk is not used, and none that is older either', async () => {
    await start({ heartbeat, remoteConfiguration });
    await lay(50, { aeTitle: 'FIRST' });
    await now();
    const { dataDir } = gateway.config;
    await gateway.close();
    const kept = signConfiguration(pem, ID, { number: 50, document: '{"aeTitle":"FIRST"}' });
    await writeFile(
      join(dataDir, 'remote-configuration.json'),
      JSON.stringify({ ...kept, document: '{"aeTitle":"EVIL"}' }),
    );
    gateway = await open({ NEPHOS_EDGE_CONFIG: join(dir, `edge-${number}.json`) });
    expect(gateway.config.aeTitle).toBe('NEPHOS');
    expect(statusSideOf(gateway).configuration).toEqual({
      number: null,
      refused: { number: 50, reason: 'the signature is wrong' },
    });
    await fetch(`${archive.origin}/api/gateways/${ID}/configuration`, { method: 'DELETE' });
    await lay(49, { aeTitle: 'OLDER' });
    await now();
    expect(statusSideOf(gateway).configuration.refused?.reason).toBe('it is not newer than 50');
    await lay(51, { aeTitle: 'NEWER' });
    await now();
    expect(gateway.config.aeTitle).toBe('NEWER');
  });

  test('nephos gateway makes keys and signs', async () => {
    const name = join(dir, 'keys');
    const file = join(dir, 'remote.json');
    await writeFile(file, '{ "aeTitle": "SIGNED" }');
    expect((await nephos(dir, 'gateway', 'new-key', name)).code).toBe(0);
    expect((await nephos(dir, 'gateway', 'new-key', name)).code).toBe(2);
    await start({ heartbeat, remoteConfiguration: { publicKey: `${name}.pub.pem` } });
    const sign = (...args: string[]) => nephos(dir, 'gateway', 'sign-config', file, ...args);
    expect((await sign('--id', ID, '--key', `${name}.pem`)).code).toBe(2);
    expect((await sign('--id', ID, '--number', '5', '--key', `${name}.pub.pem`)).code).toBe(2);
    const { code, output } = await sign('--id', ID, '--number', '40', '--key', `${name}.pem`);
    expect(code).toBe(0);
    await fetch(`${archive.origin}/api/gateways/${ID}/configuration`, { method: 'PUT', body: output });
    await now();
    expect(gateway.config.aeTitle).toBe('SIGNED');
  });

  test('a gateway without a key takes none', async () => {
    await start({ heartbeat });
    await lay(30, { aeTitle: 'EVIL' });
    await now();
    expect(gateway.config.aeTitle).toBe('NEPHOS');
    expect(statusSideOf(gateway).configuration.refused?.reason).toMatch(/takes no configuration/);
  });

  test('with a token of its own a gateway stores and reports, and nothing else', async () => {
    const data = join(dir, 'guarded');
    const guarded = await startArchive(data, { NEPHOS_AUTH: 'on' });
    const token = (await nephos(data, 'token', '--gateway', ID)).output.trim();
    try {
      const upstreams = [{ name: 'cloud', url: `${guarded.origin}/dicomweb`, auth: { bearerToken: token } }];
      await start({ heartbeat, upstreams });
      await store(9);
      await confirmed().toMatchObject({ confirmed: 1, held: 0 });
      await now();
      expect(statusSideOf(gateway).report?.error).toBeUndefined();
      const asGateway = { headers: { authorization: `Bearer ${token}` } };
      expect((await fetch(`${guarded.origin}/api/gateways`, asGateway)).status).toBe(403);
      expect((await fetch(`${guarded.origin}/api/trash`, asGateway)).status).toBe(403);
      const refused = await fetch(`${guarded.origin}/dicomweb/studies/${uid(1)}`, { ...asGateway, method: 'DELETE' });
      expect(refused.status).toBe(403);
    } finally {
      await guarded.stop();
    }
  });

  test('an archive that cannot be reached is told of on the page', async () => {
    await start({ heartbeat: { ...heartbeat, apiUrl: 'http://127.0.0.1:1/api' } });
    await now();
    expect((await get('/status')).text).toContain('was not taken: it cannot be reached');
  });
});

test('an AE title that is allowed may do all that is not withheld from it', async () => {
  const session = standIn<Session>({ principal: undefined, peerAddress: '127.0.0.1' });
  const rolesOf = (aeTitle: string) => gateway.access.principalOf(aeTitle, session).roles.toSorted();
  await start({ allowed: [{ aeTitle: 'CT1' }, { aeTitle: 'WS1', rights: ['query', 'commit'] }] });
  expect(rolesOf('CT1')).toEqual(
    ['committer', 'finder', 'performer', 'retriever', 'sender', 'worklistReader'].toSorted(),
  );
  expect(rolesOf('WS1')).toEqual(['committer', 'finder']);
  expect(rolesOf('STRANGER')).toEqual([]);
});
