import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';
import { wholeBody } from './asking.ts';

const object = buildDicom({ SOPInstanceUID: uid(3) });
const multipart = Buffer.concat([
  Buffer.from('--B\r\nContent-Type: application/dicom\r\n\r\n'),
  object,
  Buffer.from('\r\n--B--\r\n'),
]);
const MULTIPART = 'multipart/related; type="application/dicom"; boundary=B';

async function store(
  body: Uint8Array,
  coding: string,
  type = MULTIPART,
  { limits = {}, ...headers }: { limits?: Record<string, number>; [header: string]: unknown } = {},
) {
  const services = memoryServices({ limits });
  const { response } = await new Router(services, '/dicomweb', DICOMWEB_ROUTES).handle({
    method: 'POST',
    path: '/dicomweb/studies',
    query: new URLSearchParams(),
    headers: { 'content-type': type, 'content-encoding': coding, ...(headers as Record<string, string>) },
    // in small pieces, as a network has them
    body: (async function* () {
      for (let at = 0; at < body.length; at += 100) yield body.subarray(at, at + 100);
    })(),
    origin: 'http://pacs.example',
    principal: { tenant: TENANT, subject: 'test', roles: ['admin'] },
  });
  return { status: response.status, headers: response.headers, text: (await wholeBody(response.body)).toString() };
}

/** Compressed bodies were read as if they were none: a multipart body seemed to end without its boundary. */
test.each([
  ['gzip', gzipSync(multipart)],
  ['x-gzip', gzipSync(multipart)],
  ['deflate', deflateSync(multipart)],
  ['GZIP', gzipSync(multipart)],
  ['identity', multipart],
  ['', multipart],
])('a body in Content-Encoding %s is stored', async (coding, body) => {
  expect(await store(body, coding)).toMatchObject({ status: 200 });
});

test('so is an object alone; a digest of the coded bytes is not compared with it', async () => {
  const type = 'application/dicom';
  const digest = { 'repr-digest': `sha-256=:${Buffer.alloc(32).toString('base64')}:` };
  expect(await store(gzipSync(object), 'gzip', type, digest)).toMatchObject({ status: 200 });
  expect(await store(object, '', type, digest)).toMatchObject({ status: 409 });
});

test.each([
  ['br', brotliCompressSync(multipart)],
  ['gzip, gzip', gzipSync(gzipSync(multipart))],
])('%s is refused with what is taken', async (coding, body) => {
  const { status, headers } = await store(body, coding);
  expect({ status, accepted: headers['accept-encoding'] }).toEqual({ status: 415, accepted: 'gzip, deflate' });
});

test('a body that is not coded as it says, or breaks off, is a bad request', async () => {
  expect((await store(multipart, 'gzip')).status).toBe(400);
  expect((await store(gzipSync(multipart).subarray(0, -20), 'gzip')).status).toBe(400);
});

/** The object that was being read was told so; the request then seemed to end without its boundary, and was bad. */
test('a body that does not say how long it is, and is too long, is too large', async () => {
  const long = Buffer.concat([multipart.subarray(0, 40), object, Buffer.alloc(5_000)]);
  expect((await store(long, '', MULTIPART, { limits: { storeRequestBytes: object.length + 1_000 } })).status).toBe(413);
});

test('what comes out of it is limited as any body is', async () => {
  const limits = { storeRequestBytes: 2_000_000 };
  const bomb = gzipSync(Buffer.concat([multipart.subarray(0, 40), Buffer.alloc(20_000_000)]));
  expect(bomb.length).toBeLessThan(limits.storeRequestBytes);
  expect((await store(bomb, 'gzip', MULTIPART, { limits })).status).toBe(413);
});
