import { expect, test } from 'vitest';
import { discardHeld, listHeld } from '#core/archive/quarantine.ts';
import { rebuildIndex } from '#core/archive/rebuild.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { listTrash } from '#core/archive/trash.ts';
import type { Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

/** Whoever had to decide about what is held, or wanted something back from the trash, was shown UIDs alone. */
const INSTANCE = { StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2), SOPInstanceUID: uid(3) };
const OF_ADA = { PatientName: 'Lovelace^Ada', PatientID: '1815', StudyDate: '20240305', Modality: 'CT' };
const OF_GRACE = { PatientName: 'Hopper^Grace', PatientID: '1906', StudyDate: '20240306', Modality: 'CT' };
const DELETED = { kind: 'deleted', reason: 'wrong', by: 'admin' } as const;

const heldOf = async (services: Services) => (await listHeld(services, TENANT, '', 10)).items[0]!;
const trashOf = async (services: Services) => (await listTrash(services, TENANT, '', 10)).items[0]!;
const name = (set: object | undefined) =>
  (set as Record<string, { Value: unknown[] }> | undefined)?.['00100010']?.Value;
const ADA = [{ Alphabetic: 'Lovelace^Ada' }];
const GRACE = [{ Alphabetic: 'Hopper^Grace' }];

/** What lies beside the objects, as text. */
async function notesOf({ blobs }: Services): Promise<string> {
  const texts: string[] = [];
  for await (const { key } of blobs.list(`${TENANT}/_manifests/`)) {
    texts.push(Buffer.from(await blobs.readBytes(key)).toString());
  }
  return texts.join('\n');
}

test('what is held says whose it is, also after a rebuild; the note beside the bytes does not', async () => {
  const services = memoryServices();
  await store(services, buildDicom({ ...INSTANCE, ...OF_ADA }));
  await store(services, buildDicom({ ...INSTANCE, ...OF_GRACE }));
  const { attributes } = await heldOf(services);
  expect(name(attributes)).toEqual(GRACE);
  expect(attributes).toMatchObject({ '00080060': { Value: ['CT'] }, '00080020': { Value: ['20240306'] } });
  expect(await notesOf(services)).toContain(uid(3));
  expect(await notesOf(services)).not.toContain('Hopper');

  const fresh = memoryServices({ ports: { blobs: services.blobs } });
  await rebuildIndex(fresh, TENANT);
  expect((await heldOf(fresh)).attributes).toEqual(attributes);

  await discardHeld(fresh, TENANT, (await heldOf(fresh)).id, { by: 'admin', reason: 'wrong' });
  expect(name((await trashOf(fresh)).attributes)).toEqual(GRACE);
});

test('what was deleted or replaced says whose it was, also after a rebuild; the note beside the bytes does not', async () => {
  const services = memoryServices({ policy: { conflict: 'replace' } });
  await store(services, buildDicom({ ...INSTANCE, ...OF_ADA }));
  await store(services, buildDicom({ ...INSTANCE, ...OF_ADA, InstanceNumber: '7' }));
  expect(await trashOf(services)).toMatchObject({ kind: 'replaced' });
  expect(name((await trashOf(services)).attributes)).toEqual(ADA);
  await moveToTrash(services, TENANT, [{ StudyInstanceUID: uid(1) }], DELETED);
  const { kind, attributes } = await trashOf(services);
  expect(kind).toBe('deleted');
  expect(name(attributes)).toEqual(ADA);
  expect(attributes).toMatchObject({ '00080061': { Value: ['CT'] } });
  expect(await notesOf(services)).not.toContain('Lovelace');

  const fresh = memoryServices({ ports: { blobs: services.blobs } });
  await rebuildIndex(fresh, TENANT);
  for (const entry of (await listTrash(fresh, TENANT, '', 10)).items) expect(name(entry.attributes)).toEqual(ADA);
});
