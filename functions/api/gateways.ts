import type { Principal } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import {
  CONFIGURATION_CHARACTERS,
  forgetGateway,
  gatewayConfiguration,
  getGateway,
  listGateways,
  putGatewayConfiguration,
  readGatewayReport,
  recordReport,
  withdrawGatewayConfiguration,
} from '#core/gateways.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { Route } from '#dicomweb/router.ts';
import { json, readJson } from './json.ts';

/** Each character of a document may become six of JSON. */
const CONFIGURATION_BODY_BYTES = 8 * CONFIGURATION_CHARACTERS;
const SIGNATURE = /^[A-Za-z0-9+/]{86}==$/;

/** A gateway's own token is bound to its id: it reports for itself alone. */
function checkIdentity({ roles, subject }: Principal, id: string): void {
  if (!roles.includes('admin') && subject !== `gateway:${id}`)
    throw new PacsError('FORBIDDEN', 'this is another gateway');
}

const list: Handler = async ({ services, principal }) =>
  json(200, { items: await listGateways(services, principal.tenant) });

const get: Handler = async ({ params, services, principal }) =>
  json(200, await getGateway(services, principal.tenant, params.id!));

/** The answer has the configuration that waits for the gateway. */
const report: Handler = async ({ request, params, services, principal }) => {
  const id = params.id!;
  checkIdentity(principal, id);
  const configuration = await recordReport(services, principal.tenant, id, readGatewayReport(await readJson(request)));
  return json(200, configuration === undefined ? {} : { configuration });
};

const forget: Handler = async ({ params, services, principal }) => {
  await forgetGateway(services, principal.tenant, params.id!);
  return { status: 204, headers: { 'cache-control': 'no-store' } };
};

const getConfiguration: Handler = async ({ params, services, principal }) => {
  const configuration = await gatewayConfiguration(services, principal.tenant, params.id!);
  if (configuration === undefined) throw new PacsError('NOT_FOUND', 'there is no configuration for this gateway');
  return json(200, configuration);
};

const putConfiguration: Handler = async ({ request, params, services, principal }) => {
  const { number, document, signature } = await readJson(request, CONFIGURATION_BODY_BYTES);
  if (!Number.isSafeInteger(number) || (number as number) < 1)
    throw new PacsError('BAD_REQUEST', 'number must be a whole number from 1');
  if (typeof document !== 'string') throw new PacsError('BAD_REQUEST', 'document must be the text that was signed');
  if (document.length > CONFIGURATION_CHARACTERS)
    throw new PacsError('TOO_LARGE', 'the document is too large', {
      details: { limitCharacters: CONFIGURATION_CHARACTERS },
    });
  if (typeof signature !== 'string' || !SIGNATURE.test(signature))
    throw new PacsError('BAD_REQUEST', 'signature must be an Ed25519 signature in base64');
  const configuration = { number: number as number, document, signature };
  await putGatewayConfiguration(services, principal.tenant, params.id!, configuration);
  return { status: 204, headers: { 'cache-control': 'no-store' } };
};

const withdrawConfiguration: Handler = async ({ params, services, principal }) => {
  await withdrawGatewayConfiguration(services, principal.tenant, params.id!);
  return { status: 204, headers: { 'cache-control': 'no-store' } };
};

export const GATEWAY_ROUTES: readonly Route[] = [
  { method: 'GET', path: '/gateways', action: 'monitor', name: 'ListGateways', handler: list },
  { method: 'GET', path: '/gateways/{id}', action: 'monitor', name: 'GetGateway', handler: get },
  { method: 'PUT', path: '/gateways/{id}', action: 'reportAsGateway', name: 'ReportGateway', handler: report },
  { method: 'DELETE', path: '/gateways/{id}', action: 'administer', name: 'ForgetGateway', handler: forget },
  {
    method: 'GET',
    path: '/gateways/{id}/configuration',
    action: 'administer',
    name: 'GetGatewayConfiguration',
    handler: getConfiguration,
  },
  {
    method: 'PUT',
    path: '/gateways/{id}/configuration',
    action: 'administer',
    name: 'PutGatewayConfiguration',
    handler: putConfiguration,
  },
  {
    method: 'DELETE',
    path: '/gateways/{id}/configuration',
    action: 'administer',
    name: 'WithdrawGatewayConfiguration',
    handler: withdrawConfiguration,
  },
];
