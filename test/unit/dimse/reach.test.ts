import { beforeAll, expect, test } from 'vitest';
import type { Principal } from '#core/access.ts';
import { storeObject } from '#core/archive/store.ts';
import { createProcedureStep } from '#core/procedure/procedure-step.ts';
import { addWorklistItem } from '#core/worklist/worklist.ts';
import { type BuilderDataSet, buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices } from '#test/fixtures/services.ts';
import { dataSet, scheduled, started } from '#test/fixtures/worklist.ts';
import { askDimse, type DimseStep } from '#test/property/dimse-door.ts';

/** A workstation that reaches one study is answered by every DIMSE service as by an archive that has no other. */
const OWN = { StudyInstanceUID: uid(91), SeriesInstanceUID: uid(92), SOPInstanceUID: uid(93), PatientID: 'OWN' };
const OTHER = { StudyInstanceUID: uid(1), SeriesInstanceUID: uid(2), SOPInstanceUID: uid(3), PatientID: 'SECRET' };
const WORKSTATION: Principal = {
  tenant: 'main',
  subject: 'WS1',
  roles: ['modality'],
  reach: [{ patients: [{ id: 'OWN' }] }],
};

type Services = ReturnType<typeof memoryServices>;
let full: Services;
let bare: Services;

const object = (attributes: BuilderDataSet): Uint8Array => buildDicom(attributes);
const step = ({ StudyInstanceUID, PatientID }: typeof OWN) =>
  started({
    PatientID,
    ScheduledStepAttributesSequence: {
      StudyInstanceUID,
      ReferencedStudySequence: '',
      AccessionNumber: 'A1',
      RequestedProcedureID: 'RP1',
      RequestedProcedureDescription: 'CT of the head',
      ScheduledProcedureStepID: 'SPS1',
      ScheduledProcedureStepDescription: 'CT head',
      ScheduledProtocolCodeSequence: '',
    },
  });

async function anArchive(...of: (typeof OWN)[]): Promise<Services> {
  const services = memoryServices();
  for (const one of of) {
    await storeObject(services, { tenant: 'main', source: 'CT1' }, chunked(object(one))).outcome;
    await addWorklistItem(
      services,
      'main',
      scheduled({ StudyInstanceUID: one.StudyInstanceUID, PatientID: one.PatientID }),
    );
    await createProcedureStep(services, `${one.StudyInstanceUID}.9`, step(one), { tenant: 'main', source: 'CT1' });
  }
  return services;
}

beforeAll(async () => {
  full = await anArchive(OWN, OTHER);
  bare = await anArchive(OWN);
});

const questions = (one: typeof OWN): readonly DimseStep[] => [
  ['C-FIND', 'PATIENT', { PatientID: '', NumberOfPatientRelatedStudies: '' }],
  ['C-FIND', 'STUDY', { StudyInstanceUID: '', PatientID: '', ModalitiesInStudy: '' }],
  ['C-FIND', 'STUDY', { StudyInstanceUID: one.StudyInstanceUID }],
  ['C-FIND', 'STUDY', { PatientID: one.PatientID, StudyInstanceUID: '' }],
  ['C-FIND', 'SERIES', { StudyInstanceUID: one.StudyInstanceUID, SeriesInstanceUID: '', Modality: 'CT' }],
  [
    'C-FIND',
    'IMAGE',
    { StudyInstanceUID: one.StudyInstanceUID, SeriesInstanceUID: one.SeriesInstanceUID, SOPInstanceUID: '' },
  ],
  ['C-GET', 'STUDY', { StudyInstanceUID: one.StudyInstanceUID }],
  ['C-GET', 'SERIES', { StudyInstanceUID: one.StudyInstanceUID, SeriesInstanceUID: one.SeriesInstanceUID }],
  [
    'C-GET',
    'IMAGE',
    {
      StudyInstanceUID: one.StudyInstanceUID,
      SeriesInstanceUID: one.SeriesInstanceUID,
      SOPInstanceUID: one.SOPInstanceUID,
    },
  ],
  ['C-FIND MWL', dataSet({ PatientID: '', StudyInstanceUID: '', ScheduledProcedureStepSequence: { Modality: '' } })],
  ['N-GET MPPS', `${one.StudyInstanceUID}.9`],
  ['N-SET MPPS', `${one.StudyInstanceUID}.9`, dataSet({ PerformedProcedureStepDescription: 'more' })],
  ['N-ACTION', one.SOPInstanceUID],
];

test.each([
  ['of others', OTHER],
  ['of his own', OWN],
])('what he asks %s is answered the same with and without the others there', async (_, one) => {
  for (const question of questions(one))
    expect(await askDimse(full, WORKSTATION, question), question.slice(0, 2).join(' ')).toBe(
      await askDimse(bare, WORKSTATION, question),
    );
});

test('he is given his own study, and can make it known that there is one', async () => {
  const found = await askDimse(full, WORKSTATION, ['C-FIND', 'STUDY', { StudyInstanceUID: '' }]);
  expect(found).toContain(OWN.StudyInstanceUID);
  expect(found).not.toContain(OTHER.StudyInstanceUID);
  expect(await askDimse(full, WORKSTATION, ['C-GET', 'STUDY', { StudyInstanceUID: OWN.StudyInstanceUID }])).toContain(
    OWN.SOPInstanceUID,
  );
  expect(await askDimse(full, WORKSTATION, ['N-ACTION', OWN.SOPInstanceUID])).toMatch(/^\[0,null,null,1/);
  expect(await askDimse(full, WORKSTATION, ['N-ACTION', OTHER.SOPInstanceUID])).toMatch(/^\[0,null,null,2/);
});

test('he stores and reports for his own patients alone: 0124 (refused: not authorized) else', async () => {
  const into = (attributes: Partial<typeof OWN>) => {
    const one = { ...OWN, SOPInstanceUID: uid(500), ...attributes };
    return askDimse(full, WORKSTATION, ['C-STORE', one.SOPInstanceUID, () => object(one)]);
  };
  expect(JSON.parse(await into({}))[0]).toMatchObject({ status: 0 });
  expect(
    JSON.parse(await into({ SOPInstanceUID: uid(501), StudyInstanceUID: OTHER.StudyInstanceUID }))[0],
  ).toMatchObject({ status: 0x0124 });
  expect(
    JSON.parse(await into({ SOPInstanceUID: uid(502), StudyInstanceUID: uid(77), PatientID: 'SECRET' }))[0],
  ).toMatchObject({ status: 0x0124 });
  expect(JSON.parse(await into({ SOPInstanceUID: OTHER.SOPInstanceUID }))[0]).toMatchObject({ status: 0x0124 });
  const report = (one: typeof OWN) => askDimse(full, WORKSTATION, ['N-CREATE MPPS', uid(600), step(one)]);
  expect(JSON.parse(await report({ ...OTHER }))[0]).toBe(0x0124);
  expect(JSON.parse(await report({ ...OWN }))[0]).toBe(0);
});
