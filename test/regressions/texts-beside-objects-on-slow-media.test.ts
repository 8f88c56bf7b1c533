import { expect, test } from 'vitest';
import { RESTORE, restoreSeries } from '#core/archive/tiering.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, JPEG_BASELINE, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

/**
 * Metadata that are too long for the index, and tables of many frames, are blobs beside the object. Where a lifecycle rule had put those on slow
 * media as well, a restore brought back the object alone, and its metadata and frames never came.
 */
test.each([
  [`/studies/${uid(1)}/metadata`, 'application/dicom+json'],
  [
    `/studies/${uid(1)}/series/${uid(2)}/instances/${uid(3)}/frames/2`,
    'multipart/related; type="image/jpeg"; transfer-syntax=*',
  ],
])('%s comes back from slow media', async (path, accept) => {
  const services = memoryServices({ limits: { metadataInIndexBytes: 1, frameTableInIndexBytes: 1 } });
  const frames = [Buffer.alloc(10, 1), Buffer.alloc(10, 2)];
  await store(services, buildDicom({ NumberOfFrames: 2 }, { transferSyntaxUID: JPEG_BASELINE, frames }));
  services.blobs.archive(`${TENANT}/`);
  const get = async (): Promise<number> => {
    const url = new URL(`http://pacs.example/dicomweb${path}`);
    const { response } = await new Router(services, '/dicomweb', DICOMWEB_ROUTES).handle({
      method: 'GET',
      path: url.pathname,
      query: url.searchParams,
      headers: { accept },
      origin: url.origin,
      principal: { tenant: TENANT, subject: 'test', roles: ['admin'] },
      body: (async function* () {})(),
    });
    return response.status;
  };
  const work = async (): Promise<void> => {
    for (const job of await services.jobs.receive(RESTORE, { max: 10, visibilityMs: 60_000 })) {
      await restoreSeries(services, job.payload as unknown as Parameters<typeof restoreSeries>[1]);
      await services.jobs.complete(RESTORE, job);
    }
  };
  expect(await get()).toBe(503);
  await work();
  services.blobs.finishRestores();
  services.clock.advance(services.limits.restorePollMs);
  await work();
  expect(await get()).toBe(200);
});
