import { expect, test } from 'vitest';
import { moveToTrash } from '#core/archive/remove.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { assemble } from '#core/assemble.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, studyRecord, TENANT } from '#test/fixtures/services.ts';

test('a study that was removed and sent again elsewhere is not taken for the one a process remembers', async () => {
  const services = memoryServices();
  const other = assemble(services);
  const slice = (n: number, Modality: string): Uint8Array =>
    buildDicom({ SOPInstanceUID: uid(100 + n), Modality, InstanceNumber: n });
  // As many writes in its second life as in its first: by number alone the two could not be told apart.
  for (const n of [1, 2, 3]) await store(services, slice(n, 'CT'));
  await moveToTrash(other, TENANT, [{ StudyInstanceUID: uid(1) }], {
    kind: 'deleted',
    reason: 'sent in error',
    by: 'x',
  });
  for (const n of [4, 5, 6]) await store(other, slice(n, 'MR'));
  await store(services, slice(8, 'CT'));
  expect(await studyRecord(services, uid(1))).toMatchObject({ instanceCount: 4, modalities: { MR: 3, CT: 1 } });
  expect((await verifyArchive(services, TENANT)).miscounted).toEqual([]);
});
