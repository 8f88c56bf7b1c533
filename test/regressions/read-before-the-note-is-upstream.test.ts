import { afterAll, beforeAll, expect, test } from 'vitest';
import { cStore as storeAnyClass } from '#test/edge/clinic.ts';
import {
  cFind,
  cMove,
  cStore,
  forwarded,
  key,
  localInstances,
  type Site,
  sliceOf,
  slices,
  startSite,
} from '#test/edge/read-site.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';

/**
 * What a note had hidden at a gateway was found there, and a large image was delivered, as long as the archive had not got the note: it was taken for
 * what only the archive has. Small ones counted as failures.
 */

let site: Site;
beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site?.close());

const STUDY = 810;
const LARGE = { Rows: 1024, Columns: 1024, PixelData: new Uint8Array(2 * 1024 * 1024) };
const note = buildDicom({
  StudyInstanceUID: uid(STUDY),
  SeriesInstanceUID: uid(8101),
  SOPInstanceUID: uid(8102),
  SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.59',
  Modality: 'KO',
  ConceptNameCodeSequence: [{ CodeValue: '113037', CodingSchemeDesignator: 'DCM', CodeMeaning: 'Rejected' }],
  CurrentRequestedProcedureEvidenceSequence: [
    {
      StudyInstanceUID: uid(STUDY),
      ReferencedSeriesSequence: [
        {
          SeriesInstanceUID: sliceOf(STUDY, 0).SeriesInstanceUID,
          ReferencedSOPSequence: [
            {
              ReferencedSOPClassUID: '1.2.840.10008.5.1.4.1.1.2',
              ReferencedSOPInstanceUID: sliceOf(STUDY, 0).SOPInstanceUID,
            },
          ],
        },
      ],
    },
  ],
});

test('what is hidden here is neither found nor delivered while the archive has not got the note', async () => {
  await cStore(site, slices(STUDY, 2, LARGE));
  await forwarded(site, uid(STUDY));
  site.upstream.refusesStores = true;
  expect(await storeAnyClass(site.gateway, [note])).toEqual([0]);
  expect(await localInstances(site, uid(STUDY))).toHaveLength(2);

  const keys = { '0020000D': key('UI', uid(STUDY)), '0020000E': key('UI', uid(STUDY * 10)) };
  const { matches } = await cFind(site, 'IMAGE', { ...keys, '00080018': key('UI') });
  expect(matches.map((match) => match['00080018']?.Value)).toEqual([[sliceOf(STUDY, 1).SOPInstanceUID]]);
  expect(await cMove(site, 'SERIES', keys)).toMatchObject({ status: 0, completed: 1, failed: 0 });
});
