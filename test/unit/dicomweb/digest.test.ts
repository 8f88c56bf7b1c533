import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { reprDigest, sha256In } from '#dicomweb/digest.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';
import { multipart } from '#test/hosts/client.ts';
import { partsOf, wholeBody } from './asking.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const object = buildDicom();
const INSTANCE = `/dicomweb/studies/${uid(1)}/series/${uid(2)}/instances/${uid(3)}`;

function archive() {
  const router = new Router(memoryServices(), '/dicomweb', DICOMWEB_ROUTES);
  return async (path: string, init: { method?: string; headers?: Record<string, string>; body?: Uint8Array } = {}) => {
    const { response } = await router.handle({
      method: init.method ?? 'GET',
      path,
      query: new URLSearchParams(),
      headers: init.headers ?? {},
      body: (async function* () {
        if (init.body) yield init.body;
      })(),
      principal: { tenant: TENANT, subject: 'test', roles: ['admin'] },
      origin: 'http://pacs.example',
    });
    return { status: response.status, headers: response.headers, body: await wholeBody(response.body) };
  };
}

test('a digest field is read as RFC 9530 writes it, among others, and nothing is made of what is none', () => {
  const digest = sha256(object);
  expect(sha256In(reprDigest(digest))).toBe(digest);
  expect(sha256In(`sha-512=:AAAA:, ${reprDigest(digest)}`)).toBe(digest);
  for (const none of [undefined, '', 'sha-256=abc', 'sha-256=:AAAA:', 'sha-512=:AAAA:'])
    expect(sha256In(none)).toBeUndefined();
});

test('the answer to STOW states the SHA-256 of what was kept, for what was there before as well', async () => {
  const ask = archive();
  for (const _ of ['first', 'again']) {
    const { body } = await ask('/dicomweb/studies', multipart([object]));
    const [item] = JSON.parse(body.toString())['00081199'].Value;
    expect(item['00090010'].Value).toEqual(['NEPHOS']);
    expect(item['00091001'].Value).toEqual([sha256(object)]);
  }
});

test('an object whose Repr-Digest does not hold is refused, alone, and leaves nothing behind', async () => {
  const ask = archive();
  const other = buildDicom({ SOPInstanceUID: uid(4) });
  const headers = { 'Content-Type': 'application/dicom', 'Repr-Digest': reprDigest(sha256(other)) };
  const { status, body } = await ask(
    '/dicomweb/studies',
    multipart([
      { headers, body: object },
      { headers, body: other },
    ]),
  );
  expect(status).toBe(202);
  const response = JSON.parse(body.toString());
  expect(response['00081198'].Value[0]['00081155'].Value).toEqual([uid(3)]);
  expect(response['00081198'].Value[0]['00081197'].Value).toEqual([0xa900]);
  expect(response['00081199'].Value[0]['00081155'].Value).toEqual([uid(4)]);
  expect((await ask(INSTANCE)).status).toBe(404);
  // Unharmed, it is taken.
  expect((await ask('/dicomweb/studies', multipart([object]))).status).toBe(200);
});

test('an object states its digest, alone, as a part, and to HEAD; what it is made into does not', async () => {
  const ask = archive();
  await ask('/dicomweb/studies', multipart([object]));
  const digest = reprDigest(sha256(object));
  const single = { accept: 'application/dicom; transfer-syntax=*' };
  expect((await ask(INSTANCE, { headers: single })).headers['repr-digest']).toBe(digest);
  const head = await ask(INSTANCE, { method: 'HEAD', headers: single });
  expect(head).toMatchObject({
    status: 200,
    headers: { 'repr-digest': digest, 'content-length': String(object.length) },
  });
  expect(head.body).toHaveLength(0);
  const [part] = await partsOf(
    await ask(INSTANCE, { headers: { accept: 'multipart/related; type="application/dicom"' } }),
  );
  expect(part?.headers['repr-digest']).toBe(digest);
  const implicit = await ask(INSTANCE, { headers: { accept: 'application/dicom; transfer-syntax=1.2.840.10008.1.2' } });
  expect(implicit.status).toBe(200);
  expect(implicit.headers['repr-digest']).toBeUndefined();
});
