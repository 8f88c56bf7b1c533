import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import { chooseEncoding, staticSite } from '#embedded/static-site.ts';

const folder = mkdtempSync(join(tmpdir(), 'nephos-site-'));
const consoleDir = join(folder, 'console-build');
const viewerDir = join(folder, 'viewer-build');
const SCRIPT = 'export const words = "lung window";\n'.repeat(200);
const VIEWER_PAGE =
  '<html><head><script>window.PUBLIC_URL="/"</script><script defer src="/app.bundle.js"></script></head></html>';

function write(path: string, content: string): void {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
}

beforeAll(() => {
  write(join(consoleDir, 'index.html'), '<html>console</html>');
  write(join(consoleDir, 'app-config.js'), 'window.config = { name: "nephos" }');
  write(join(consoleDir, 'console/index-Ab3_-xY9.js'), SCRIPT);
  write(join(viewerDir, 'index.html'), VIEWER_PAGE);
  write(join(viewerDir, 'app-config.js'), 'window.config = { name: "theirs" }');
  write(join(viewerDir, 'app.bundle.0f6159c501addfe9.js'), SCRIPT);
  write(join(viewerDir, '34b1e6b1deb5828e.wasm'), '\0asm'.repeat(1_000));
  write(join(viewerDir, 'app.bundle.css'), 'body{}');
  write(join(viewerDir, 'sw.js'), 'self.addEventListener("fetch", () => {})');
  write(join(viewerDir, 'app.bundle.js.map'), '{}');
  write(join(folder, 'secret.txt'), 'secret');
});
afterAll(() => rmSync(folder, { recursive: true }));

const open = () => staticSite({ consoleDir, viewerDir, cacheDir: join(folder, 'cache') });
const requestOf = (path: string, headers: Record<string, string> = {}, method = 'GET'): HttpRequest => ({
  method,
  path,
  query: new URLSearchParams(),
  headers,
  body: (async function* () {})(),
  origin: 'http://127.0.0.1',
});

async function bytesOf({ body }: HttpResponse): Promise<Buffer> {
  if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) return Buffer.from(body ?? '');
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function get(path: string, headers?: Record<string, string>, method?: string) {
  const response = await open()(requestOf(path, headers, method));
  if (response === undefined) throw new Error(`nothing at ${path}`);
  return { ...response, bytes: await bytesOf(response) };
}

describe('console and viewer on one origin', () => {
  test('the console is at the root, the viewer at /viewer and at its other modes', async () => {
    expect((await get('/')).bytes.toString()).toContain('console');
    for (const path of ['/viewer', '/viewer/', '/viewer/nephos', '/microscopy', '/tmtv']) {
      const page = await get(path);
      expect(page.bytes.toString(), path).toBe(VIEWER_PAGE);
      expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    }
  });

  test('the configuration of the viewer is ours', async () => {
    expect((await get('/app-config.js')).bytes.toString()).toContain('nephos');
  });

  test.each([
    '/sw.js',
    '/app.bundle.js.map',
    '/nowhere',
    '/viewer/../secret.txt',
    '/../secret.txt',
    '/console/../../secret.txt',
    '/%2e%2e/secret.txt',
    '//index.html',
    '/console',
    '/..\\secret.txt',
    '/index.html\0.js',
  ])('there is nothing at %s', async (path) => {
    expect(await open()(requestOf(path))).toBeUndefined();
  });

  test('without a build of the console there is no page, and no failure', async () => {
    const site = staticSite({ consoleDir: join(folder, 'absent'), viewerDir, cacheDir: join(folder, 'cache') });
    expect(await site(requestOf('/'))).toBeUndefined();
  });

  test('a console that is built while the host runs is found', async () => {
    const dir = join(folder, 'later');
    const site = staticSite({ consoleDir: dir, viewerDir, cacheDir: join(folder, 'cache') });
    expect(await site(requestOf('/'))).toBeUndefined();
    write(join(dir, 'console/index-11111111.js'), 'first');
    write(join(dir, 'index.html'), '<html>first</html>');
    expect((await bytesOf((await site(requestOf('/')))!)).toString()).toContain('first');
    rmSync(join(dir, 'console'), { recursive: true });
    expect(await site(requestOf('/console/index-11111111.js'))).toBeUndefined();
    write(join(dir, 'console/index-22222222.js'), 'second');
    write(join(dir, 'index.html'), '<html>second</html>');
    expect((await bytesOf((await site(requestOf('/console/index-22222222.js')))!)).toString()).toBe('second');
  });

  test('types let browsers run wasm while it arrives', async () => {
    expect((await get('/34b1e6b1deb5828e.wasm')).headers['content-type']).toBe('application/wasm');
    expect((await get('/app.bundle.css')).headers['content-type']).toBe('text/css; charset=utf-8');
  });

  test('only GET and HEAD', async () => {
    expect(await get('/', {}, 'POST')).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
    const head = await get('/app.bundle.0f6159c501addfe9.js', {}, 'HEAD');
    expect(head.status).toBe(200);
    expect(head.headers['content-length']).toBe(String(SCRIPT.length));
    expect(head.bytes.length).toBe(0);
  });
});

describe('caching', () => {
  test.each(['/console/index-Ab3_-xY9.js', '/app.bundle.0f6159c501addfe9.js', '/34b1e6b1deb5828e.wasm'])(
    '%s never changes',
    async (path) => {
      expect((await get(path)).headers['cache-control']).toBe('public, max-age=31536000, immutable');
    },
  );

  test.each(['/', '/viewer', '/app-config.js', '/app.bundle.css'])('%s is asked for again', async (path) => {
    const first = await get(path);
    expect(first.headers['cache-control']).toBe('no-cache');
    const again = await get(path, { 'if-none-match': `"other", ${first.headers.etag}` });
    expect(again.status).toBe(304);
    expect(again.bytes.length).toBe(0);
  });

  test('a file that is built again has another tag, though npm gives every file the same date', async () => {
    const site = open();
    const before = await site(requestOf('/app.bundle.css'));
    const { ctimeMs } = statSync(join(viewerDir, 'app.bundle.css'));
    // The clock of the file system ticks every few milliseconds.
    while (statSync(join(viewerDir, 'app.bundle.css')).ctimeMs === ctimeMs)
      write(join(viewerDir, 'app.bundle.css'), 'main{}');
    const after = await site(requestOf('/app.bundle.css', { 'if-none-match': before!.headers.etag! }));
    expect(after?.status).toBe(200);
    expect(after?.headers.etag).not.toBe(before?.headers.etag);
  });
});

describe('compression', () => {
  test.each([
    ['br', 'gzip, deflate, br', brotliDecompressSync],
    ['gzip', 'gzip', gunzipSync],
  ] as const)('%s when the browser takes it', async (encoding, accepted, inflate) => {
    const response = await get('/console/index-Ab3_-xY9.js', { 'accept-encoding': accepted });
    expect(response.headers).toMatchObject({ 'content-encoding': encoding, vary: 'accept-encoding' });
    expect(response.headers['content-length']).toBe(String(response.bytes.length));
    expect(inflate(response.bytes).toString()).toBe(SCRIPT);
    const again = await get('/console/index-Ab3_-xY9.js', { 'accept-encoding': accepted });
    expect(again.bytes).toEqual(response.bytes);
  });

  test('each encoding has its own tag', async () => {
    const tags = await Promise.all(
      ['br', 'gzip', 'identity'].map(
        async (encoding) => (await get('/console/index-Ab3_-xY9.js', { 'accept-encoding': encoding })).headers.etag,
      ),
    );
    expect(new Set(tags).size).toBe(3);
  });

  test('where no copy can be kept, the file is sent as it is', async () => {
    write(join(folder, 'a-file'), '');
    const site = staticSite({ consoleDir, viewerDir, cacheDir: join(folder, 'a-file/below') });
    const response = await site(requestOf('/console/index-Ab3_-xY9.js', { 'accept-encoding': 'br' }));
    expect(response?.headers['content-encoding']).toBeUndefined();
    expect((await bytesOf(response!)).toString()).toBe(SCRIPT);
  });

  test.each([
    [undefined, 'identity'],
    ['', 'identity'],
    ['br;q=0, gzip', 'gzip'],
    ['gzip;q=0.5, br;q=0.4', 'gzip'],
    ['*', 'br'],
    ['identity, br;q=0.5', 'identity'],
    ['GZIP;Q=1', 'gzip'],
    ['zstd', 'identity'],
  ])('Accept-Encoding %s → %s', (accepted, encoding) => {
    expect(chooseEncoding(accepted)).toBe(encoding);
  });
});

describe('what the pages may do', () => {
  test('the console runs its own scripts only', async () => {
    const policy = (await get('/')).headers['content-security-policy']!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).not.toContain('unsafe');
  });

  test('the inline scripts of the viewer are allowed one by one', async () => {
    const policy = (await get('/viewer')).headers['content-security-policy']!;
    // printf 'window.PUBLIC_URL="/"' | openssl dgst -sha256 -binary | base64
    expect(policy).toContain("'sha256-iDPt/Ua3DNNwIdzDqulCGYDYPv58ixnA75eez8NxOJg='");
    expect(policy).not.toMatch(/script-src[^;]*'unsafe-inline'/);
  });

  test.each(['/', '/viewer', '/app.bundle.css'])('%s is isolated from other origins', async (path) => {
    expect((await get(path)).headers).toMatchObject({
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
      'cross-origin-resource-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
    });
  });
});
