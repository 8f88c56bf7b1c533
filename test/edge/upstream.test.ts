import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { checked, type UpstreamConfig } from '#edge/config.ts';
import { Upstream } from '#edge/upstream.ts';
import { TestClock } from '#test/fixtures/services.ts';

let folder: string;
let server: Server;
let answer: (request: IncomingMessage, response: ServerResponse) => void;
let seen: IncomingMessage[];
const open: Upstream[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nephos-upstream-'));
  server = createServer((request, response) => {
    seen.push(request);
    answer(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true });
});
afterEach(async () => {
  for (const upstream of open.splice(0)) await upstream.close();
});

const origin = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

function upstreamOf(row: Record<string, unknown> = {}, clock = new TestClock()): Upstream {
  seen = [];
  answer = (_, response) => response.end('yes');
  const config: UpstreamConfig = checked({ upstreams: [{ url: `${origin()}/dicomweb/`, ...row }] }, 'test')
    .upstreams[0];
  const upstream = new Upstream(config, clock);
  open.push(upstream);
  return upstream;
}
const ask = async (upstream: Upstream): Promise<string> =>
  (await upstream.request({ method: 'GET', path: '/studies?limit=1' })).text();

test('paths stand below the DICOMweb root', async () => {
  expect(await ask(upstreamOf())).toBe('yes');
  expect(seen[0]?.url).toBe('/dicomweb/studies?limit=1');
});

describe('credentials', () => {
  test('a bearer token is read from its file each time: it may be renewed there', async () => {
    const file = join(folder, 'token');
    await writeFile(file, 'first\n');
    const upstream = upstreamOf({ auth: { bearerToken: { file } } });
    await ask(upstream);
    await writeFile(file, 'second\n');
    await ask(upstream);
    expect(seen.map(({ headers }) => headers.authorization)).toEqual(['Bearer first', 'Bearer second']);
  });

  test('user and password', async () => {
    await ask(upstreamOf({ auth: { basic: { user: 'edge', password: 'pass:word' } } }));
    expect(seen[0]?.headers.authorization).toBe(`Basic ${Buffer.from('edge:pass:word').toString('base64')}`);
  });

  test('client credentials: one token for many requests, another when it is old or refused', async () => {
    const clock = new TestClock();
    const clientCredentials = { tokenUrl: `${origin()}/token`, clientId: 'edge', clientSecret: 's', scope: 'store' };
    const upstream = upstreamOf({ auth: { clientCredentials } }, clock);
    let tokens = 0;
    let refuse = '';
    answer = (request, response) => {
      if (request.url === '/token') response.end(JSON.stringify({ access_token: `t${++tokens}`, expires_in: 600 }));
      else response.writeHead(request.headers.authorization === refuse ? 401 : 200).end('yes');
    };
    await Promise.all([ask(upstream), ask(upstream), ask(upstream)]);
    expect(tokens).toBe(1);
    clock.advance(599_000);
    await ask(upstream);
    expect(tokens).toBe(2);
    refuse = 'Bearer t2';
    expect(await ask(upstream)).toBe('yes');
    expect(tokens).toBe(3);
  });

  test('go to no other host, whatever an answer names', async () => {
    const upstream = upstreamOf({ auth: { bearerToken: 'secret' } });
    await (await upstream.request({ method: 'GET', path: `${origin().replace('127.0.0.1', 'localhost')}/x` }))
      .text()
      .catch(() => '');
    await (await upstream.request({ method: 'GET', path: `${origin()}/y`, anonymous: true })).text();
    await (await upstream.request({ method: 'GET', path: `${origin()}/z` })).text();
    const bearers = Object.fromEntries(seen.map(({ url, headers }) => [url, headers.authorization]));
    expect(bearers).toMatchObject({ '/z': 'Bearer secret' });
    expect(bearers['/x']).toBeUndefined();
    expect(bearers['/y']).toBeUndefined();
  });

  test('that are not to be had are told from a line that is down', async () => {
    const upstream = upstreamOf({ auth: { bearerToken: { file: join(folder, 'none') } } });
    await expect(ask(upstream)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(upstream.state.lastError?.message).toContain('cannot be read');
    expect(seen).toEqual([]);
  });
});

describe('what went wrong', () => {
  test('nobody there: nothing was sent', async () => {
    const upstream = upstreamOf({ url: 'http://127.0.0.1:9/dicomweb' });
    await expect(ask(upstream)).rejects.toMatchObject({ code: 'BUSY' });
  });

  test('no answer, or a torn one: the outcome is unknown', async () => {
    // Of these two seconds none are spent on the connection, which is there when it is asked for.
    const silent = upstreamOf({ timeoutMs: 2_000 });
    answer = () => {};
    await expect(ask(silent)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    const upstream = upstreamOf();
    answer = (request) => request.socket.destroy();
    await expect(ask(upstream)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    const torn = upstreamOf();
    answer = (request, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('half');
      setTimeout(() => request.socket.destroy(), 20);
    };
    await expect(ask(torn)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });

  test('after three failures nobody waits any more, until it is time to try; then one answer closes the circuit', async () => {
    const clock = new TestClock();
    const upstream = upstreamOf({}, clock);
    expect(upstream.state.online).toBeUndefined();
    answer = (_, response) => response.writeHead(503).end();
    for (let i = 0; i < 3; i++) expect((await upstream.request({ method: 'GET', path: '/' })).status).toBe(503);
    expect(upstream.state).toMatchObject({ online: false, retryAt: clock.now() + 1_000 });
    const before = seen.length;
    await expect(ask(upstream)).rejects.toMatchObject({ code: 'BUSY' });
    expect(seen.length).toBe(before);
    answer = (_, response) => response.end('yes');
    clock.advance(1_000);
    expect(await ask(upstream)).toBe('yes');
    expect(upstream.state).toMatchObject({ online: true, lastContactAt: clock.now(), retryAt: undefined });
  });
});
