import { type Operation, object, text, time, whole } from './openapi-schema.ts';

/** What is said of edge gateways in the OpenAPI document. */

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

export const GATEWAY_OPERATIONS: Readonly<Record<string, Operation>> = {
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
};
