import { REFUSALS } from '#core/deidentify/judge.ts';
import { DATE_POLICIES, PROFILE_FLAGS } from '#core/deidentify/profile.ts';
import { list, object, type Schema, text, time, whole } from './openapi-schema.ts';

/** What is said of de-identified copies in the OpenAPI document. */

const paged = [
  { name: 'after', description: 'the `next` of the page before', schema: text },
  { name: 'limit', description: 'items of the page', schema: whole },
];

const ruleMembers: Record<string, Schema> = {
  SOPClassUID: text,
  Modality: text,
  Manufacturer: text,
  ManufacturerModelName: text,
  ImageType: { ...text, description: 'one of the values of ImageType' },
  Rows: whole,
  Columns: whole,
  blackout: list(object({ left: whole, top: whole, width: whole, height: whole })),
  accept: { const: true },
};
const profile = object(
  {
    dates: { enum: DATE_POLICIES },
    ...Object.fromEntries(PROFILE_FLAGS.map((name) => [name, { type: 'boolean' }])),
    pixelRules: list(object(ruleMembers, Object.keys(ruleMembers))),
  },
  ['dates', ...PROFILE_FLAGS, 'pixelRules'],
);
const counts = object({ stored: whole, duplicate: whole, refused: whole, held: whole, failed: whole });
const runMembers = {
  version: whole,
  id: text,
  project: text,
  studies: list(text),
  state: { enum: ['running', 'done'] },
  by: text,
  requestedAt: time,
  finishedAt: time,
};
const progress = object(
  {
    version: whole,
    StudyInstanceUID: text,
    state: { enum: ['waiting', 'running', 'done'] },
    counts,
    instanceCount: whole,
    copy: { ...text, description: 'StudyInstanceUID of the copy' },
    after: object({ series: text, sop: text }),
    leaseUntil: time,
    stopped: { const: true },
    at: time,
  },
  ['copy', 'after', 'leaseUntil', 'stopped'],
);
const run = object({ ...runMembers, progress: list(progress) }, ['finishedAt']);
const uids = { StudyInstanceUID: text, SeriesInstanceUID: text, SOPInstanceUID: text };
const outcome = object(
  {
    ...uids,
    kind: { enum: ['stored', 'duplicate', 'refused', 'held', 'failed'] },
    reasons: list({ enum: Object.keys(REFUSALS) }),
    code: text,
    copy: object(uids),
  },
  ['reasons', 'code', 'copy'],
);
const project = object(
  { version: whole, project: text, profile, createdAt: time, createdBy: text, destroyedAt: time },
  ['destroyedAt'],
);
const patient = object({
  pseudonym: text,
  PatientID: text,
  IssuerOfPatientID: text,
  PatientName: text,
  shiftDays: { type: 'integer' },
});

export const DEIDENTIFICATION_OPERATIONS = {
  BeginDeidentification: {
    status: 202,
    summary:
      'Makes de-identified copies of studies (PS3.15 Annex E), in the background. A new project needs its profile; later runs may leave it out',
    requestBody: object({ studies: list(text), project: text, profile }, ['profile']),
    response: { schema: run },
  },
  ListDeidentifications: {
    summary: 'Runs, newest first',
    parameters: paged,
    response: { schema: object({ items: list(object(runMembers, ['finishedAt'])), next: text }, ['next']) },
  },
  GetDeidentification: { summary: 'A run, with the progress of each of its studies', response: { schema: run } },
  GetDeidentifiedInstances: {
    summary: 'What became of each instance, and why none was copied where that is so',
    parameters: paged,
    response: { schema: object({ items: list(outcome), next: text }, ['next']) },
  },
  ListDeidentificationProjects: {
    summary: 'The projects that copies are made for, with their profiles',
    response: { schema: object({ items: list(project) }) },
  },
  GetDeidentificationMapping: {
    summary: 'Who is who in a project: pseudonyms, patients, studies and their copies',
    parameters: paged,
    response: {
      schema: object(
        {
          patients: list(patient),
          studies: list(object({ StudyInstanceUID: text, copy: text, pseudonym: text })),
          next: text,
        },
        ['next'],
      ),
    },
  },
  DestroyDeidentificationMapping: {
    summary: 'Destroys who is who in a project, and the secret that its pseudonyms are made with. Cannot be undone',
    response: { schema: project },
  },
};
