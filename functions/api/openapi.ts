import type { Handler } from '#dicomweb/handler.ts';
import type { Route } from '#dicomweb/router.ts';
import { json } from './json.ts';
import { ACCESS_OPERATIONS } from './openapi-access.ts';
import { ARCHIVE_OPERATIONS } from './openapi-archive.ts';
import { AUDIT_OPERATIONS } from './openapi-audit.ts';
import { CLIENT_OPERATIONS } from './openapi-clients.ts';
import { COST_OPERATIONS } from './openapi-costs.ts';
import { DEIDENTIFICATION_OPERATIONS } from './openapi-deidentify.ts';
import { GATEWAY_OPERATIONS } from './openapi-gateways.ts';
import { LOGIN_OPERATIONS } from './openapi-login.ts';
import { ROUTING_OPERATIONS } from './openapi-routing.ts';
import { SCHEDULE_OPERATIONS } from './openapi-schedule.ts';
import { type Operation, object, type Schema, text, whole } from './openapi-schema.ts';
import { SHARE_OPERATIONS } from './openapi-shares.ts';

/** By route name. A test fails when a route has no row here, or a row no route. */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  ...ARCHIVE_OPERATIONS,
  ...COST_OPERATIONS,
  ...GATEWAY_OPERATIONS,
  ...AUDIT_OPERATIONS,
  ...ACCESS_OPERATIONS,
  ...CLIENT_OPERATIONS,
  ...LOGIN_OPERATIONS,
  ...DEIDENTIFICATION_OPERATIONS,
  ...SCHEDULE_OPERATIONS,
  ...SHARE_OPERATIONS,
  ...ROUTING_OPERATIONS,
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
      ...(operation.headers ?? []).map((parameter) => ({ ...parameter, in: 'header' })),
    ];
    const { requestBody, requestType = 'application/json' } = operation;
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
        ...answersOf(operation),
        default: { description: 'refused', content: { 'application/problem+json': { schema: problem } } },
      },
    };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Nephos',
      version: '1',
      description:
        'The archive’s own API. Objects are stored, found and retrieved by DICOMweb (PS3.18), whose root is /dicomweb on the same origin and takes the same tokens.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{ bearer: [] }, { session: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: 'nephos_session',
          description: 'over TLS its name is __Host-nephos_session',
        },
      },
      schemas: {
        Problem: object({ status: whole, code: text, title: text, details: { type: 'object' } }, ['details']),
      },
    },
  };
}

function answersOf({ response, status = response ? 200 : 204, alsoAnswers = {} }: Operation): Record<string, unknown> {
  const answer = (description: string, content: Readonly<Record<string, Schema>>) => ({
    description,
    ...(Object.keys(content).length > 0 && {
      content: Object.fromEntries(Object.entries(content).map(([type, schema]) => [type, { schema }])),
    }),
  });
  const done = response ? { [response.type ?? 'application/json']: response.schema, ...response.alsoAs } : {};
  const others = Object.entries(alsoAnswers).map(([code, { description, type = 'application/json', schema }]) => [
    code,
    answer(description, schema ? { [type]: schema } : {}),
  ]);
  return { [status]: answer(status === 303 ? 'go to Location' : 'done', done), ...Object.fromEntries(others) };
}

export const openApi = (routes: readonly Route[]): Handler => {
  let document: Record<string, unknown> | undefined;
  return async () => {
    document ??= openApiDocument(routes);
    return json(200, document);
  };
};
