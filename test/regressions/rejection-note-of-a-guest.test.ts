import { expect, test } from 'vitest';
import { PERMISSIONS } from '#core/access.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import { anArchive, OTHER } from '#test/unit/share-links/receiver.ts';

const UPLOAD = { 'content-type': 'application/dicom', accept: 'application/dicom+json' };

/** A Key Object Selection document that asks for an image of a study to be hidden (IHE RAD IOCM). */
const NOTE = {
  SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.59',
  Modality: 'KO',
  PixelData: undefined,
  Rows: undefined,
  Columns: undefined,
  ConceptNameCodeSequence: [{ CodeValue: '113001', CodingSchemeDesignator: 'DCM', CodeMeaning: 'Rejected' }],
  CurrentRequestedProcedureEvidenceSequence: [
    {
      StudyInstanceUID: OTHER,
      ReferencedSeriesSequence: [
        {
          SeriesInstanceUID: uid(51),
          ReferencedSOPSequence: [
            { ReferencedSOPClassUID: '1.2.840.10008.5.1.4.1.1.2', ReferencedSOPInstanceUID: uid(21) },
          ],
        },
      ],
    },
  ],
};

test('a rejection note that a guest sends in is refused, and hides nothing of studies that are not his', async () => {
  const { share, enter, ask, object, staff } = await anArchive();
  const imagesOfOther = async (): Promise<number> => {
    const found = await ask('GET', `/dicomweb/studies/${OTHER}/instances`, { as: staff() });
    return found.status === 204 || found.text === '' ? 0 : found.json.length;
  };
  const link = await share({ scopes: ['upload'], upload: { into: 'new', keep: 'store' } });
  const cookie = await enter(link);
  const note = object(uid(700), 701, NOTE);
  const answer = await ask('POST', `/s/${link.id}/dicomweb/studies`, { cookie, body: note, headers: UPLOAD });
  expect(answer.status).toBe(409);
  expect(answer.json['00081198'].Value[0]['00081197'].Value).toEqual([0x0124]);
  expect(await imagesOfOther()).toBe(1);
  // Sent by staff it is stored and hides the image; sent once more by the guest, it does not do so again.
  expect((await ask('POST', '/dicomweb/studies', { as: staff(), body: note, headers: UPLOAD })).status).toBe(200);
  expect(await imagesOfOther()).toBe(0);
});

test('whoever may store may reject: transactions and the landing bucket ask for the one right alone', () => {
  for (const [role, actions] of Object.entries(PERMISSIONS))
    if (actions.has('store')) expect([role, actions.has('reject')]).toEqual([role, true]);
});
