import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codecModule } from '#adapters/local/codec-module.ts';
import { apiRoutes } from '#api/routes.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { InProcessPixelEngine } from '#core/pixels/engine.ts';
import { TokenStore } from '#core/tokens.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import { createApp } from '#embedded/app.ts';
import { openArchive } from '#embedded/archive.ts';
import { readConfig } from '#embedded/config.ts';
import { createHttpHost } from '#embedded/http-host.ts';
import { createLog } from '#embedded/log.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';
import type { Answer, Host } from './client.ts';
import { dicomwebSuite } from './dicomweb-suite.ts';

/** No host at all: the routers on the memory adapters. */
async function memoryHost(): Promise<Host> {
  const services = memoryServices({ pixels: new InProcessPixelEngine(codecModule(), DEFAULT_LIMITS) });
  const routers = [
    new Router(services, '/dicomweb', DICOMWEB_ROUTES),
    new Router(services, '/wado', WADO_URI_ROUTES),
    new Router(services, '/api', apiRoutes(new TokenStore(services))),
  ];
  const origin = 'http://memory.test';
  return {
    origin,
    close: () => services.pixels.close(),
    async fetch(target, { method = 'GET', headers = {}, body } = {}): Promise<Answer> {
      const url = new URL(target, origin);
      const router = routers.find((candidate) => candidate.matches(url.pathname));
      const { response } = await router!.handle({
        method,
        path: decodeURIComponent(url.pathname),
        query: url.searchParams,
        headers,
        origin,
        principal: { tenant: TENANT, subject: 'test', roles: ['admin'] },
        body: (async function* () {
          for (let at = 0; at < (body?.length ?? 0); at += 100) yield body!.subarray(at, at + 100);
        })(),
      });
      const content = response.body ?? '';
      const whole =
        typeof content === 'string' || content instanceof Uint8Array
          ? Buffer.from(content)
          : Buffer.concat(await Array.fromAsync(content));
      const length = response.headers['content-length'] ?? String(whole.length);
      const empty = method === 'HEAD' || response.status === 304;
      return {
        status: response.status,
        headers: { 'content-length': length, ...response.headers },
        body: empty ? Buffer.alloc(0) : whole,
      };
    },
  };
}

/** The embedded host: HTTP over loopback, objects in the file system, the index in LMDB. */
async function embeddedHost(): Promise<Host> {
  const dataDir = await mkdtemp(join(tmpdir(), 'nephos-'));
  const config = readConfig({ NEPHOS_DATA_DIR: dataDir, NEPHOS_AUTH: 'off', NEPHOS_HTTP_PORT: '0' });
  const archive = await openArchive(config);
  const { answer } = createApp({ archive, config, log: createLog('error', (line) => process.stderr.write(line)) });
  const server = createHttpHost({ answer, publicUrl: undefined }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    async close() {
      server.close();
      server.closeAllConnections();
      await archive.close();
      await rm(dataDir, { recursive: true });
    },
    fetch: (path, { method = 'GET', headers = {}, body } = {}) =>
      new Promise((resolve, reject) => {
        const request = httpRequest({ host: '127.0.0.1', port, path, method, headers }, async (response) => {
          const chunks = await Array.fromAsync(response as AsyncIterable<Buffer>);
          resolve({
            status: response.statusCode!,
            headers: response.headers as Record<string, string>,
            body: Buffer.concat(chunks),
          });
        });
        request.on('error', reject);
        request.end(body);
      }),
  };
}

dicomwebSuite('the routers on memory', memoryHost);
dicomwebSuite('the embedded host', embeddedHost);
