import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import { apiRoutes } from '#api/routes.ts';
import type { Principal } from '#core/access.ts';
import type { Services } from '#core/services.ts';
import { TokenStore } from '#core/tokens.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import type { Route } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import { staticSite } from '#embedded/static-site.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices, noPixels, store, TENANT } from '#test/fixtures/services.ts';

const VIEWER = join(import.meta.dirname, '../../node_modules/@ohif/app/dist');
const CONSOLE = join(import.meta.dirname, '../../web/dist');

interface Door {
  readonly prefix: string;
  readonly route: Route;
}
const PARAMETERS: Readonly<Record<string, string>> = {
  study: uid(1),
  series: uid(2),
  instance: uid(3),
  frames: '1',
  bulk: '7FE00010',
};
const pathOf = ({ prefix, route }: Door): string =>
  prefix + route.path.replace(/\{(\w+)\*?\}/g, (_, name: string) => PARAMETERS[name] ?? 'x1');

let services: Services;
let doors: Door[];
let ask: (request: Partial<HttpRequest> & Pick<HttpRequest, 'method' | 'path'>) => Promise<HttpResponse>;
let cookie: string;
const admin: Principal = { tenant: TENANT, subject: 'admin', roles: ['admin'] };

beforeAll(async () => {
  services = memoryServices({ pixels: noPixels });
  await store(services, buildDicom());
  const tokens = new TokenStore(services);
  const app = createArchiveApp({ services, tokens, corsOrigins: [], tenant: TENANT, onFailure: () => {} });
  const token = (await tokens.bootstrap(TENANT))!;
  cookie = `nephos_session=${await tokens.openSession(admin, { token })}`;
  const under = (prefix: string) => (route: Route) => ({ prefix, route });
  doors = [
    ...DICOMWEB_ROUTES.map(under('/dicomweb')),
    ...WADO_URI_ROUTES.map(under('/wado')),
    ...apiRoutes(tokens).map(under('/api')),
  ];
  ask = async (request) => {
    const answered = await app.answer({
      query: new URLSearchParams(),
      headers: {},
      body: chunked(new Uint8Array()),
      origin: 'http://pacs.test',
      signal: AbortSignal.abort(),
      ...request,
    });
    return answered!.response;
  };
});

/** What no answer may lack that a browser could open as a page. */
function expectSafe({ status, headers }: HttpResponse, what: string): void {
  const told = `${what}: ${status}`;
  expect(headers['x-content-type-options'], told).toBe('nosniff');
  const policy = headers['content-security-policy'] ?? '';
  expect(policy, told).toMatch(/frame-ancestors '(self|none)'/);
  expect(policy, told).toMatch(/default-src 'none'/);
  expect(policy, told).toMatch(/sandbox/);
  expect(headers['referrer-policy'], told).toBeDefined();
}

describe('every answer of every route', () => {
  test('runs nothing, and stands in nobody else’s page: refused, mistaken or right', async () => {
    let right = 0;
    for (const door of doors) {
      const { method } = door.route;
      const path = pathOf(door);
      for (const principal of [undefined, { ...admin, roles: [] }, admin]) {
        const answer = await ask({ method, path, ...(principal && { principal }) });
        if (answer.status < 300) right++;
        expectSafe(answer, `${method} ${path}`);
      }
      const crooked = { method: 'PATCH', path: path.replace(uid(1), 'no-uid') };
      expectSafe(await ask({ ...crooked, principal: admin }), `PATCH ${crooked.path}`);
    }
    expect(right).toBeGreaterThan(20);
    for (const path of ['/dicomweb/nowhere', '/api/nowhere', '/healthz'])
      expectSafe(await ask({ method: 'GET', path, principal: admin }), path);
    expectSafe(
      await ask({ method: 'GET', path: '/api/session', headers: { authorization: 'Bearer nephos_x' } }),
      'token',
    );
    const preflight = { origin: 'http://a.test', 'access-control-request-method': 'PUT' };
    expectSafe(await ask({ method: 'OPTIONS', path: '/dicomweb/studies', headers: preflight }), 'preflight');
  });

  test('that changes something is not given to a page of another site, whatever its cookie', async () => {
    const sites = [
      { 'sec-fetch-site': 'cross-site', origin: 'http://evil.test' },
      { 'sec-fetch-site': 'same-site', origin: 'http://other.pacs.test' },
      { origin: 'http://evil.test' },
      { origin: 'null' },
    ];
    let tried = 0;
    for (const door of doors) {
      const { method } = door.route;
      if (method === 'GET' || method === 'OPTIONS') continue;
      for (const site of sites) {
        const answer = await ask({ method, path: pathOf(door), headers: { cookie, ...site } });
        expect(answer.status, `${method} ${pathOf(door)} of ${site.origin}`).toBe(403);
        tried++;
      }
    }
    expect(tried).toBeGreaterThan(60);
    expect((await ask({ method: 'GET', path: '/api/session', headers: { cookie } })).status).toBe(200);
  });
});

test('an HTML document in an object is given out, and runs nothing', async () => {
  const html = Buffer.from('<script>fetch("/api/tokens",{method:"POST"})</script>'.padEnd(400));
  const object = buildDicom({
    SOPClassUID: '1.2.840.10008.5.1.4.1.1.104.2',
    SOPInstanceUID: uid(70),
    MIMETypeOfEncapsulatedDocument: 'text/html',
    EncapsulatedDocument: html,
    PixelData: undefined,
  });
  await store(services, object);
  const path = `/dicomweb/studies/${uid(1)}/series/${uid(2)}/instances/${uid(70)}/bulkdata/00420011`;
  for (const accept of ['text/html', 'text/html,application/xhtml+xml,*/*;q=0.8', '*/*'])
    expectSafe(await ask({ method: 'GET', path, headers: { accept }, principal: admin }), accept);
});

describe('every page and file of console and viewer', () => {
  const filesOf = (folder: string): string[] => {
    try {
      return readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && statSync(join(entry.parentPath, entry.name)).size < 500_000)
        .map((entry) => join(entry.parentPath, entry.name).slice(folder.length));
    } catch {
      return [];
    }
  };

  test('says what it may run and is isolated; what is none says so in safety', async () => {
    const site = staticSite({});
    const paths = ['/', '/viewer', '/viewer/nephos', '/segmentation', ...filesOf(VIEWER), ...filesOf(CONSOLE)];
    let served = 0;
    for (const path of paths) {
      const request = { method: 'HEAD', path, query: new URLSearchParams(), headers: {}, origin: 'http://pacs.test' };
      const answer = await site({ ...request, body: chunked(new Uint8Array()) });
      if (answer === undefined) continue;
      served++;
      const { headers } = answer;
      expect(headers, path).toMatchObject({
        'x-content-type-options': 'nosniff',
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-embedder-policy': 'require-corp',
        'cross-origin-resource-policy': 'same-origin',
        'referrer-policy': expect.stringMatching(/^(same-origin|no-referrer)$/),
      });
      const policy = headers['content-security-policy']!;
      expect(policy, path).toContain("default-src 'none'");
      expect(policy, path).toContain("base-uri 'none'");
      expect(policy, path).toMatch(/frame-ancestors '(self|none)'/);
      expect(policy, path).not.toMatch(/script-src[^;]*('unsafe-inline'|\*|https?:)/);
      expectSafe((await site({ ...request, method: 'POST', body: chunked(new Uint8Array()) }))!, `POST ${path}`);
    }
    expect(served).toBeGreaterThan(100);
  });
});
