import { expect, test } from 'vitest';
import { commitmentOf } from '#core/archive/commitment.ts';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { sweep } from '#core/archive/sweep.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { buildDicom, JPEG_BASELINE, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const small = buildDicom({ ImageComments: 'small' });
const large = buildDicom({ PixelData: new Uint8Array(50_000).fill(7) });
const frames = [Buffer.alloc(10, 1), Buffer.alloc(10, 2)];
const compressed = buildDicom({ NumberOfFrames: 2 }, { transferSyntaxUID: JPEG_BASELINE, frames });

/**
 * The index of a region may know what its bucket has not got yet. After the first region had been lost, whoever sent such an image again was told that it
 * was here already: the only bytes of it that there were had been in his hand, and were let go.
 */
test.each([
  ['small', small, {}],
  ['large', large, { wholeObjectBytes: 10_000 }],
  ['with texts and tables beside it', compressed, { metadataInIndexBytes: 1, frameTableInIndexBytes: 1 }],
])('an object that is sent again is kept where the bytes of the first are missing: %s', async (_, bytes, limits) => {
  const services = memoryServices({ limits });
  await store(services, bytes);
  const list = () => Array.fromAsync(services.blobs.list(`${TENANT}/${uid(1)}/`));
  const before = await list();
  const item = await services.index.get(keys.instance(TENANT, uid(1), uid(2), uid(3)));
  const { blobKey } = asRecord<InstanceRecord>(item!);
  for (const { key } of before) await services.blobs.delete(key);

  expect((await store(services, bytes)).kind).toBe('duplicate');
  expect(await list()).toEqual(before);
  expect(Buffer.from(await services.blobs.readBytes(blobKey)).equals(bytes)).toBe(true);
  await sweep(services, TENANT, 0);
  expect(await verifyArchive(services, TENANT)).toMatchObject({ intact: 1, damaged: [], orphans: [], miscounted: [] });
});

/** The index alone was asked: a gateway was told that it may let go of what had not arrived in the region that answered. */
test('storage commitment is given for no instance whose bytes are missing', async () => {
  const services = memoryServices();
  const [CT, MR] = [uid(2), uid(4)];
  for (const [series, number] of [
    [CT, 10],
    [CT, 11],
    [CT, 12],
    [MR, 13],
  ] as const)
    await store(services, buildDicom({ SeriesInstanceUID: series, SOPInstanceUID: uid(number) }));
  const item = await services.index.get(keys.instance(TENANT, uid(1), CT, uid(11)));
  const { blobKey, SOPClassUID, sha256 } = asRecord<InstanceRecord>(item!);
  const bytes = await services.blobs.readBytes(blobKey);
  await services.blobs.delete(blobKey);
  const references = [13, 12, 11, 10].map((number) => ({ SOPClassUID, SOPInstanceUID: uid(number) }));
  const vouched = async () => {
    const { committed, failed } = await commitmentOf(services, TENANT, { references });
    return { committed: committed.map(({ SOPInstanceUID }) => SOPInstanceUID), failed };
  };
  expect(await vouched()).toEqual({
    committed: [13, 12, 10].map(uid),
    failed: [{ SOPClassUID, SOPInstanceUID: uid(11), reason: 'processingFailure' }],
  });
  await services.blobs.put(blobKey, bytes, { sha256 });
  expect(await vouched()).toMatchObject({ failed: [] });
});
