import { expect, test } from 'vitest';
import { keys, type SeriesRecord } from '#core/archive/records.ts';
import { beginRestore, RESTORE, recordAvailability, restoreSeries } from '#core/archive/tiering.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { HttpResponse } from '#dicomweb/http.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES } from '#dicomweb/routes.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, studyRecord, TENANT } from '#test/fixtures/services.ts';

const [STUDY, SERIES] = [uid(1), uid(2)];

/** A study of one series of three instances, and a second series of one. */
async function archive() {
  const services = memoryServices();
  for (const n of [31, 32, 33]) await store(services, buildDicom({ SOPInstanceUID: uid(n) }));
  await store(services, buildDicom({ SOPInstanceUID: uid(4), SeriesInstanceUID: uid(5) }));
  const router = new Router(services, '/dicomweb', DICOMWEB_ROUTES);
  const get = async (path: string, accept?: string): Promise<HttpResponse> => {
    const url = new URL(`http://pacs.example/dicomweb${path}`);
    const { response } = await router.handle({
      method: 'GET',
      path: url.pathname,
      query: url.searchParams,
      headers: accept === undefined ? {} : { accept },
      origin: url.origin,
      principal: { tenant: TENANT, subject: 'test', roles: ['admin'] },
      body: (async function* () {})(),
    });
    return response;
  };
  const availabilities = async (path: string): Promise<unknown[]> => {
    const { body } = await get(path, 'application/dicom+json');
    const text = typeof body === 'string' ? body : Buffer.from(body as Uint8Array).toString();
    return JSON.parse(text).map((result: Record<string, { Value: string[] }>) => result['00080056']?.Value[0]);
  };
  const work = async (): Promise<(string | undefined)[]> => {
    const jobs = await services.jobs.receive(RESTORE, { max: 10, visibilityMs: 60_000 });
    const outcomes: string[] = [];
    for (const job of jobs) {
      outcomes.push(await restoreSeries(services, job.payload as unknown as Parameters<typeof restoreSeries>[1]));
      await services.jobs.complete(RESTORE, job);
    }
    return outcomes;
  };
  return { services, get, availabilities, work };
}

const PATHS = [
  `/studies/${STUDY}`,
  `/studies/${STUDY}/series/${SERIES}`,
  `/studies/${STUDY}/series/${SERIES}/instances/${uid(31)}`,
  `/studies/${STUDY}/series/${SERIES}/instances/${uid(31)}/frames/1`,
];

test.each(PATHS)('a read of %s from slow media is 503 with Retry-After, and starts the restore', async (path) => {
  const { services, get, availabilities, work } = await archive();
  services.blobs.archive(`${TENANT}/${STUDY}/${SERIES}/`);
  const refused = await get(path);
  expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '900' } });
  expect(await availabilities('/studies')).toStrictEqual(['NEARLINE']);
  expect(await availabilities(`/studies/${STUDY}/series`)).toStrictEqual(['NEARLINE', 'ONLINE']);
  expect(await availabilities(`/studies/${STUDY}/series/${SERIES}/instances`)).toStrictEqual(Array(3).fill('NEARLINE'));

  expect(await work()).toStrictEqual(['later']);
  expect((await get(path)).status).toBe(503);
  expect(await work()).toStrictEqual([]); // one job is enough
  services.blobs.finishRestores();
  services.clock.advance(services.limits.restorePollMs);
  expect(await work()).toStrictEqual(['done']);
  expect((await get(path)).status).toBe(200);
  expect(await availabilities('/studies')).toStrictEqual(['ONLINE']);
});

test('what is not on slow media is served while the rest of the study comes back', async () => {
  const { services, get } = await archive();
  services.blobs.archive(`${TENANT}/${STUDY}/${SERIES}/`);
  expect((await get(PATHS[0]!)).status).toBe(503);
  expect((await get(`/studies/${STUDY}/series/${uid(5)}`)).status).toBe(200);
  expect((await get(`/studies/${STUDY}/metadata`, 'application/dicom+json')).status).toBe(200);
});

test('a restore goes on behind what is back already, and does not wait for what was removed', async () => {
  const { services, work } = await archive();
  const instances = await services.index.query({ ...keys.instance(TENANT, STUDY, SERIES, ''), limit: 10 });
  const blobKeys = instances.records.map(({ item }) => item.blobKey as string);
  services.blobs.archive(blobKeys[1]!);
  services.blobs.archive(blobKeys[2]!);
  await beginRestore(services, TENANT, STUDY, SERIES);
  await beginRestore(services, TENANT, STUDY, SERIES);
  expect(await work()).toStrictEqual(['later']);
  await services.blobs.delete(blobKeys[2]!);
  const asked: string[] = [];
  const { restore } = services.blobs;
  services.blobs.restore = (key) => {
    asked.push(key);
    return restore.call(services.blobs, key);
  };
  services.clock.advance(services.limits.restorePollMs);
  expect(await work()).toStrictEqual(['later']);
  expect(asked).not.toContain(blobKeys[0]);
  services.blobs.finishRestores();
  services.clock.advance(services.limits.restorePollMs);
  expect(await work()).toStrictEqual(['done']);
});

test('a host that hears of a move says so; the series that is farthest away decides for its study', async () => {
  const { services, availabilities } = await archive();
  await recordAvailability(services, TENANT, STUDY, SERIES, 'OFFLINE');
  await recordAvailability(services, TENANT, STUDY, uid(5), 'NEARLINE');
  expect(await availabilities('/studies')).toStrictEqual(['OFFLINE']);
  await recordAvailability(services, TENANT, STUDY, SERIES, 'ONLINE');
  expect(await availabilities('/studies')).toStrictEqual(['NEARLINE']);
  await recordAvailability(services, TENANT, uid(99), SERIES, 'OFFLINE');
  expect((await studyRecord(services, STUDY))?.instanceCount).toBe(4);
});

test('stores at the same time and changes of availability count everything', async () => {
  const { services } = await archive();
  await Promise.all([
    ...Array.from({ length: 20 }, (_, n) => store(services, buildDicom({ SOPInstanceUID: uid(100 + n) }))),
    ...Array.from({ length: 5 }, () => recordAvailability(services, TENANT, STUDY, SERIES, 'NEARLINE')),
  ]);
  expect(await studyRecord(services, STUDY)).toMatchObject({ instanceCount: 24, availability: 'NEARLINE' });
  const series = await services.index.get(keys.series(TENANT, STUDY, SERIES));
  expect(asRecord<SeriesRecord>(series)).toMatchObject({ instanceCount: 23, availability: 'NEARLINE' });
});
