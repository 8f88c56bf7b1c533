import { expect, test, vi } from 'vitest';
import { rebuildIndex } from '#core/archive/rebuild.ts';
import { keys } from '#core/archive/records.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const SOP = uid(3);
const CLAIM = keys.sop(TENANT, SOP);
const object = (study: number): Uint8Array =>
  buildDicom({ StudyInstanceUID: uid(study), SeriesInstanceUID: uid(study + 1), SOPInstanceUID: SOP });

/** Both noted under one name what they superseded. The one that came too late took back the note of the other, and a rebuild brought the first object back. */
test('of two that supersede an object at once each keeps its note, and a rebuild finds the same object current', async () => {
  const policy = { conflict: 'version' } as const;
  const services = memoryServices({ policy });
  const { index } = services;
  // The one that is superseded stands behind the others in the order of a rebuild.
  await store(services, object(900));
  const write = index.write.bind(index);
  let isFirst = true;
  vi.spyOn(index, 'write').mockImplementation(async (operations) => {
    const supersedes = operations.some(
      (one) => one.kind === 'put' && one.key.partition === CLAIM.partition && typeof one.if === 'object',
    );
    if (supersedes && isFirst) {
      isFirst = false;
      await store(services, object(500));
    }
    return write(operations);
  });
  await store(services, object(100));
  expect(isFirst).toBe(false);
  const current = await index.get(CLAIM);
  expect(current?.StudyInstanceUID).toBe(uid(100));

  const fresh = memoryServices({ ports: { blobs: services.blobs }, policy });
  expect(await rebuildIndex(fresh, TENANT)).toMatchObject({ instances: 1, superseded: 2, failed: [] });
  expect((await fresh.index.get(CLAIM))?.sha256).toBe(current?.sha256);
});
