import {
  addGrant,
  addRestriction,
  beginEmergency,
  EMERGENCY_REASONS,
  endEmergency,
  isActive,
  policyOf,
  removeGrant,
  removeRestriction,
  setShowRestricted,
} from '#core/access/changes.ts';
import { readGrantee, readPatient, readReach, readRoles, readSubjects, readText } from '#core/access/form.ts';
import type { Emergency } from '#core/access/policy.ts';
import { StudyReach } from '#core/access/reach.ts';
import { authorize, PERMISSIONS, type Principal, ROLES } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import { isUID } from '#core/ids.ts';
import { parseQuery } from '#core/search/query.ts';
import { searchStudyRecords } from '#core/search/studies.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { HttpResponse } from '#dicomweb/http.ts';
import type { Route } from '#dicomweb/router.ts';
import { json, readJson } from './json.ts';

/** What is told to whoever runs the archive when somebody takes emergency access: nothing of patient, study or person. */
export interface Alarm {
  readonly tenant: string;
  /** of the emergency */
  readonly id: string;
}

const REASON_CHARACTERS = 200;
const NOTE_CHARACTERS = 200;
/** restricted studies that one answer names */
const RESTRICTED_ROWS = 50;

const gone = (): HttpResponse => ({ status: 204, headers: { 'cache-control': 'no-store' } });

/** All that is laid down, but for emergencies. */
const getPolicy: Handler = async ({ services, principal }) => {
  const { head, grants, restrictions } = await policyOf(services, principal.tenant);
  const roles = ROLES.filter((role) => PERMISSIONS[role].has('retrieve') || PERMISSIONS[role].has('search'));
  return json(200, { showRestricted: head.showRestricted, grants, restrictions, roles });
};

const putPolicy: Handler = async ({ request, services, principal }) => {
  const { showRestricted } = await readJson(request);
  if (typeof showRestricted !== 'boolean') throw new PacsError('BAD_REQUEST', 'showRestricted must be true or false');
  await setShowRestricted(services, principal.tenant, showRestricted);
  return json(200, { showRestricted });
};

const postGrant: Handler = async ({ request, services, principal, facts }) => {
  const { to, rules, note = '' } = await readJson(request, 512 * 1024);
  const asked = { to: readGrantee(to), rules: readReach(rules), note: readText('note', note, 0, NOTE_CHARACTERS) };
  const grant = await addGrant(services, principal, asked);
  facts.about = `grant ${grant.id}`;
  return json(201, grant);
};

const deleteGrant: Handler = async ({ params, services, principal, facts }) => {
  facts.about = `grant ${params.id}`;
  await removeGrant(services, principal.tenant, params.id!);
  return gone();
};

const postRestriction: Handler = async ({ request, services, principal, facts }) => {
  const { patient, reason, subjects = [], roles = [] } = await readJson(request);
  const asked = {
    patient: readPatient(patient, 'patient'),
    reason: readText('reason', reason, 3, REASON_CHARACTERS),
    subjects: readSubjects(subjects),
    roles: readRoles(roles),
  };
  const restriction = await addRestriction(services, principal, asked);
  facts.about = `restriction ${restriction.id}`;
  return json(201, restriction);
};

const deleteRestriction: Handler = async ({ params, services, principal, facts }) => {
  facts.about = `restriction ${params.id}`;
  await removeRestriction(services, principal.tenant, params.id!);
  return gone();
};

/** What a person sees of his own; who runs the archive sees all of it. */
const view = ({ patient, ...emergency }: Emergency, now: number) => ({
  ...emergency,
  ofPatient: patient !== undefined,
  active: isActive(emergency, now),
});

/**
 * Takes reach to a study, or to the studies of its patient, or of a patient who is named: with a reason. Whether there is such a study or patient
 * is not told.
 */
const postEmergency =
  (onAlarm: (alarm: Alarm) => void): Handler =>
  async ({ request, services, principal, facts }) => {
    const { StudyInstanceUID, patient, reasonCode, reason } = await readJson(request);
    if ((StudyInstanceUID === undefined) === (patient === undefined))
      throw new PacsError('BAD_REQUEST', 'name a StudyInstanceUID or a patient');
    if (StudyInstanceUID !== undefined && !(typeof StudyInstanceUID === 'string' && isUID(StudyInstanceUID)))
      throw new PacsError('BAD_REQUEST', 'StudyInstanceUID is not a UID');
    if (typeof reasonCode !== 'string' || !Object.hasOwn(EMERGENCY_REASONS, reasonCode))
      throw new PacsError('BAD_REQUEST', `reasonCode must be one of ${Object.keys(EMERGENCY_REASONS).join(', ')}`);
    const text = readText('reason', reason, 5, REASON_CHARACTERS);
    facts.purpose = `${reasonCode}: ${text}`;
    if (StudyInstanceUID !== undefined) facts.studies = [StudyInstanceUID as string];
    const emergency = await beginEmergency(services, principal, {
      ...(StudyInstanceUID !== undefined && { StudyInstanceUID: StudyInstanceUID as string }),
      ...(patient !== undefined && { patient: readPatient(patient, 'patient') }),
      reasonCode,
      reason: text,
    });
    facts.about = `emergency ${emergency.id}`;
    onAlarm({ tenant: principal.tenant, id: emergency.id });
    return json(201, view(emergency, services.clock.now()));
  };

const ownEmergencies: Handler = async ({ services, principal }) => {
  const now = services.clock.now();
  const { emergencies } = await policyOf(services, principal.tenant);
  const own = emergencies.filter((one) => one.subject === principal.subject && isActive(one, now));
  return json(200, { items: own.map((one) => view(one, now)), now, reasons: EMERGENCY_REASONS });
};

const listEmergencies: Handler = async ({ services, principal }) => {
  const now = services.clock.now();
  const { emergencies } = await policyOf(services, principal.tenant);
  return json(200, { items: emergencies.toReversed().map((one) => view(one, now)), now });
};

/** A person ends what he took; who administers ends anybody's. */
const deleteEmergency: Handler = async ({ params, services, principal, facts }) => {
  const ended = await endEmergency(services, principal.tenant, params.id!, {
    by: principal.subject,
    of: mayAdminister(principal) ? undefined : principal.subject,
  });
  facts.about = `emergency ${ended.id}`;
  if (ended.StudyInstanceUID !== undefined) facts.studies = [ended.StudyInstanceUID];
  return json(200, view(ended, services.clock.now()));
};

const mayAdminister = (principal: Principal): boolean => {
  try {
    authorize(principal, 'administer');
    return true;
  } catch {
    return false;
  }
};

/**
 * Studies that a search (the parameters of QIDO-RS) would find, were their patients not under a restriction: their UIDs and nothing else. An
 * empty list where the archive is not to show that there are any.
 */
const listRestricted: Handler = async ({ request, services, principal, facts }) => {
  const query = parseQuery(request.query, { level: 'study' }, services.limits);
  facts.studies = [];
  const reach = await StudyReach.open(services, principal, 'search');
  if (reach === undefined || !reach.showsRestricted) return json(200, { items: [], more: false });
  const searched = { ...services, reach: reach.restrictedOnly() };
  const page = await searchStudyRecords(searched, principal.tenant, { ...query, offset: 0, limit: RESTRICTED_ROWS });
  const items = page.rows.map(({ StudyInstanceUID }) => ({ StudyInstanceUID }));
  return json(200, { items, more: page.more || page.cut });
};

/** @param onAlarm told of every emergency access, when it counts already */
export const accessRoutes = (onAlarm: (alarm: Alarm) => void = () => {}): Route[] => [
  { method: 'GET', path: '/access', action: 'administer', name: 'GetAccessPolicy', handler: getPolicy },
  { method: 'PUT', path: '/access', action: 'administer', name: 'PutAccessPolicy', handler: putPolicy },
  { method: 'POST', path: '/grants', action: 'administer', name: 'AddGrant', handler: postGrant },
  { method: 'DELETE', path: '/grants/{id}', action: 'administer', name: 'RemoveGrant', handler: deleteGrant },
  { method: 'POST', path: '/restrictions', action: 'administer', name: 'AddRestriction', handler: postRestriction },
  {
    method: 'DELETE',
    path: '/restrictions/{id}',
    action: 'administer',
    name: 'RemoveRestriction',
    handler: deleteRestriction,
  },
  {
    method: 'POST',
    path: '/emergencies',
    action: 'breakGlass',
    name: 'BeginEmergencyAccess',
    handler: postEmergency(onAlarm),
    recordedAs: ['EmergencyOverrideStarted', 'E'],
  },
  { method: 'GET', path: '/emergencies', action: 'administer', name: 'ListEmergencyAccess', handler: listEmergencies },
  {
    method: 'GET',
    path: '/emergencies/own',
    action: 'breakGlass',
    name: 'GetOwnEmergencyAccess',
    handler: ownEmergencies,
  },
  {
    method: 'DELETE',
    path: '/emergencies/{id}',
    action: 'breakGlass',
    name: 'EndEmergencyAccess',
    handler: deleteEmergency,
    recordedAs: ['EmergencyOverrideStopped', 'E'],
  },
  {
    method: 'GET',
    path: '/restricted',
    action: 'breakGlass',
    name: 'SearchRestricted',
    handler: listRestricted,
    recordedAs: ['Query', 'E'],
  },
];
