import { expect, test, vi } from 'vitest';
import { keys } from '#core/archive/records.ts';
import { verifyArchive } from '#core/archive/verify.ts';
import type { Services } from '#core/services.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, studyRecord, TENANT } from '#test/fixtures/services.ts';

/** The commit of this UID is carried out, its answer lost, and refused when it is repeated; the first `before` ones are refused alone. */
function repeating({ index }: Services, sop: string, before: number) {
  const claim = keys.sop(TENANT, sop);
  const write = index.write.bind(index);
  let left = before;
  return vi.spyOn(index, 'write').mockImplementation(async (operations, options) => {
    const claims = operations.some((one) => one.kind === 'put' && one.key.partition === claim.partition);
    if (!claims) return write(operations, options);
    if (left-- > 0) return { committed: false, failed: [0] };
    await write(operations, options);
    return write(operations, options);
  });
}

/**
 * DynamoDB knows a transaction again for ten minutes. Where the answer to a commit is lost, and the process stands still for longer before it repeats it, the
 * repetition is refused: the UID is taken, by these very bytes. They were taken for a duplicate of themselves, and removed.
 */
test.each([
  ['in the queue', 0],
  ['in the conflict, whose owner had just been deleted', 1],
])('a commit that is refused when it is repeated, as it has been done, keeps its bytes (%s)', async (_, before) => {
  const services = memoryServices();
  const spy = repeating(services, uid(3), before);
  expect(await store(services, buildDicom({}))).toMatchObject({ kind: 'stored' });
  spy.mockRestore();
  expect(await verifyArchive(services, TENANT)).toMatchObject({ intact: 1, damaged: [], orphans: [], miscounted: [] });
});

/** Who stored it by that way was told of success, and what the note rejects stayed as it was. */
test.each([0, 1])(
  'a rejection note whose commit is repeated hides what it names (%i refused before)',
  async (before) => {
    const services = memoryServices();
    await store(services, buildDicom({}));
    const spy = repeating(services, uid(9), before);
    const ReferencedSOPSequence = [
      { ReferencedSOPClassUID: '1.2.840.10008.5.1.4.1.1.2', ReferencedSOPInstanceUID: uid(3) },
    ];
    const note = buildDicom({
      ...{
        SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.59',
        SOPInstanceUID: uid(9),
        SeriesInstanceUID: uid(8),
        Modality: 'KO',
      },
      ...{ PixelData: undefined, Rows: undefined, Columns: undefined },
      ConceptNameCodeSequence: [{ CodeValue: '113001', CodingSchemeDesignator: 'DCM', CodeMeaning: 'title' }],
      CurrentRequestedProcedureEvidenceSequence: [
        {
          StudyInstanceUID: uid(1),
          ReferencedSeriesSequence: [{ SeriesInstanceUID: uid(2), ReferencedSOPSequence }],
        },
      ],
    });
    expect(await store(services, note)).toMatchObject({ kind: 'stored' });
    spy.mockRestore();
    expect(await services.index.get(keys.instance(TENANT, uid(1), uid(2), uid(3)))).toBeUndefined();
    expect((await studyRecord(services, uid(1)))?.instanceCount).toBe(1);
  },
);
