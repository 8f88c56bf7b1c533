import { ifMatch, object, text, time, whole } from './openapi-schema.ts';

/** What is said of the worklist and of procedure steps in the OpenAPI document. */

const uids = { type: 'array', items: text };
const dataSet = { type: 'object', description: 'a data set of the DICOM JSON Model (PS3.18 Annex F)' };

const item = object({
  version: { ...whole, description: 'also the ETag; give it in If-Match' },
  id: text,
  state: { enum: ['SCHEDULED', 'IN PROGRESS', 'COMPLETED', 'DISCONTINUED', 'CANCELED'] },
  startsAt: { ...text, description: 'YYYYMMDDHHMMSS, local to the site' },
  procedureSteps: uids,
  createdAt: time,
  updatedAt: time,
  item: dataSet,
});
const step = {
  version: whole,
  SOPInstanceUID: text,
  state: { enum: ['IN PROGRESS', 'COMPLETED', 'DISCONTINUED'] },
  StudyInstanceUIDs: uids,
  worklistItems: uids,
  source: text,
  createdAt: time,
  updatedAt: time,
  arrivedAt: { ...time, description: 'when every instance that it names was there' },
  made: { ...whole, description: 'instances that it names' },
};
const reference = object({ SOPClassUID: text, SOPInstanceUID: text, SeriesInstanceUID: text });
const changed = object({ ...step, repeated: { type: 'boolean' } }, ['arrivedAt']);
const query = (name: string, description: string, schema: Record<string, unknown> = text) => ({
  name,
  description,
  schema,
});
const paging = [
  query('after', 'continue behind this cursor (`next` of the page before)'),
  query('limit', 'entries of the page', { type: 'integer', minimum: 1 }),
];

export const SCHEDULE_OPERATIONS = {
  ListWorklist: {
    summary:
      'Scheduled procedure steps in the order of their start, filtered as a query is; or what has changed since a cursor',
    parameters: [
      ...paging,
      query('state', 'all, or some states, comma separated; absent: what is not over'),
      query('changedSince', '`cursor` of a list, or `next` of the changes before'),
      query('fuzzymatching', 'true: names match by their sound', { enum: ['true', 'false'] }),
      query('filters', 'each a parameter of its own: keyword, tag or path, as PatientName=DOE* or Modality=CT', {
        type: 'object',
        additionalProperties: text,
      }),
    ],
    response: {
      schema: object(
        {
          items: { type: 'array', items: item },
          next: text,
          cursor: text,
          removed: uids,
          more: { type: 'boolean' },
        },
        ['next', 'cursor', 'removed', 'more'],
      ),
    },
  },
  AddWorklistItem: {
    summary:
      'Schedule a procedure step. StudyInstanceUID, RequestedProcedureID and ScheduledProcedureStepID are given where they are absent; 409 when the study has an item for that scheduled step',
    requestBody: dataSet,
    response: { schema: item },
  },
  GetWorklistItem: { summary: 'One item', response: { schema: item } },
  ReplaceWorklistItem: {
    summary: 'Replace what an item says; its state stays. 412 when it is not the version of If-Match any more',
    headers: [ifMatch],
    requestBody: dataSet,
    response: { schema: item },
  },
  DecideWorklistItem: {
    summary: 'Take an item off the list, or put it back; 409 once its step has been started',
    requestBody: object({ action: { enum: ['cancel', 'reschedule'] } }),
    response: { schema: item },
  },
  DeleteWorklistItem: { summary: 'Remove an item' },
  ListProcedureSteps: {
    summary: 'Performed procedure steps, newest first, or those of a study',
    parameters: [...paging, query('StudyInstanceUID', 'the steps of this study')],
    response: {
      schema: object({ items: { type: 'array', items: object(step, ['arrivedAt']) }, next: text }, ['next']),
    },
  },
  GetProcedureStep: {
    summary: 'One performed procedure step, and the instances it names that have not arrived',
    response: {
      schema: object(
        { ...step, missing: whole, missingInstances: { type: 'array', items: reference }, item: dataSet },
        ['arrivedAt'],
      ),
    },
  },
  CreateProcedureStep: {
    summary:
      'N-CREATE: the same content again is the same step (`repeated`). A refusal has the DIMSE status in details.status',
    parameters: [query('source', 'AE title of who reported it')],
    requestBody: dataSet,
    response: { schema: changed },
  },
  SetProcedureStep: {
    summary:
      'N-SET: with an Idempotency-Key header it counts once, however often it comes (`repeated`). A refusal has the DIMSE status in details.status, and details.errorID',
    parameters: [query('source', 'AE title of who reported it')],
    headers: [{ name: 'Idempotency-Key', description: 'names the message', schema: text }],
    requestBody: dataSet,
    response: { schema: changed },
  },
} as const;
