import { expect, test, vi } from 'vitest';
import { type InstanceRecord, keys } from '#core/archive/records.ts';
import { rescan } from '#core/archive/rescan.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { buildDicom, JPEG_BASELINE, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

/**
 * Two who restore the same study put the same text and the same table of frames beside its objects. The second removed the first's to put his own; where
 * he died in between, an instance that could be found had neither metadata nor frames.
 */
test('text and table beside an object are there at any time while they are made again', async () => {
  const services = memoryServices({ limits: { metadataInIndexBytes: 1, frameTableInIndexBytes: 1 } });
  const frames = [Buffer.alloc(10, 1), Buffer.alloc(10, 2)];
  await store(services, buildDicom({ NumberOfFrames: 2 }, { transferSyntaxUID: JPEG_BASELINE, frames }));
  const item = await services.index.get(keys.instance(TENANT, uid(1), uid(2), uid(3)));
  const remove = vi.spyOn(services.blobs, 'delete');
  await rescan(services, TENANT, asRecord<InstanceRecord>(item!));
  expect(remove).not.toHaveBeenCalled();
});
