import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createHttpHost } from '#embedded/http-host.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { RawConnection, readResponses } from '#test/hosts/raw-http.ts';
import { type RunningServer, startServer } from './helpers/processes.ts';

/** What the archive was asked: `by` tells who made the request, the proxy or the client that meant to hide it in another. */
let asked: { method: string; path: string; by: string | undefined; body: string }[] = [];
let host: ReturnType<typeof createHttpHost>;
let proxy: RunningServer;
let port: number;
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-proxy-'));
  host = createHttpHost({
    async answer({ method, path, headers, body }) {
      let text = '';
      for await (const chunk of body) text += Buffer.from(chunk).toString('latin1');
      asked.push({ method, path, by: headers['x-proxied'], body: text });
      return {
        response: { status: 200, headers: { 'x-path': encodeURIComponent(path) }, body: `${method} ${path}` },
        route: '',
      };
    },
    publicUrl: 'https://pacs.test',
  });
  host.listen(0, '127.0.0.1');
  await once(host, 'listening');
  port = await freePort();
  // As an administrator would write it: connections to the archive are kept and shared, metrics are not for everybody.
  await writeFile(
    join(dir, 'nginx.conf'),
    `daemon off; master_process off; pid ${dir}/nginx.pid; error_log ${dir}/error.log;
events { worker_connections 512; }
http {
  access_log off; client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/fcgi;
  uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
  upstream archive { server 127.0.0.1:${(host.address() as AddressInfo).port}; keepalive 1; }
  server {
    listen 127.0.0.1:${port};
    location = /ready { return 200; }
    location /metrics { return 403; }
    location / {
      proxy_pass http://archive; proxy_http_version 1.1; proxy_request_buffering off; client_max_body_size 0;
      proxy_set_header Connection ''; proxy_set_header Host $host; proxy_set_header X-Proxied yes;
    }
  }
}
`,
  );
  proxy = await startServer({
    command: '/usr/sbin/nginx',
    args: ['-p', dir, '-c', join(dir, 'nginx.conf'), '-e', join(dir, 'error.log')],
    logFile: join(dir, 'nginx.log'),
    readyUrl: `http://127.0.0.1:${port}/ready`,
  });
});
afterAll(async () => {
  await proxy?.stop();
  host.closeAllConnections();
  host.close();
  await rm(dir, { recursive: true, force: true });
});
afterEach(() => {
  asked = [];
});

const lines = (...all: readonly string[]): string => all.map((line) => `${line}\r\n`).join('');
const HIDDEN = lines('GET /hidden HTTP/1.1', 'Host: pacs.test', 'X-Proxied: no', '');
const POST = 'POST /first HTTP/1.1';

async function said(bytes: string): Promise<readonly number[]> {
  const connection = await RawConnection.open(port);
  connection.write(bytes);
  const { responses } = readResponses(await connection.all({ answers: 1, quietMs: 400 }));
  connection.close();
  return responses.map(({ status }) => status);
}

const tricks: readonly [what: string, bytes: string][] = [
  [
    'CL.TE',
    `${lines(POST, 'Host: pacs.test', 'Content-Length: 120', 'Transfer-Encoding: chunked', '', '0', '')}${HIDDEN}`,
  ],
  [
    'TE.CL',
    `${lines(POST, 'Host: pacs.test', 'Transfer-Encoding: chunked', 'Content-Length: 4', '', '60')}${HIDDEN}${lines('0', '')}`,
  ],
  [
    'TE.TE',
    `${lines(POST, 'Host: pacs.test', 'Transfer-Encoding: chunked', 'Transfer-encoding: x', '', '0', '')}${HIDDEN}`,
  ],
  [
    'TE with a tab',
    `${lines(POST, 'Host: pacs.test', 'Transfer-Encoding:\tchunked', 'Content-Length: 5', '', '0', '')}${HIDDEN}`,
  ],
  [
    'TE with a vertical tab',
    `${lines(POST, 'Host: pacs.test', 'Transfer-Encoding: \x0bchunked', 'Content-Length: 5', '', '0', '')}${HIDDEN}`,
  ],
  [
    'a blank before the colon',
    `${lines(POST, 'Host: pacs.test', 'Transfer-Encoding : chunked', 'Content-Length: 5', '', '0', '')}${HIDDEN}`,
  ],
  [
    'an underscore for a hyphen',
    `${lines(POST, 'Host: pacs.test', 'Transfer_Encoding: chunked', `Content-Length: ${HIDDEN.length}`, '')}${HIDDEN}`,
  ],
  [
    'two lengths',
    `${lines(POST, 'Host: pacs.test', 'Content-Length: 0', `Content-Length: ${HIDDEN.length}`, '')}${HIDDEN}`,
  ],
  [
    'a folded header',
    `${lines(POST, 'Host: pacs.test', 'X: a', ' Transfer-Encoding: chunked', 'Content-Length: 5', '', '0', '')}${HIDDEN}`,
  ],
  [
    'a body that looks like a request',
    `${lines(POST, 'Host: pacs.test', `Content-Length: ${HIDDEN.length}`, '')}${HIDDEN}`,
  ],
  [
    'a chunk that looks like one',
    `${lines(POST, 'Host: pacs.test', 'Transfer-Encoding: chunked', '', HIDDEN.length.toString(16))}${HIDDEN}${lines('', '0', '')}`,
  ],
  [
    'chunk extensions',
    `${lines(POST, 'Host: pacs.test', 'Transfer-Encoding: chunked', '', `${HIDDEN.length.toString(16)};a="\r\nb`)}${HIDDEN}${lines('', '0', '')}`,
  ],
  [
    'a bare line feed behind a chunk',
    `${lines(POST, 'Host: pacs.test', 'Transfer-Encoding: chunked', '')}2\nab\n0\n\n${HIDDEN}`,
  ],
  ['bare line feeds', `POST /first HTTP/1.1\nHost: pacs.test\nContent-Length: 0\n\n${HIDDEN}`],
  [
    'a GET with a body',
    `${lines('GET /first HTTP/1.1', 'Host: pacs.test', `Content-Length: ${HIDDEN.length}`, '')}${HIDDEN}`,
  ],
  [
    'Expect with a body',
    `${lines(POST, 'Host: pacs.test', 'Expect: 100-continue', `Content-Length: ${HIDDEN.length}`, '')}${HIDDEN}`,
  ],
  [
    'an upgrade',
    `${lines('GET /first HTTP/1.1', 'Host: pacs.test', 'Connection: Upgrade', 'Upgrade: h2c', '')}${HIDDEN}`,
  ],
];

test.each(tricks)('%s: behind nginx nothing is answered that the proxy did not ask for', async (_, bytes) => {
  await said(bytes);
  for (const one of asked) {
    // Whoever was hidden in another request would come without the proxy's mark.
    expect(one.by, `${one.method} ${one.path}`).toBe('yes');
    expect(one.body).not.toMatch(/^GET \/next/);
  }
  // The connection that proxy and archive share has kept step: the next client gets its own answer.
  for (let n = 0; n < 3; n++) {
    const connection = await RawConnection.open(port);
    connection.write(lines(`GET /next-${n} HTTP/1.1`, 'Host: pacs.test', 'Connection: close', ''));
    await connection.closed;
    const { responses } = readResponses(connection.heard);
    expect(responses.map(({ status, body }) => [status, body.toString()])).toEqual([[200, `GET /next-${n}`]]);
  }
});

test('what the proxy keeps to itself is not had by another spelling', async () => {
  const spellings = [
    '/metrics',
    '//metrics',
    '/./metrics',
    '/x/../metrics',
    '/x/%2e%2e/metrics',
    '/x/..%2fmetrics',
    '/%6detrics',
    '/metrics%20',
    '/metrics;x',
    '/metrics%00',
    '/metrics%2f',
    '/.%2fmetrics',
    '/x/%252e%252e/metrics',
    '/%2fmetrics',
    '/METRICS',
    '/metrics?x',
    '/\\metrics',
  ];
  for (const spelling of spellings)
    await said(lines(`GET ${spelling} HTTP/1.1`, 'Host: pacs.test', 'Connection: close', ''));
  expect(asked.map(({ path }) => path)).not.toContain('/metrics');
});
