import { binary, type Operation, object, page, paging, type Schema, text, time, whole } from './openapi-schema.ts';

/** What is said of the session, events, quarantine, the trash and store transactions in the OpenAPI document. */

const uids = { StudyInstanceUID: text, SeriesInstanceUID: text, SOPInstanceUID: text };
const session = object(
  {
    tenant: text,
    subject: text,
    roles: { type: 'array', items: text },
    permits: { type: 'array', items: text, description: 'what the roles permit (docs/roles.md)' },
    keepsPeople: { type: 'boolean', description: 'people have accounts at this archive' },
    hasAccount: { type: 'boolean', description: 'this session is of one of them' },
  },
  ['keepsPeople', 'hasAccount'],
);
const attributes = {
  type: 'object',
  description:
    'of its patient and its study, in the DICOM JSON Model (PS3.18 Annex F): PatientName, PatientID, IssuerOfPatientID, PatientBirthDate, StudyDate, StudyDescription, Modality or ModalitiesInStudy, SeriesDescription; absent in what was put here before they were kept',
};
const held = object(
  {
    id: text,
    kind: {
      enum: [
        'otherPatient',
        'otherStudy',
        'otherSopClass',
        'otherTransferSyntax',
        'otherPixels',
        'otherHeader',
        'uploaded',
      ],
    },
    ...uids,
    sizeBytes: whole,
    sha256: text,
    receivedAt: time,
    source: text,
    reason: text,
    attributes,
    link: { type: 'string', description: 'the share link by which it came' },
    existing: object({
      sha256: text,
      sizeBytes: whole,
      storedAt: time,
      StudyInstanceUID: text,
      SeriesInstanceUID: text,
    }),
  },
  ['attributes', 'link'],
);
const version = object({
  id: text,
  current: { type: 'boolean' },
  ...uids,
  SOPClassUID: text,
  transferSyntaxUID: text,
  sizeBytes: whole,
  sha256: text,
  storedAt: time,
  source: text,
});
const trash = object(
  {
    version: whole,
    id: text,
    kind: { enum: ['deleted', 'rejected', 'replaced'] },
    level: { enum: ['study', 'series', 'instance'] },
    ...uids,
    state: { enum: ['moving', 'complete', 'restoring', 'purging'] },
    instanceCount: whole,
    attributes,
    deletedAt: time,
    purgeAt: { type: ['integer', 'null'], description: 'ms since 1970; null: kept until a person decides' },
    reason: text,
    by: text,
  },
  ['SeriesInstanceUID', 'SOPInstanceUID', 'attributes'],
);
const verification = object(
  {
    damaged: { ...whole, description: 'objects that are known to be damaged' },
    pass: {
      ...object({ startedAt: time, endedAt: time, objects: whole, bytes: whole }, ['endedAt']),
      description: 'the one that goes on (no endedAt), or the last one; absent: there was none yet',
    },
  },
  ['pass'],
);
const damaged = object(
  {
    ...uids,
    blobKey: { ...text, description: 'where its bytes stand, below the folder of objects' },
    problem: { enum: ['missing', 'altered', 'unreadable'] },
    foundAt: time,
    attributes,
  },
  ['attributes'],
);
const event = object(
  {
    cursor: text,
    type: {
      enum: [
        'InstanceStored',
        'StudyQuiet',
        'Conflict',
        'ConflictResolved',
        'Rejected',
        'Deleted',
        'Restored',
        'Purged',
        'ProcedureStepStarted',
        'ProcedureStepCompleted',
        'ProcedureStepDiscontinued',
        'StudyComplete',
        'EmergencyAccess',
        'ShareCreated',
        'ShareOpened',
        'ShareRevoked',
        'ShareExpired',
      ],
    },
    at: time,
    ...uids,
    id: text,
    sha256: text,
    instances: whole,
  },
  ['SeriesInstanceUID', 'SOPInstanceUID', 'id', 'sha256', 'instances'],
);
const announcedObject = object({ sizeBytes: whole, sha256: text, SOPInstanceUID: text }, ['SOPInstanceUID']);
const transaction = object(
  {
    id: text,
    state: { enum: ['open', 'storing', 'done'] },
    expiresAt: time,
    StudyInstanceUID: text,
    objects: {
      type: 'array',
      items: object(
        {
          ...(announcedObject.properties as Record<string, Schema>),
          partBytes: whole,
          parts: whole,
          arrived: {
            type: 'array',
            description: 'ranges of parts, first and last',
            items: { type: 'array', items: whole },
          },
          outcome: { enum: ['stored', 'duplicate', 'replaced', 'held', 'failed'] },
        },
        ['SOPInstanceUID', 'arrived', 'outcome'],
      ),
    },
  },
  ['StudyInstanceUID'],
);
const upload = object({
  part: whole,
  method: { enum: ['PUT'] },
  url: text,
  headers: { type: 'object', additionalProperties: text },
  authenticate: { type: 'boolean', description: 'whether the usual Authorization goes along' },
  expiresAt: time,
});

export const ARCHIVE_OPERATIONS: Readonly<Record<string, Operation>> = {
  GetSession: { summary: 'Who is signed in; 401 when nobody is', response: { schema: session } },
  OpenSession: {
    summary: 'Exchange an access token for the session cookie',
    requestBody: object({ token: text }),
    response: { schema: session },
  },
  CloseSession: {
    summary: 'Sign out: 204, or 200 with where a browser is sent to sign out at the issuer as well',
    response: { schema: object({ next: text }, ['next']) },
    alsoAnswers: { 204: { description: 'done; there is nowhere to go' } },
  },
  GetEvents: {
    summary:
      'The ordered feed of what happened, oldest first: a page of JSON, or, for Accept: text/event-stream, what has happened since the cursor and then what happens. Keep `next` (or the id of the last server-sent event) and continue behind it',
    parameters: paging,
    headers: [
      {
        name: 'Last-Event-ID',
        description: 'of a stream: continue behind this event; without it and `after`, only what is to come',
        schema: text,
      },
    ],
    response: {
      schema: object({ events: { type: 'array', items: event }, next: text }),
      alsoAs: {
        'text/event-stream': {
          type: 'string',
          description: '`id` is the cursor, `event` the type, `data` the event as JSON without its cursor',
        },
      },
    },
  },
  ListQuarantine: {
    summary: 'Conflicts held in quarantine, newest first',
    parameters: paging,
    response: { schema: page(held) },
  },
  GetQuarantined: { summary: 'One conflict', response: { schema: held } },
  GetQuarantinedContent: {
    summary: 'The held object, as received',
    response: { type: 'application/dicom', schema: binary },
  },
  GetQuarantinedMetadata: {
    summary: 'The held object as DICOM JSON',
    response: { type: 'application/dicom+json', schema: { type: 'array', items: { type: 'object' } } },
  },
  GetQuarantinedRendered: {
    summary: 'What the held object looks like',
    response: { type: 'image/jpeg', schema: binary },
  },
  DecideQuarantined: {
    summary:
      'Decide a conflict: replace the current object by the held one, or discard the held one; the loser goes to the trash',
    requestBody: object({ action: { enum: ['replace', 'discard'] }, reason: text }, ['reason']),
    response: { schema: object({ id: text, action: text }) },
  },
  ListVersions: {
    summary:
      'What has arrived under a SOPInstanceUID and is kept: the current object, then those it superseded under the conflict policy version, newest first',
    parameters: [paging[1]!],
    response: { schema: object({ items: { type: 'array', items: version } }) },
  },
  GetVersionContent: {
    summary: 'The object of a version, as received',
    response: { type: 'application/dicom', schema: binary },
  },
  ListTrash: {
    summary: 'What was deleted, rejected or replaced, newest first',
    parameters: paging,
    response: { schema: page(trash) },
  },
  GetTrashed: { summary: 'One entry of the trash', response: { schema: trash } },
  DecideTrashed: {
    summary: 'Restore an entry of the trash',
    requestBody: object({ action: { enum: ['restore'] } }),
    response: { schema: object({ id: text, restored: whole, conflicting: whole }) },
  },
  GetVerification: {
    summary: 'How far the archive has come with comparing its objects with their SHA-256, and how many are damaged',
    response: { schema: verification },
  },
  ListDamaged: {
    summary: 'Objects that are not, or not readable, as they arrived',
    parameters: paging,
    response: { schema: page(damaged) },
  },
  PutTransaction: {
    summary:
      'Create a store transaction under an id of your own, or find it again: 201, or 200 (docs/store-transactions.md)',
    requestBody: object(
      { StudyInstanceUID: text, objects: { type: 'array', maxItems: 1000, items: announcedObject } },
      ['StudyInstanceUID'],
    ),
    response: { schema: transaction },
    alsoAnswers: { 201: { description: 'created', schema: transaction } },
  },
  GetTransaction: { summary: 'How far a store transaction has come', response: { schema: transaction } },
  GrantParts: {
    summary: 'Where parts of an object are to be uploaded',
    requestBody: object({
      object: { type: 'integer', minimum: 1 },
      parts: { type: 'array', maxItems: 100, items: object({ part: { type: 'integer', minimum: 1 }, sha256: text }) },
    }),
    response: { schema: object({ uploads: { type: 'array', items: upload } }) },
  },
  PutTransactionPart: {
    summary: 'Upload a part, on hosts without signed URLs; Content-Digest carries its SHA-256',
    headers: [
      { name: 'Content-Digest', description: '`sha-256=:…:` of the part (RFC 9530), as announced', schema: text },
    ],
    requestType: 'application/octet-stream',
    requestBody: binary,
  },
  CommitTransaction: {
    summary:
      'Store what was uploaded: the STOW-RS response; 202 with Retry-After while it is not known; 412 when parts are missing',
    response: {
      type: 'application/dicom+json',
      schema: { type: 'object' },
      alsoAs: { 'application/dicom+xml': text },
    },
    alsoAnswers: {
      202: {
        description:
          'with Retry-After, the state: still being stored, commit again. As application/dicom+json, the STOW-RS response: some objects were not stored',
        schema: transaction,
      },
    },
  },
  DeleteTransaction: { summary: 'Abandon a store transaction that is not committed' },
};
