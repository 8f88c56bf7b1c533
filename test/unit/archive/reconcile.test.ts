import { expect, test } from 'vitest';
import { reconcile } from '#core/archive/reconcile.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const slice = (study: number, n: number, more: object = {}): Uint8Array =>
  buildDicom({
    StudyInstanceUID: uid(study),
    SeriesInstanceUID: uid(study * 10),
    SOPInstanceUID: uid(study * 100 + n),
    ...more,
  });
const never = (): boolean => false;

async function archive() {
  const services = memoryServices();
  for (const study of [1, 2, 3]) for (const n of [1, 2]) await store(services, slice(study, n));
  services.clock.advance(services.limits.pendingMs + 1);
  return services;
}
const blobOf = async (services: Awaited<ReturnType<typeof archive>>, sop: string): Promise<string> => {
  for await (const { key } of services.blobs.list('')) if (key.includes(`/${sop}.`)) return key;
  throw new Error('no such blob');
};

test('an archive that is whole has nothing to say; what was deleted or is held is known', async () => {
  const services = await archive();
  await moveToTrash(services, TENANT, [{ StudyInstanceUID: uid(1) }], { kind: 'deleted', reason: 'test', by: 'test' });
  expect((await store(services, slice(2, 1, { PatientID: 'OTHER' }))).kind).toBe('held');
  services.clock.advance(services.limits.pendingMs + 1);
  expect(await reconcile(services, TENANT, never)).toEqual({
    studies: 2,
    listed: 2,
    objects: 4,
    missing: 0,
    unknown: 0,
    named: [],
    finished: true,
  });
});

test('an object that is gone, one that nobody knows, and a folder that nobody knows are found', async () => {
  const services = await archive();
  const gone = await blobOf(services, uid(201));
  await services.blobs.delete(gone);
  const stray = (await blobOf(services, uid(302))).replace(uid(302), uid(999));
  await services.blobs.put(stray, new Uint8Array(9));
  const foreign = stray.replace(`/${uid(3)}/`, `/${uid(77)}/`);
  await services.blobs.put(foreign, new Uint8Array(9));
  const report = await reconcile(services, TENANT, never);
  expect(report).toMatchObject({ missing: 1, unknown: 2, finished: true });
  expect(report.named).toEqual(
    expect.arrayContaining([
      { kind: 'missing', blobKey: gone },
      { kind: 'unknown', blobKey: stray },
      { kind: 'unknown', blobKey: foreign },
    ]),
  );
});

test('an object that is being stored right now is not reported', async () => {
  const services = await archive();
  const recent = (await blobOf(services, uid(301))).replace(uid(301), uid(998));
  services.clock.advance(-services.limits.pendingMs);
  await services.blobs.put(recent, new Uint8Array(9));
  expect((await reconcile(services, TENANT, never)).unknown).toBe(0);
});

test('runs that are short of time go on where the last one ended, and come to an end', async () => {
  const services = await archive();
  const foreign = (await blobOf(services, uid(302))).replace(`/${uid(3)}/`, `/${uid(77)}/`);
  await services.blobs.put(foreign, new Uint8Array(9));
  const reports = [];
  do reports.push(await reconcile(services, TENANT, () => true));
  while (!reports.at(-1)!.finished && reports.length < 50);
  expect(reports.at(-1)!.finished).toBe(true);
  expect(reports.reduce((sum, { studies }) => sum + studies, 0)).toBe(3);
  expect(reports.reduce((sum, { unknown }) => sum + unknown, 0)).toBe(1);
});
