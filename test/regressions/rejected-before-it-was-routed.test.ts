import { expect, test } from 'vitest';
import { checked } from '#edge/config.ts';
import type { EdgeContext } from '#edge/context.ts';
import { takeIn } from '#edge/forward/intake.ts';
import { DestinationQueue } from '#edge/forward/queue.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

/** Hidden before it was taken in, an instance had nothing that a condition could ask for: it was wanted by no archive, and never sent. */

const STATION = { StationName: 'CT-1' };
const StudyInstanceUID = uid(1000);
const SeriesInstanceUID = uid(1001);
const sop = (number: number): string => uid(1010 + number);
const slice = (number: number): Uint8Array =>
  buildDicom({ ...STATION, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID: sop(number), InstanceNumber: number });
const noteOn = (...numbers: number[]): Uint8Array =>
  buildDicom({
    ...STATION,
    StudyInstanceUID,
    SeriesInstanceUID: uid(1002),
    SOPInstanceUID: uid(1003),
    SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.59',
    Modality: 'KO',
    ConceptNameCodeSequence: [{ CodeValue: '113037', CodingSchemeDesignator: 'DCM', CodeMeaning: 'Rejected' }],
    CurrentRequestedProcedureEvidenceSequence: [
      {
        StudyInstanceUID,
        ReferencedSeriesSequence: [
          {
            SeriesInstanceUID,
            ReferencedSOPSequence: numbers.map((number) => ({
              ReferencedSOPClassUID: '1.2.840.10008.5.1.4.1.1.2',
              ReferencedSOPInstanceUID: sop(number),
            })),
          },
        ],
      },
    ],
  });

test('what a note has hidden goes to the archive whose condition asks for more than its record has', async () => {
  const services = memoryServices();
  const config = checked(
    { upstreams: [{ url: 'http://cloud', when: { StationName: ['CT-1'] } }], tenant: TENANT },
    'test',
  );
  const context = standIn<EdgeContext>({ services, tenant: TENANT, config, clock: services.clock });
  for (const bytes of [slice(1), slice(2), noteOn(1)]) await store(services, bytes);
  while ((await takeIn(context)) !== undefined);
  expect(await new DestinationQueue(services, TENANT, 'upstream').counts()).toMatchObject({ pending: 3 });
});
