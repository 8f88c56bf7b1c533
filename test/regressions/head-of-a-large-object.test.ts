import { expect, test } from 'vitest';
import { s3Client } from '#adapters/aws/clients.ts';
import { S3DirectAccess } from '#adapters/aws/s3-direct-access.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

// A URL that S3 has signed for GET answers HEAD with 403: S3 signs the method. Viewers ask for the size of an object by HEAD first.
const INSTANCE = `/studies/${uid(1)}/series/${uid(2)}/instances/${uid(3)}`;
const ANY = 'application/dicom; transfer-syntax=*';

test.each([
  ['/dicomweb', INSTANCE, { accept: ANY }],
  ['/dicomweb', INSTANCE, { accept: '*/*' }],
  ['/dicomweb', INSTANCE, { accept: ANY, range: 'bytes=0-49999' }],
  [
    '',
    `/wado?requestType=WADO&studyUID=${uid(1)}&seriesUID=${uid(2)}&objectUID=${uid(3)}&contentType=application/dicom&transferSyntax=*`,
    {},
  ],
])('HEAD of %s%s is answered by us, where GET leads to the bucket', async (root, path, headers) => {
  const services = memoryServices({ limits: { redirectBytes: 20_000, responseBytes: 40_000 } });
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
  const client = s3Client({ region: 'eu-west-1', credentials });
  const archive = new S3DirectAccess({ client, bucket: 'archive', clock: services.clock });
  const bytes = buildDicom({ PixelData: new Uint8Array(60_000) });
  expect((await store(services, bytes)).kind).toBe('stored');
  const ask = async (method: string) => {
    const url = new URL(`http://pacs.test${root}${path}`);
    const routes = root === '' ? WADO_URI_ROUTES.map((route) => ({ ...route, path: '/wado' })) : DICOMWEB_ROUTES;
    const { response } = await new Router({ ...services, direct: { archive } }, root, routes).handle({
      method,
      path: url.pathname,
      query: url.searchParams,
      headers,
      origin: url.origin,
      principal: { tenant: TENANT, subject: 'test', roles: ['retriever'] },
      body: (async function* () {})(),
    });
    return response;
  };
  const got = await ask('GET');
  expect(got.status).toBe(307);
  expect(got.headers.location).toContain('X-Amz-Signature=');
  const head = await ask('HEAD');
  expect(head.headers.location).toBeUndefined();
  // A range is GET's alone (RFC 9110 §14.2).
  expect(head.status).toBe(200);
  expect(head.headers['content-length']).toBe(String(bytes.length));
});
