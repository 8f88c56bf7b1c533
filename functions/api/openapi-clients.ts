import { list, object, text, time } from './openapi-schema.ts';

/** What is said of machine clients, their tokens, the enrolment of gateways and of who sends people here in the OpenAPI document. */

const jwk = { type: 'object', description: 'a public JWK: EC P-256 or P-384, Ed25519, RSA from 2048 bits on' };
const certificate = {
  ...text,
  description: 'SHA256:<fingerprint>, or a name in it: DNS:…, URI:…, IP Address:…, email:…',
};
const method = { enum: ['client_secret', 'private_key_jwt', 'certificate'] };
const client = {
  id: { ...text, description: 'client_id' },
  name: text,
  roles: list(text),
  method,
  gateway: { ...text, description: 'of an edge gateway: its id' },
  secrets: list(object({ id: text, createdAt: time, expiresAt: time })),
  keys: list(jwk),
  certificates: list(certificate),
  createdAt: time,
  createdBy: text,
};
const days = { type: 'integer', minimum: 1, maximum: 730, default: 180 };
const enrolment = {
  id: text,
  gateway: text,
  createdAt: time,
  createdBy: text,
  expiresAt: time,
  configurationKey: { ...text, description: 'Ed25519, PEM: whose signed configurations the gateway takes' },
};

const display = object({
  studies: list(
    object({
      ...{ StudyInstanceUID: text, patientName: text, date: text, description: text, modalities: list(text) },
      keyImages: {
        ...list(
          object({
            ...{ StudyInstanceUID: text, SeriesInstanceUID: text, SOPInstanceUID: text },
            frames: list({ type: 'integer', minimum: 1 }),
          }),
        ),
        description: 'with keyImagesOnly: the images that key objects of the study name',
      },
    }),
  ),
  isExact: { type: 'boolean', description: 'nothing is left to choose' },
});

export const CLIENT_OPERATIONS = {
  InvokeImageDisplay: {
    summary:
      'The studies that a request of Invoke Image Display (IHE RAD-106) means; the page at /iid brings its parameters',
    requestBody: object(
      {
        requestType: { enum: ['STUDY', 'PATIENT'] },
        ...Object.fromEntries(
          ['studyUID', 'accessionNumber', 'patientID', 'patientName', 'patientBirthDate', 'lowerDateTime']
            .concat(['upperDateTime', 'mostRecentResults', 'modalitiesInStudy', 'viewerType'])
            .concat(['diagnosticQuality', 'keyImagesOnly'])
            .map((name) => [name, text]),
        ),
      },
      [
        ...['studyUID', 'accessionNumber', 'patientID', 'patientName', 'patientBirthDate', 'lowerDateTime'],
        ...['upperDateTime', 'mostRecentResults', 'modalitiesInStudy', 'viewerType', 'diagnosticQuality'],
        'keyImagesOnly',
      ],
    ),
    response: { schema: display },
  },
  BeginLaunch: {
    summary: 'SMART App Launch: where the browser is sent, for a record system that is registered here',
    requestBody: object({ iss: text, launch: text }),
    response: { schema: object({ next: text }) },
  },
  EndLaunch: {
    summary: 'Back from the record system; it may sign the person in',
    requestBody: object({ code: text, state: text }),
    response: { schema: object({ id: text, signedIn: { type: 'boolean' } }) },
  },
  OpenLaunched: {
    summary: 'The studies of what the record system has on its screen; once',
    requestBody: object({ id: text }),
    response: { schema: display },
  },
  ListClients: {
    summary: 'Machine clients, never their secrets; and the roles that may be given',
    response: {
      schema: object({
        items: list(object(client, ['gateway'])),
        roles: list(object({ role: text, permits: list(text) })),
      }),
    },
  },
  CreateClient: {
    status: 201,
    summary: 'Register a machine client; for client_secret this answer is the only place where the secret stands',
    requestBody: object(
      {
        name: text,
        roles: { ...list(text), minItems: 1 },
        method,
        keys: { ...list(jwk), maxItems: 4 },
        certificates: { ...list(certificate), maxItems: 4 },
        expiresInDays: days,
      },
      ['keys', 'certificates', 'expiresInDays'],
    ),
    response: { schema: object({ ...client, secret: text }, ['gateway', 'secret']) },
  },
  GetClient: { summary: 'One machine client', response: { schema: object(client, ['gateway']) } },
  ChangeClient: {
    summary: 'Change what is named; it counts from the next request on, also for tokens that are out',
    requestBody: object({ name: text, roles: list(text), keys: list(jwk), certificates: list(certificate) }, [
      'name',
      'roles',
      'keys',
      'certificates',
    ]),
    response: { schema: object(client, ['gateway']) },
  },
  RevokeClient: { summary: 'Refuse a machine client from now on, with every token that it has' },
  IssueClientSecret: {
    status: 201,
    summary: 'A second secret, so that the first can be replaced while it still holds; two at most',
    requestBody: object({ expiresInDays: days }, ['expiresInDays']),
    response: { schema: object({ ...client, secret: text }, ['gateway']) },
  },
  RevokeClientSecret: { summary: 'Take a secret back' },
  RequestToken: {
    summary:
      'An access token for a machine client (RFC 6749 §4.4), which shows itself by its secret or by an assertion (RFC 7523); errors as in RFC 6749 §5.2',
    requestType: 'application/x-www-form-urlencoded',
    requestBody: object(
      {
        grant_type: { enum: ['client_credentials'] },
        scope: { ...text, description: 'fewer roles than the client has, separated by spaces' },
        client_id: text,
        client_secret: text,
        client_assertion_type: { enum: ['urn:ietf:params:oauth:client-assertion-type:jwt-bearer'] },
        client_assertion: text,
      },
      ['scope', 'client_id', 'client_secret', 'client_assertion_type', 'client_assertion'],
    ),
    response: {
      schema: object({
        access_token: text,
        token_type: { enum: ['Bearer'] },
        expires_in: { type: 'integer', description: 's' },
        scope: text,
      }),
    },
  },
  ListEnrolments: {
    summary: 'Enrolments of gateways that wait, never their codes',
    response: { schema: object({ items: list(object(enrolment, ['configurationKey'])) }) },
  },
  CreateEnrolment: {
    status: 201,
    summary:
      'A one-time code by which one edge gateway gets its identity; this answer is the only place where it stands',
    requestBody: object(
      {
        gateway: text,
        expiresInMinutes: { type: 'integer', minimum: 1, maximum: 10_080, default: 60 },
        configurationKey: enrolment.configurationKey,
      },
      ['expiresInMinutes', 'configurationKey'],
    ),
    response: { schema: object({ ...enrolment, code: text }, ['configurationKey']) },
  },
  WithdrawEnrolment: { summary: 'Let a code open nothing any more' },
  ExchangeEnrolment: {
    status: 201,
    summary: 'Exchange a code, once, for a gateway’s identity: a client that signs with the key',
    requestBody: object({ code: text, key: jwk }),
    response: {
      schema: object(
        {
          clientId: text,
          audience: { ...text, description: 'for its assertions' },
          gateway: text,
          tenant: text,
          configurationKey: enrolment.configurationKey,
        },
        ['configurationKey'],
      ),
    },
  },
};
