import type { AuditSource } from '#core/audit/dicom-message.ts';
import type { RecordSystem } from '#core/ports/record-system.ts';
import type { TokenVerifier } from '#core/ports/token-verifier.ts';
import type { TokenStore } from '#core/tokens.ts';
import type { Route } from '#dicomweb/router.ts';
import { type Alarm, accessRoutes } from './access.ts';
import { accountRoutes } from './account.ts';
import { getAudit } from './audit.ts';
import { CLIENT_ROUTES } from './clients.ts';
import { COST_ROUTES } from './costs.ts';
import { DEIDENTIFICATION_ROUTES } from './deidentifications.ts';
import { enrolmentRoutes } from './enrolments.ts';
import { getEvents } from './events.ts';
import { GATEWAY_ROUTES } from './gateways.ts';
import { GUEST_API_ROUTES } from './guest.ts';
import { imageDisplayRoutes } from './image-display.ts';
import { type LoginDoor, loginRoutes } from './login.ts';
import { openApi } from './openapi.ts';
import { PROCEDURE_STEP_ROUTES } from './procedure-steps.ts';
import {
  decideQuarantined,
  getQuarantined,
  getQuarantinedContent,
  getQuarantinedMetadata,
  getQuarantinedRendered,
  listQuarantine,
} from './quarantine.ts';
import { ROUTING_ROUTES } from './routing.ts';
import { closeSession, getSession, openSession } from './session.ts';
import { SHARE_ROUTES } from './shares.ts';
import { clientTokenRoutes } from './token.ts';
import { tokenRoutes } from './tokens.ts';
import { TRANSACTION_ROUTES } from './transactions.ts';
import { decideTrashed, getTrashed, listTrashed } from './trash.ts';
import { userRoutes } from './users.ts';
import { getVerification, listDamagedObjects } from './verification.ts';
import { getVersionContent, getVersions } from './versions.ts';
import { WORKLIST_ROUTES } from './worklist.ts';

/** The archive's own HTTP API beside DICOMweb, below /api. Described by openapi.ts; a test compares the two. */
export function apiRoutes(
  tokens: TokenStore,
  verifier: TokenVerifier = tokens,
  source: AuditSource = { id: 'nephos', aeTitle: 'NEPHOS' },
  login?: LoginDoor,
  onAlarm?: (alarm: Alarm) => void,
  recordSystems: readonly RecordSystem[] = [],
): Route[] {
  const routes: Route[] = [
    // Public: answers 401 itself, which is how the page learns that it must sign in.
    { method: 'GET', path: '/session', action: 'public', name: 'GetSession', handler: getSession(login) },
    // Public: the access token is in the body.
    {
      method: 'POST',
      path: '/session',
      action: 'public',
      name: 'OpenSession',
      handler: openSession(tokens, verifier),
      recordedAs: ['Login', 'E'],
    },
    // Public: ends whatever session the cookie names.
    {
      method: 'DELETE',
      path: '/session',
      action: 'public',
      name: 'CloseSession',
      handler: closeSession(tokens, login?.logins),
      recordedAs: ['Logout', 'E'],
    },
    { method: 'GET', path: '/audit', action: 'readAudit', name: 'GetAudit', handler: getAudit(source) },
    { method: 'GET', path: '/events', action: 'readEvents', name: 'GetEvents', handler: getEvents },
    { method: 'GET', path: '/quarantine', action: 'administer', name: 'ListQuarantine', handler: listQuarantine },
    {
      method: 'GET',
      path: '/quarantine/{id}',
      action: 'administer',
      name: 'GetQuarantined',
      handler: getQuarantined,
      recordedAs: ['InstancesAccessed', 'R'],
    },
    {
      method: 'POST',
      path: '/quarantine/{id}',
      action: 'administer',
      name: 'DecideQuarantined',
      handler: decideQuarantined,
      recordedAs: ['InstancesAccessed', 'U'],
    },
    {
      method: 'GET',
      path: '/quarantine/{id}/content',
      action: 'administer',
      name: 'GetQuarantinedContent',
      handler: getQuarantinedContent,
      recordedAs: ['InstancesAccessed', 'R'],
    },
    {
      method: 'GET',
      path: '/quarantine/{id}/rendered',
      action: 'administer',
      name: 'GetQuarantinedRendered',
      handler: getQuarantinedRendered,
      recordedAs: ['InstancesAccessed', 'R'],
    },
    {
      method: 'GET',
      path: '/quarantine/{id}/metadata',
      action: 'administer',
      name: 'GetQuarantinedMetadata',
      handler: getQuarantinedMetadata,
      recordedAs: ['InstancesAccessed', 'R'],
    },
    {
      method: 'GET',
      path: '/versions/{instance}',
      action: 'administer',
      name: 'ListVersions',
      handler: getVersions,
      recordedAs: ['InstancesAccessed', 'R'],
    },
    {
      method: 'GET',
      path: '/versions/{instance}/{id}/content',
      action: 'administer',
      name: 'GetVersionContent',
      handler: getVersionContent,
      recordedAs: ['InstancesAccessed', 'R'],
    },
    { method: 'GET', path: '/trash', action: 'restore', name: 'ListTrash', handler: listTrashed },
    { method: 'GET', path: '/trash/{id}', action: 'restore', name: 'GetTrashed', handler: getTrashed },
    { method: 'POST', path: '/trash/{id}', action: 'restore', name: 'DecideTrashed', handler: decideTrashed },
    { method: 'GET', path: '/verification', action: 'administer', name: 'GetVerification', handler: getVerification },
    {
      method: 'GET',
      path: '/verification/damaged',
      action: 'administer',
      name: 'ListDamaged',
      handler: listDamagedObjects,
    },
    ...TRANSACTION_ROUTES,
    ...WORKLIST_ROUTES,
    ...DEIDENTIFICATION_ROUTES,
    ...PROCEDURE_STEP_ROUTES,
    ...GATEWAY_ROUTES,
    ...ROUTING_ROUTES,
    ...COST_ROUTES,
    ...tokenRoutes(tokens),
    ...accessRoutes(onAlarm),
    ...loginRoutes(login),
    ...accountRoutes(login),
    ...userRoutes(login),
    ...CLIENT_ROUTES,
    ...clientTokenRoutes(tokens),
    ...enrolmentRoutes(tokens),
    ...imageDisplayRoutes(tokens, recordSystems),
    ...SHARE_ROUTES,
    ...GUEST_API_ROUTES,
  ];
  // Public: it names routes, not data.
  routes.push({ method: 'GET', path: '/openapi.json', action: 'public', name: 'GetOpenApi', handler: openApi(routes) });
  return routes;
}
