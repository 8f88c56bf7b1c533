import { object, text, whole } from './openapi-schema.ts';

/** What is said of the audit trail and of access tokens in the OpenAPI document. */

const entry = {
  type: 'object',
  properties: {
    strand: text,
    n: { ...whole, description: 'place in its strand' },
    prev: { ...text, description: 'SHA-256 of the entry before in the strand' },
    at: { type: 'integer', description: 'ms since 1970-01-01T00:00Z' },
    event: text,
    action: { enum: ['C', 'R', 'U', 'D', 'E'] },
    outcome: { enum: [0, 4, 8, 12] },
    subject: text,
    roles: { type: 'array', items: text },
    door: { enum: ['http', 'dicom', 'command', 'system'] },
    from: { ...text, description: 'address of the caller; behind a front (CloudFront), as the front says it' },
    via: { ...text, description: 'address of the front, which the connection came from' },
    transaction: text,
    studies: { type: 'array', items: text },
    instances: whole,
    destination: text,
    keys: { type: 'array', items: text, description: 'attributes that a query asked about; never their values' },
    purpose: text,
    error: text,
    repeated: { ...whole, description: 'how many of the same kind it stands for' },
  },
  required: ['strand', 'n', 'prev', 'at', 'event', 'action', 'outcome', 'subject', 'roles', 'door'],
};

const parameter = (name: string, description: string, schema: Record<string, unknown> = text) => ({
  name,
  description,
  schema,
});

const issued = {
  id: text,
  name: text,
  subject: { ...text, description: 'whom the audit trail names' },
  roles: { type: 'array', items: text },
  createdAt: whole,
  createdBy: text,
  expiresAt: { type: ['integer', 'null'] },
};

export const AUDIT_OPERATIONS = {
  ListTokens: {
    summary:
      'The tokens that have been given out, newest first, never the tokens themselves; and the roles that may be given',
    response: {
      schema: object({
        items: { type: 'array', items: object(issued) },
        roles: {
          type: 'array',
          items: object({ role: text, permits: { type: 'array', items: text } }),
          description: 'those that the caller may give, and what each permits',
        },
      }),
    },
  },
  IssueToken: {
    status: 201,
    summary: 'A new access token; this answer is the only place where it ever stands',
    requestBody: object(
      {
        name: text,
        subject: text,
        roles: { type: 'array', items: text, minItems: 1 },
        expiresInDays: { type: ['integer', 'null'], minimum: 1, maximum: 3650 },
      },
      ['expiresInDays'],
    ),
    response: { schema: object({ ...issued, token: text }) },
  },
  RevokeToken: { summary: 'The token, and every session opened with it, stops working at once' },
  GetAudit: {
    summary:
      'Entries of the audit trail, in its order or the newest first: as JSON, as DICOM audit messages or as FHIR AuditEvents',
    parameters: [
      parameter('from', 'ISO 8601; entries from this time on'),
      parameter('to', 'ISO 8601; entries before this time'),
      parameter('event', 'an event by its name: InstancesAccessed, Query, Login …'),
      parameter('subject', 'who did it'),
      parameter('study', 'StudyInstanceUID'),
      parameter('outcome', '0 success, 4 refused, 8 failed', { enum: ['0', '4', '8', '12'] }),
      parameter('order', 'the order of the trail, or the newest first', { enum: ['asc', 'desc'], default: 'asc' }),
      parameter('after', '`next` of the page before, in the same order'),
      parameter('limit', 'entries of the page', { type: 'integer', minimum: 1, maximum: 1000 }),
      parameter('format', 'how they are to be told', { enum: ['json', 'dicom', 'fhir'] }),
    ],
    response: {
      schema: {
        type: 'object',
        properties: { entries: { type: 'array', items: entry }, next: text, more: { type: 'boolean' } },
        required: ['entries', 'next', 'more'],
      },
      // With X-Next and X-More in the head.
      alsoAs: { 'application/xml-seq': text, 'application/fhir+json': { type: 'object' } },
    },
  },
};
