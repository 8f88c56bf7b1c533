import type { Handler } from '#dicomweb/handler.ts';
import type { Route } from '#dicomweb/router.ts';
import { json } from './json.ts';
import { ACCESS_OPERATIONS } from './openapi-access.ts';
import { AUDIT_OPERATIONS } from './openapi-audit.ts';
import { CLIENT_OPERATIONS } from './openapi-clients.ts';
import { DEIDENTIFICATION_OPERATIONS } from './openapi-deidentify.ts';
import { LOGIN_OPERATIONS } from './openapi-login.ts';
import { SCHEDULE_OPERATIONS } from './openapi-schedule.ts';
import { SHARE_OPERATIONS } from './openapi-shares.ts';

type Schema = Record<string, unknown>;

interface Operation {
  readonly summary: string;
  readonly parameters?: readonly { name: string; description: string; schema: Schema }[];
  readonly requestBody?: Schema;
  /** media type of the request's body, where it is not JSON */
  readonly requestType?: string;
  /** media type and schema of the answer; absent: no body (204) */
  readonly response?: { readonly type?: string; readonly schema: Schema };
}

const text = { type: 'string' };
const whole = { type: 'integer', minimum: 0 };
const time = { type: 'integer', description: 'ms since 1970-01-01T00:00Z' };
const object = (properties: Record<string, Schema>, optional: string[] = []): Schema => ({
  type: 'object',
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
});
const page = (items: Schema): Schema => object({ items: { type: 'array', items }, next: text }, ['next']);

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
const held = object({
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
  existing: object({ sha256: text, sizeBytes: whole, storedAt: time, StudyInstanceUID: text, SeriesInstanceUID: text }),
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
    deletedAt: time,
    purgeAt: { type: ['integer', 'null'], description: 'ms since 1970; null: kept until a person decides' },
    reason: text,
    by: text,
  },
  ['SeriesInstanceUID', 'SOPInstanceUID'],
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
const gatewayReport = object({
  version: text,
  startedAt: time,
  everySeconds: { type: 'integer', minimum: 1, maximum: 86_400 },
  aeTitle: text,
  queues: {
    type: 'array',
    items: object(
      {
        upstream: text,
        link: { enum: ['online', 'offline', 'unknown'] },
        paused: { type: 'boolean' },
        waiting: whole,
        waitingBytes: whole,
        oldestAt: { type: ['integer', 'null'] },
        held: whole,
        lastError: text,
      },
      ['lastError'],
    ),
  },
  disk: object({ freeBytes: whole, cacheBytes: whole, daysLeft: { type: ['number', 'null'] } }),
  modalities: { type: 'array', items: object({ aeTitle: text, lastSeenAt: time, objects: whole }) },
  configuration: object({ number: { type: ['integer', 'null'] }, refused: object({ number: whole, reason: text }) }, [
    'refused',
  ]),
});
const gateway = object(
  {
    id: text,
    report: gatewayReport,
    receivedAt: time,
    isStale: { type: 'boolean', description: 'three reports in a row have not come' },
    configurationNumber: whole,
  },
  ['configurationNumber'],
);
const gatewayConfiguration = object({
  number: { type: 'integer', minimum: 1, description: 'grows with each' },
  document: { type: 'string', description: 'the configuration, as it was signed' },
  signature: { type: 'string', description: 'Ed25519, base64' },
});
const paging = [
  { name: 'after', description: 'continue behind this cursor (`next` of the page before)', schema: text },
  { name: 'limit', description: 'entries of the page', schema: { type: 'integer', minimum: 1 } },
];

/** By route name. A test fails when a route has no row here, or a row no route. */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  GetSession: { summary: 'Who is signed in; 401 when nobody is', response: { schema: session } },
  OpenSession: {
    summary: 'Exchange an access token for the session cookie',
    requestBody: object({ token: text }),
    response: { schema: session },
  },
  CloseSession: {
    summary: 'Sign out: 204, or 200 with where a browser is sent to sign out at the issuer as well',
    response: { schema: object({ next: text }, ['next']) },
  },
  GetEvents: {
    summary: 'The ordered feed of what happened: a page of JSON, or server-sent events for Accept: text/event-stream',
    parameters: paging,
    response: { schema: object({ events: { type: 'array', items: event }, next: text }) },
  },
  ListQuarantine: {
    summary: 'Conflicts held in quarantine, newest first',
    parameters: paging,
    response: { schema: page(held) },
  },
  GetQuarantined: { summary: 'One conflict', response: { schema: held } },
  GetQuarantinedContent: {
    summary: 'The held object, as received',
    response: { type: 'application/dicom', schema: { type: 'string', format: 'binary' } },
  },
  GetQuarantinedMetadata: {
    summary: 'The held object as DICOM JSON',
    response: { type: 'application/dicom+json', schema: { type: 'array', items: { type: 'object' } } },
  },
  GetQuarantinedRendered: {
    summary: 'What the held object looks like',
    response: { type: 'image/jpeg', schema: { type: 'string', format: 'binary' } },
  },
  DecideQuarantined: {
    summary:
      'Decide a conflict: replace the current object by the held one, or discard the held one; the loser goes to the trash',
    requestBody: object({ action: { enum: ['replace', 'discard'] }, reason: text }, ['reason']),
    response: { schema: object({ id: text, action: text }) },
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
  PutTransaction: {
    summary:
      'Create a store transaction under an id of your own, or find it again: 201, or 200 (docs/store-transactions.md)',
    requestBody: object(
      { StudyInstanceUID: text, objects: { type: 'array', maxItems: 1000, items: announcedObject } },
      ['StudyInstanceUID'],
    ),
    response: { schema: transaction },
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
    requestType: 'application/octet-stream',
    requestBody: { type: 'string', format: 'binary' },
  },
  CommitTransaction: {
    summary:
      'Store what was uploaded: the STOW-RS response; 202 with Retry-After while it is not known; 412 when parts are missing',
    response: { type: 'application/dicom+json', schema: { type: 'object' } },
  },
  DeleteTransaction: { summary: 'Abandon a store transaction that is not committed' },
  ListGateways: {
    summary: 'The edge gateways, with their last reports',
    response: { schema: object({ items: { type: 'array', items: gateway } }) },
  },
  GetGateway: { summary: 'One edge gateway, with its last report', response: { schema: gateway } },
  ReportGateway: {
    summary: 'A gateway’s report on itself; the answer has a signed configuration that it does not have yet',
    requestBody: gatewayReport,
    response: { schema: object({ configuration: gatewayConfiguration }, ['configuration']) },
  },
  ForgetGateway: { summary: 'Forget a gateway that has been taken down' },
  GetGatewayConfiguration: {
    summary: 'The signed configuration for a gateway',
    response: { schema: gatewayConfiguration },
  },
  PutGatewayConfiguration: {
    summary: 'Lay down a configuration for a gateway, signed by the key that the gateway trusts',
    requestBody: gatewayConfiguration,
  },
  WithdrawGatewayConfiguration: { summary: 'Give a gateway no configuration any more; what it has taken it keeps' },
  ...AUDIT_OPERATIONS,
  ...ACCESS_OPERATIONS,
  ...CLIENT_OPERATIONS,
  ...LOGIN_OPERATIONS,
  ...DEIDENTIFICATION_OPERATIONS,
  ...SCHEDULE_OPERATIONS,
  ...SHARE_OPERATIONS,
  GetOpenApi: { summary: 'This document', response: { schema: { type: 'object' } } },
};

const problem = { $ref: '#/components/schemas/Problem' };

/** The OpenAPI 3.1 document of the routes. */
export function openApiDocument(routes: readonly Route[]): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const operation = OPERATIONS[route.name];
    if (!operation) throw new Error(`the route ${route.name} is not described`);
    const parameters = [
      ...[...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: text })),
      ...(operation.parameters ?? []).map((parameter) => ({ ...parameter, in: 'query' })),
    ];
    const { response, requestBody, requestType = 'application/json' } = operation;
    const methods = paths[`/api${route.path}`] ?? {};
    paths[`/api${route.path}`] = methods;
    methods[route.method.toLowerCase()] = {
      operationId: route.name,
      summary: operation.summary,
      'x-nephos-action': route.action,
      ...(route.action === 'public' ? { security: [] } : {}),
      ...(parameters.length > 0 ? { parameters } : {}),
      ...(requestBody ? { requestBody: { required: true, content: { [requestType]: { schema: requestBody } } } } : {}),
      responses: {
        ...(response
          ? {
              200: {
                description: 'done',
                content: { [response.type ?? 'application/json']: { schema: response.schema } },
              },
            }
          : { 204: { description: 'done' } }),
        default: { description: 'refused', content: { 'application/problem+json': { schema: problem } } },
      },
    };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Nephos',
      version: '1',
      description: 'The archive’s own API beside DICOMweb.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{ bearer: [] }, { session: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        session: { type: 'apiKey', in: 'cookie', name: 'nephos_session' },
      },
      schemas: {
        Problem: object({ status: whole, code: text, title: text, details: { type: 'object' } }, ['details']),
      },
    },
  };
}

export const openApi = (routes: readonly Route[]): Handler => {
  let document: Record<string, unknown> | undefined;
  return async () => {
    document ??= openApiDocument(routes);
    return json(200, document);
  };
};
