import { expect, test } from 'vitest';
import { FROM_UPSTREAM } from '#core/archive/evict.ts';
import { keys } from '#core/archive/records.ts';
import { moveToTrash } from '#core/archive/remove.ts';
import { storeObject } from '#core/archive/store.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

/**
 * A gateway fetched what it had hidden itself, in another encoding, while the archive had not heard of the note yet: each such copy went into its
 * quarantine, where nobody looks, and stayed for ever.
 */
test.each(['hidden', 'visible'])('a fetched copy of what is here, %s, is not kept aside', async (how) => {
  const services = memoryServices();
  const StudyInstanceUID = uid(1);
  const image = { StudyInstanceUID, SeriesInstanceUID: uid(2), SOPInstanceUID: uid(3) };
  await store(services, buildDicom(image));
  if (how === 'hidden')
    await moveToTrash(services, TENANT, [image], { kind: 'rejected', reason: 'rejected', by: `note ${uid(4)}` });
  const objects = async (): Promise<string[]> =>
    (await Array.fromAsync(services.blobs.list(`${TENANT}/`)))
      .map(({ key }) => key)
      .filter((key) => key.endsWith('.dcm'));
  const before = await objects();
  const { outcome } = storeObject(
    services,
    { tenant: TENANT, source: FROM_UPSTREAM, StudyInstanceUID },
    (async function* () {
      yield buildDicom({ ...image, ImageComments: 'as the archive has it' });
    })(),
  );
  expect(await outcome).toMatchObject({ kind: 'duplicate' });
  expect(await objects()).toEqual(before);
  const { partition } = keys.held(TENANT, '');
  expect((await services.index.query({ partition, limit: 10 })).records).toEqual([]);
});
