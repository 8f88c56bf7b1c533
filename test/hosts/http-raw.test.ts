import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import { Throttle } from '#api/throttle.ts';
import { TokenStore } from '#core/tokens.ts';
import { createHttpHost } from '#embedded/http-host.ts';
import { buildDicom } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';
import { multipart } from './client.ts';
import { RawConnection, readResponses } from './raw-http.ts';

/** What reached the archive: method and path of each request that was answered by more than the door. */
let asked: string[] = [];
/** Requests that are over, and how much of their bodies was read. */
let done: { readonly route: string | undefined; readonly received: number }[] = [];
let defects: unknown[] = [];
/** What /held waits for before it is answered. */
let held: Promise<void> | undefined;
let server: ReturnType<typeof createHttpHost>;
let port: number;
let token: string;

beforeAll(async () => {
  const services = memoryServices();
  const tokens = new TokenStore(services);
  token = (await tokens.bootstrap(TENANT))!;
  const app = createArchiveApp({
    services,
    tokens,
    corsOrigins: [],
    tenant: TENANT,
    throttle: new Throttle(
      { bytesPerSecond: 200_000 },
      { ...services.clock, now: () => Date.now(), sleep: (ms) => sleep(ms) },
    ),
    onFailure: (error) => defects.push(error),
  });
  server = createHttpHost({
    async answer(request) {
      asked.push(`${request.method} ${request.path}`);
      if (request.path === '/held') await held;
      return (await app.answer(request)) ?? { response: { status: 404, headers: {} }, route: undefined };
    },
    publicUrl: undefined,
    connections: { connections: 60, ofAddress: 1_000 },
    onDone: (one) => done.push(one),
    onDefect: (error) => defects.push(error),
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ({ port } = server.address() as AddressInfo);
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  asked = [];
  done = [];
  defects = [];
});
afterEach(() => expect(defects).toEqual([]));

/** All that is answered to these bytes, on a connection that is left open; `answers`: how many, where the server leaves it open as well. */
async function said(
  bytes: string | Uint8Array,
  answers?: number,
): Promise<{ statuses: readonly number[]; rest: string; closed: boolean }> {
  const connection = await RawConnection.open(port);
  connection.write(bytes);
  const { statuses, rest } = readResponses(await connection.all({ answers }));
  const closed = connection.isOver;
  connection.close();
  return { statuses, rest: rest.toString('latin1'), closed };
}
const lines = (...all: readonly string[]): string => all.map((line) => `${line}\r\n`).join('');
const HIDDEN = lines('GET /hidden HTTP/1.1', 'Host: a', '');
const POST = 'POST /api/session HTTP/1.1';

describe('a request that could be read in two ways', () => {
  const twoWays: readonly [what: string, bytes: string][] = [
    ['CL.TE', lines(POST, 'Host: a', 'Content-Length: 6', 'Transfer-Encoding: chunked', '', '0', '') + HIDDEN],
    [
      'TE.CL',
      lines(POST, 'Host: a', 'Transfer-Encoding: chunked', 'Content-Length: 4', '', '5c') + HIDDEN + lines('0', ''),
    ],
    ['two lengths', lines(POST, 'Host: a', 'Content-Length: 0', `Content-Length: ${HIDDEN.length}`, '') + HIDDEN],
    ['two lengths that agree', `${lines(POST, 'Host: a', 'Content-Length: 2', 'Content-Length: 2', '')}{}${HIDDEN}`],
    ['a list of lengths', lines(POST, 'Host: a', 'Content-Length: 0, 60', '') + HIDDEN],
    ['a length with a sign', lines(POST, 'Host: a', 'Content-Length: +0', '') + HIDDEN],
    ['a negative length', lines(POST, 'Host: a', 'Content-Length: -1', '') + HIDDEN],
    ['a length in hex', lines(POST, 'Host: a', 'Content-Length: 0x10', '') + HIDDEN],
    ['a length beyond all numbers', lines(POST, 'Host: a', 'Content-Length: 18446744073709551616', '') + HIDDEN],
    ['a length with a blank in it', lines(POST, 'Host: a', 'Content-Length: 1 0', '') + HIDDEN],
    ['an empty length', lines(POST, 'Host: a', 'Content-Length:', '') + HIDDEN],
    [
      'two encodings',
      lines(POST, 'Host: a', 'Transfer-Encoding: chunked', 'Transfer-Encoding: identity', '', '0', '') + HIDDEN,
    ],
    ['chunked that is not last', lines(POST, 'Host: a', 'Transfer-Encoding: chunked, gzip', '', '0', '') + HIDDEN],
    ['an encoding like chunked', lines(POST, 'Host: a', 'Transfer-Encoding: xchunked', '', '0', '') + HIDDEN],
    ['a tab before chunked', lines(POST, 'Host: a', 'Transfer-Encoding: \x0bchunked', '', '0', '') + HIDDEN],
    ['a blank before the colon', lines(POST, 'Host: a', 'Transfer-Encoding : chunked', '', '0', '') + HIDDEN],
    ['a folded encoding', lines(POST, 'Host: a', 'Transfer-Encoding:', ' chunked', '', '0', '') + HIDDEN],
    ['a folded header', lines(POST, 'Host: a', 'X: y', ' Content-Length: 50', 'Content-Length: 0', '') + HIDDEN],
    ['a header that is one blank line away', lines(POST, 'Host: a', ' Content-Length: 3', '') + HIDDEN],
    ['bare line feeds', `${POST}\nHost: a\nContent-Length: 0\n\n${HIDDEN}`],
    [
      'a bare carriage return',
      `${POST}\r\nHost: a\r\nX: a\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n${HIDDEN}`,
    ],
    [
      'a chunk size that is none',
      lines(POST, 'Host: a', 'Transfer-Encoding: chunked', '', '0x5', 'hello', '0', '') + HIDDEN,
    ],
    [
      'a negative chunk size',
      lines(POST, 'Host: a', 'Transfer-Encoding: chunked', '', '-5', 'hello', '0', '') + HIDDEN,
    ],
    [
      'a chunk size beyond all numbers',
      lines(POST, 'Host: a', 'Transfer-Encoding: chunked', '', 'fffffffffffffffff', 'x') + HIDDEN,
    ],
    [
      'a line feed within a chunk extension',
      lines(POST, 'Host: a', 'Transfer-Encoding: chunked', '', `0;a\nb`, '') + HIDDEN,
    ],
    [
      'a chunk that is longer than it says',
      lines(POST, 'Host: a', 'Transfer-Encoding: chunked', '', '2', 'hello', '0', '') + HIDDEN,
    ],
    ['NUL in a header', lines(POST, 'Host: a', 'X: a\0b', 'Content-Length: 0', '') + HIDDEN],
    ['a header without a name', lines(POST, 'Host: a', ': x', 'Content-Length: 0', '') + HIDDEN],
    ['another version', lines('GET /first HTTP/3.1', 'Host: a', '') + HIDDEN],
    ['a blank in the target', lines('GET /first path HTTP/1.1', 'Host: a', '') + HIDDEN],
  ];
  test.each(twoWays)('%s: is refused, and what stands behind it is never answered', async (_, bytes) => {
    const { statuses, rest, closed } = await said(bytes);
    expect(statuses.filter((status) => status >= 200)).toEqual([400]);
    expect(rest).toBe('');
    expect(closed).toBe(true);
    expect(asked).not.toContain('GET /hidden');
    expect(asked).not.toContain('GET /first');
  });
});

describe('a host', () => {
  test.each([
    ['that stands twice', ['Host: a', 'Host: b']],
    ['that is missing', []],
    ['that is a path', ['Host: a/../b']],
    ['with a user', ['Host: a@b']],
    ['that is a script', ['Host: a"><script>']],
  ])('%s is none', async (_, headers) => {
    const { statuses, closed } = await said(lines('GET /first HTTP/1.1', ...headers, ''));
    expect(statuses).toEqual([400]);
    expect(closed).toBe(true);
    expect(asked).toEqual([]);
  });
});

describe('a target', () => {
  const none: readonly [what: string, target: string][] = [
    ['absolute, of another host', 'http://other.test/healthz'],
    ['absolute, without a host', 'http:///healthz'],
    ['of another scheme', 'file:///etc/passwd'],
    ['an asterisk', '*'],
    ['an authority', 'a:443'],
    ['with NUL', '/healthz%00'],
    ['with overlong UTF-8', '/dicomweb/%c0%ae%c0%ae/metrics'],
    ['with half of a character', '/%e5%b1'],
    ['with an escape that is none', '/%zz'],
  ];
  test.each(none)('that is %s leads nowhere', async (_, target) => {
    const { statuses, closed } = await said(lines(`GET ${target} HTTP/1.1`, 'Host: a', ''));
    expect(statuses).toEqual([400]);
    expect(closed).toBe(true);
    expect(asked).toEqual([]);
  });

  test('may be absolute, of the host that is asked (RFC 9112 §3.2.2)', async () => {
    for (const target of ['http://a/healthz', 'HTTP://A/healthz', 'http://a/healthz?x=1'])
      expect((await said(lines(`GET ${target} HTTP/1.1`, 'Host: a', 'Connection: close', ''))).statuses).toEqual([200]);
  });

  const elsewhere = [
    '/dicomweb/../healthz',
    '/dicomweb/%2e%2e/healthz',
    '/dicomweb/..%2fhealthz',
    '/dicomweb/%252e%252e/healthz',
    '/dicomweb/..;/healthz',
    '/dicomweb/.%00./healthz'.replace('%00', '%01'),
    '//healthz',
    '/./healthz',
    '/healthz/',
    '/healthz/..',
    '/HEALTHZ',
    '/dicomweb\\..\\healthz',
  ];
  test.each(elsewhere)('%s is not taken for another one', async (target) => {
    const { statuses } = await said(lines(`GET ${target} HTTP/1.1`, 'Host: a', 'Connection: close', ''));
    expect([401, 404]).toContain(statuses[0]);
  });
});

describe('a connection', () => {
  test('answers pipelined requests in their order, one answer each', async () => {
    const { statuses, rest } = await said(
      lines('GET /healthz HTTP/1.1', 'Host: a', '') +
        lines('HEAD /nowhere HTTP/1.1', 'Host: a', '').repeat(0) +
        lines(POST, 'Host: a', 'Content-Type: application/json', 'Content-Length: 2', '') +
        '{}' +
        lines('GET /nowhere HTTP/1.1', 'Host: a', 'Connection: close', ''),
    );
    expect(statuses).toEqual([200, 401, 404]);
    expect(rest).toBe('');
    expect(asked).toEqual(['GET /healthz', 'POST /api/session', 'GET /nowhere']);
  });

  // Fifty requests of each of forty connections that read nothing were all answered, and stood in memory.
  test('does what stands behind another request when that has been answered, not before', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    held = promise;
    const connection = await RawConnection.open(port);
    const behind = lines(POST, 'Host: a', 'Content-Type: application/json', 'Content-Length: 2', '');
    connection.write(`${lines('GET /held HTTP/1.1', 'Host: a', '')}${behind}{}`);
    await expect.poll(() => asked).toEqual(['GET /held']);
    // Somebody else is served meanwhile.
    expect((await said(lines('GET /healthz HTTP/1.1', 'Host: a', 'Connection: close', ''))).statuses).toEqual([200]);
    expect(asked).toEqual(['GET /held', 'GET /healthz']);
    resolve();
    expect(readResponses(await connection.all({ answers: 2 })).statuses).toEqual([404, 401]);
    expect(asked.at(-1)).toBe('POST /api/session');
    connection.close();
  });

  test('keeps step where a pipelined request waits to be asked for its body', async () => {
    const first = lines('GET /api/openapi.json HTTP/1.1', 'Host: a', '');
    const asking = lines(
      POST,
      'Host: a',
      'Expect: 100-continue',
      'Content-Length: 2',
      'Content-Type: application/json',
      '',
    );
    expect(await said(`${first}${asking}{}`, 2)).toMatchObject({ statuses: [200, 401], rest: '' });
    // Nothing to ask for: nobody is asked, and the connection ends behind the answer, as nobody knows what would come.
    const looking = lines('GET /healthz HTTP/1.1', 'Host: a', 'Expect: 100-continue', '');
    expect(await said(`${first}${looking}${HIDDEN}`)).toMatchObject({ statuses: [200, 200], rest: '', closed: true });
  });

  test('of a client that waits to be asked: nobody who is refused is asked, who is welcome is', async () => {
    const store = (authorization: string) =>
      lines(
        'POST /dicomweb/studies HTTP/1.1',
        'Host: a',
        `Authorization: Bearer ${authorization}`,
        'Expect: 100-continue',
        'Content-Type: application/dicom',
        'Content-Length: 100',
        '',
      );
    expect((await said(store('nobody'), 1)).statuses).toEqual([401]);
    expect((await said(store(token), 1)).statuses).toEqual([100]);
  });

  // The connection broke under the sender, who heard EPIPE in place of the 401.
  test('that is refused while it is still being sent gets its answer, and the rest of it is taken', async () => {
    const socket = connect(port, '127.0.0.1');
    const failures: Error[] = [];
    socket.on('error', (error) => failures.push(error));
    socket.write(
      lines(
        'POST /dicomweb/studies HTTP/1.1',
        'Host: a',
        'Content-Type: application/dicom',
        'Content-Length: 400000',
        '',
      ),
    );
    const ended = once(socket, 'end');
    const [first] = (await once(socket, 'data')) as [Buffer];
    expect(first.toString('latin1')).toContain('HTTP/1.1 401 ');
    socket.on('data', () => undefined);
    for (let i = 0; i < 4; i++) {
      // It listens as long as there is something to come.
      expect(socket.readableEnded).toBe(false);
      await new Promise((resolve) => socket.write(Buffer.alloc(100_000), resolve));
      await sleep(20);
    }
    await ended;
    expect(failures).toEqual([]);
    socket.destroy();
  });

  test('ends behind an answer that leaves a body unread: none of it is taken for a request', async () => {
    const body = HIDDEN.repeat(3);
    const { statuses, closed } = await said(
      lines('POST /nowhere HTTP/1.1', 'Host: a', `Content-Length: ${body.length + 1_000_000}`, '') + body,
    );
    expect(statuses).toEqual([404]);
    expect(asked).toEqual(['POST /nowhere']);
    expect(closed).toBe(true);
  });

  test('of HTTP/1.0 is answered once, and ended; one that asks to be kept is kept', async () => {
    const once10 = await said(lines('GET /healthz HTTP/1.0', ''));
    expect(once10).toMatchObject({ statuses: [200], rest: '', closed: true });
    const kept = await said(lines('GET /healthz HTTP/1.0', 'Connection: keep-alive', '').repeat(2), 2);
    expect(kept.statuses).toEqual([200, 200]);
    // Chunks are of HTTP/1.1: a body of unknown length goes to the connection's end.
    const streamed = await said(lines('GET /api/openapi.json HTTP/1.0', ''));
    expect(streamed).toMatchObject({ statuses: [200], closed: true });
  });

  test('with headers beyond measure is ended: one of 20 KB, and two thousand of them', async () => {
    expect((await said(lines('GET /healthz HTTP/1.1', 'Host: a', `X: ${'x'.repeat(20_000)}`, ''))).statuses).toEqual([
      431,
    ]);
    const many = Array.from({ length: 2_500 }, (_, i) => `X${i}: y`);
    expect((await said(lines('GET /healthz HTTP/1.1', 'Host: a', ...many, ''))).statuses).toEqual([431]);
    expect((await said(`GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`)).statuses).toEqual([431]);
  });

  test('with chunk extensions without end is ended', async () => {
    const { statuses } = await said(
      lines(POST, 'Host: a', 'Transfer-Encoding: chunked', '', `2;${'a'.repeat(40_000)}`, '{}', '0', ''),
    );
    expect(statuses.at(-1)).toBeGreaterThanOrEqual(400);
    expect((await said(lines('GET /healthz HTTP/1.1', 'Host: a', 'Connection: close', ''))).statuses).toEqual([200]);
  });

  test('with TRACE, CONNECT or Upgrade gets nothing of it', async () => {
    const traced = await said(lines('TRACE /healthz HTTP/1.1', 'Host: a', 'Cookie: x=secret', ''), 1);
    expect(traced.statuses).toHaveLength(1);
    expect(traced.rest).not.toContain('secret');
    expect((await said(lines('CONNECT a:443 HTTP/1.1', 'Host: a', ''))).statuses).toEqual([]);
    const upgraded = await said(
      lines(
        'GET /healthz HTTP/1.1',
        'Host: a',
        'Connection: Upgrade',
        'Upgrade: h2c',
        'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA',
        '',
      ),
      1,
    );
    expect(upgraded.statuses).toEqual([200]);
  });
});

describe('many connections', () => {
  // those of the tests before have gone when the server has seen it
  const left = (): Promise<number> =>
    new Promise((resolve, reject) => {
      server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
    });
  beforeEach(() => expect.poll(left, { timeout: 30_000 }).toBe(0), 40_000);

  test('beyond the limit are dropped; those that are there are served, and new ones when others have gone', async () => {
    const all = await Promise.all(Array.from({ length: 100 }, () => RawConnection.open(port).catch(() => undefined)));
    const stillOpen = () => all.filter((one) => one !== undefined && !one.socket.closed && !one.socket.readableEnded);
    await expect.poll(() => stillOpen().length, { timeout: 30_000 }).toBeLessThanOrEqual(60);
    const open = stillOpen();
    open[0]!.write(lines('GET /healthz HTTP/1.1', 'Host: a', ''));
    expect(readResponses(await open[0]!.all({ answers: 1 })).statuses).toEqual([200]);
    for (const one of all) one?.close();
    await expect.poll(left, { timeout: 30_000 }).toBe(0);
    expect((await said(lines('GET /healthz HTTP/1.1', 'Host: a', 'Connection: close', ''))).statuses).toEqual([200]);
  });

  test('that read slowly cost what stands before them and no more', async () => {
    const before = process.memoryUsage().rss;
    const slow = await Promise.all(Array.from({ length: 40 }, () => RawConnection.open(port)));
    for (const one of slow) {
      one.socket.pause();
      one.write(lines('GET /api/openapi.json HTTP/1.1', 'Host: a', '').repeat(200));
    }
    const other = await RawConnection.open(port);
    other.write(lines('GET /healthz HTTP/1.1', 'Host: a', 'Connection: close', ''));
    await other.closed;
    expect(readResponses(other.heard).statuses).toEqual([200]);
    expect((process.memoryUsage().rss - before) / 1024 / 1024).toBeLessThan(300);
    // 30 MB are asked for by each: as many answers are made as the system keeps of a connection, and one.
    expect(asked.length).toBeLessThan(40 * 150);
    for (const one of slow) one.close();
  });

  test('of one person share his rate, however many they are', async () => {
    const object = buildDicom({ PixelData: new Uint8Array(1_000_000) });
    const { headers, body } = multipart([object]);
    const request = Buffer.concat([
      Buffer.from(
        lines(
          'POST /dicomweb/studies HTTP/1.1',
          'Host: a',
          `Authorization: Bearer ${token}`,
          `Content-Type: ${headers['content-type']}`,
          `Content-Length: ${body.length}`,
          'Connection: close',
          '',
        ),
      ),
      body,
    ]);
    const all = await Promise.all([RawConnection.open(port), RawConnection.open(port), RawConnection.open(port)]);
    const startedAt = performance.now();
    for (const one of all) one.write(request);
    await sleep(1_000);
    const through = done.reduce((sum, { received }) => sum + received, 0);
    // 3 MB at 200 kB/s, of which what the time was worth and five seconds' in reserve may have passed.
    const seconds = 5 + (performance.now() - startedAt) / 1_000;
    expect(through).toBeLessThanOrEqual(200_000 * seconds * 1.1);
    for (const one of all) one.close();
    await expect.poll(() => done.filter(({ route }) => route === 'StoreInstances').length).toBe(3);
    defects = [];
  });
});
