import { beforeEach, describe, expect, test } from 'vitest';
import type { Limits } from '#core/limits.ts';
import type { DirectAccess } from '#core/ports/direct-access.ts';
import type { Policy } from '#core/services.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const STUDY = `/dicomweb/studies/${uid(1)}`;
const SERIES = `${STUDY}/series/${uid(2)}`;
const INSTANCE = `${SERIES}/instances/${uid(101)}`;
const large = buildDicom({ SOPInstanceUID: uid(101), PixelData: new Uint8Array(50_000) });
const small = buildDicom({ SOPInstanceUID: uid(102), PixelData: new Uint8Array(100) });

describe('where one response may hold 40,000 bytes, and the store signs URLs for objects over 20,000', () => {
  let services: ReturnType<typeof memoryServices>;
  const archive: DirectAccess = {
    async signRead(key, { contentType, expiresInMs }) {
      expect(expiresInMs).toBe(900_000);
      return { url: `https://bucket.test/${key}?${contentType}`, headers: {}, expiresAt: 1 };
    },
    signWrite: () => Promise.reject(new Error('nobody writes')),
  };
  const start = async (options: { limits?: Partial<Limits>; policy?: Partial<Policy>; direct?: object } = {}) => {
    services = memoryServices({
      limits: { responseBytes: 40_000, redirectBytes: 20_000, ...options.limits },
      ...(options.policy && { policy: options.policy }),
      ports: { direct: options.direct ?? { archive } },
    });
    await store(services, large);
    await store(services, small);
  };
  const ask = async (path: string, headers: Record<string, string> = {}, method = 'GET') => {
    const router = new Router(services, '/dicomweb', DICOMWEB_ROUTES);
    const { response } = await router.handle({
      method,
      path,
      query: new URLSearchParams(),
      headers,
      origin: 'http://pacs.test',
      principal: { tenant: TENANT, subject: 'test', roles: ['retriever'] },
      body: (async function* () {})(),
    });
    const body = response.body;
    const bytes =
      body === undefined || typeof body === 'string' || body instanceof Uint8Array
        ? Buffer.from(body ?? '')
        : Buffer.concat(await Array.fromAsync(body));
    return { ...response, bytes };
  };
  const SINGLE = { accept: 'application/dicom; transfer-syntax=*' };
  const PARTS = { accept: 'multipart/related; type="application/dicom"; transfer-syntax=*' };
  beforeEach(() => start());

  test('a large object alone is had from its store', async () => {
    const answer = await ask(INSTANCE, SINGLE);
    expect(answer.status).toBe(307);
    expect(answer.headers.location).toMatch(
      new RegExp(`^https://bucket.test/${TENANT}/${uid(1)}/.*\\.dcm\\?application/dicom$`),
    );
    expect(answer.headers['cache-control']).toBe('no-store');
    expect((await ask(INSTANCE, { accept: '*/*' })).status).toBe(307);
  });

  test('a small one, a range of the large one, and its head come from us', async () => {
    const one = await ask(`${SERIES}/instances/${uid(102)}`, SINGLE);
    expect(one.status).toBe(200);
    expect(one.bytes.equals(Buffer.from(small))).toBe(true);
    const part = await ask(INSTANCE, { ...SINGLE, range: 'bytes=0-999' });
    expect(part.status).toBe(206);
    expect(part.bytes.equals(Buffer.from(large.subarray(0, 1_000)))).toBe(true);
    const head = await ask(INSTANCE, SINGLE, 'HEAD');
    expect(head.status).toBe(200);
    expect(head.headers['content-length']).toBe(String(large.length));
  });

  test('who cannot follow says so: refused with what to do, or served where it fits', async () => {
    const refused = await ask(INSTANCE, { ...SINGLE, prefer: 'no-redirect' });
    expect(refused.status).toBe(413);
    expect(JSON.parse(refused.bytes.toString())).toMatchObject({
      code: 'TOO_LARGE',
      title: expect.stringMatching(/ranges/),
      details: { sizeBytes: large.length, limitBytes: 40_000 },
    });
    await start({ limits: { responseBytes: 90_000 } });
    expect((await ask(INSTANCE, SINGLE)).status).toBe(307);
    expect((await ask(INSTANCE, { ...SINGLE, prefer: 'no-redirect' })).bytes.equals(Buffer.from(large))).toBe(true);
  });

  test('where preambles are zeroed, or nothing signs, the store’s own bytes are not handed out', async () => {
    await start({ policy: { sanitizePreamble: true }, limits: { responseBytes: 90_000 } });
    expect((await ask(INSTANCE, SINGLE)).status).toBe(200);
    await start({ direct: {} });
    expect((await ask(INSTANCE, SINGLE)).status).toBe(413);
  });

  test.each([
    ['a study', STUDY, /its series, its instances one by one/],
    ['a series', SERIES, /its instances one by one/],
    ['an instance in parts', INSTANCE, /ask for it alone/],
  ])('%s that is too large is refused before the first byte, with what to do', async (_, path, title) => {
    const refused = await ask(path, PARTS);
    expect(refused.status).toBe(413);
    expect(JSON.parse(refused.bytes.toString()).title).toMatch(title);
    await start({ limits: { responseBytes: 90_000 } });
    expect((await ask(path, PARTS)).status).toBe(200);
  });

  test('bulk data is refused as a whole and had in ranges', async () => {
    const pixels = `${INSTANCE}/bulkdata/7FE00010`;
    const accept = { accept: 'application/octet-stream' };
    const metadata = JSON.parse((await ask(`${INSTANCE}/metadata`)).bytes.toString());
    const path = new URL(metadata[0]['7FE00010'].BulkDataURI).pathname;
    expect(path.startsWith(pixels)).toBe(true);
    expect((await ask(path, accept)).status).toBe(413);
    const part = await ask(path, { ...accept, range: 'bytes=10-29' });
    expect([part.status, part.bytes.length]).toEqual([206, 20]);
    expect((await ask(path, { accept: 'multipart/related; type="application/octet-stream"' })).status).toBe(413);
  });
});
