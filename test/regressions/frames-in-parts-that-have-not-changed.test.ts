import { expect, test } from 'vitest';
import { retrieveFrames, retrievePixelData } from '#dicomweb/retrieve-frames.ts';
import { retrieveInstanceMetadata } from '#dicomweb/retrieve-metadata.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store } from '#test/fixtures/services.ts';
import { ask } from '../unit/dicomweb/asking.ts';

/** A weak ETag was compared with its own mark on one side only: no viewer that asked again ever heard 304 for multipart. */
test.each([
  ['frames', retrieveFrames, 'multipart/related; type="application/octet-stream"'],
  ['pixel data', retrievePixelData, 'multipart/related; type="application/octet-stream"'],
  ['metadata', retrieveInstanceMetadata, 'multipart/related; type="application/dicom+xml"'],
])('%s in parts that have not changed are not sent again', async (_, handler, accept) => {
  const services = memoryServices();
  await store(services, buildDicom());
  const params = { study: uid(1), series: uid(2), instance: uid(3), frames: '1' };
  const first = await ask(services, handler, params, { accept });
  expect(first.status).toBe(200);
  const { etag } = first.headers;
  expect(etag).toMatch(/^W\//);
  for (const known of [etag!, etag!.slice(2), `"other", ${etag}`]) {
    const again = await ask(services, handler, params, { accept, headers: { 'if-none-match': known } });
    expect([again.status, again.body.length]).toEqual([304, 0]);
  }
  expect((await ask(services, handler, params, { accept, headers: { 'if-none-match': '"other"' } })).status).toBe(200);
});
