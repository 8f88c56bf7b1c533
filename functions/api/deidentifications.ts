import { readProfile } from '#core/deidentify/profile.ts';
import { listProjects, readMapping } from '#core/deidentify/projects.ts';
import type { RunRecord } from '#core/deidentify/records.ts';
import { beginRun, destroyWhoIsWho, getRun, listRuns, readOutcomes } from '#core/deidentify/runs.ts';
import { PacsError } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { Route } from '#dicomweb/router.ts';
import { json, readJson, wholeNumber } from './json.ts';

/** De-identified copies: docs/deidentification.md. 202: the copies are made in the background. */
const begin: Handler = async ({ request, services, principal, facts }) => {
  const { studies, project, profile } = await readJson(request);
  if (!Array.isArray(studies) || !studies.every((uid) => typeof uid === 'string'))
    throw new PacsError('BAD_REQUEST', 'studies must be a list of StudyInstanceUIDs');
  if (typeof project !== 'string') throw new PacsError('BAD_REQUEST', 'project must be a text');
  const wanted = profile === undefined ? undefined : readProfile(profile);
  facts.studies = studies.slice(0, 100);
  const { tenant, subject } = principal;
  const run = await beginRun(services, tenant, { project, studies, profile: wanted, by: subject });
  return json(202, await getRun(services, tenant, run.id));
};

/** A run may be of studies that are not for everybody who may ask for runs. */
async function inReach<T>(
  { reach }: Pick<Services, 'reach'>,
  all: readonly T[],
  studyOf: (one: T) => string,
): Promise<readonly T[]> {
  if (reach === undefined) return all;
  const kept: T[] = [];
  for (const one of all) if (await reach.admitsStudy(studyOf(one))) kept.push(one);
  return kept;
}

const told = async <R extends RunRecord>(services: Services, run: R): Promise<R> => ({
  ...run,
  studies: await inReach(services, run.studies, (study) => study),
});

/** Runs, newest first. */
const list: Handler = async ({ request, services, principal }) => {
  const limit = wholeNumber(request, 'limit', 50, 500);
  const page = await listRuns(services, principal.tenant, request.query.get('after') ?? '', limit);
  return json(200, { ...page, items: await Promise.all(page.items.map((run) => told(services, run))) });
};

const get: Handler = async ({ params, services, principal }) => {
  const run = await told(services, await getRun(services, principal.tenant, params.id!));
  return json(200, { ...run, progress: await inReach(services, run.progress, (one) => one.StudyInstanceUID) });
};

const outcomes: Handler = async ({ request, params, services, principal }) => {
  const limit = wholeNumber(request, 'limit', 100, 1_000);
  const after = request.query.get('after') ?? '';
  const page = await readOutcomes(services, principal.tenant, params.id!, after, limit);
  return json(200, { ...page, items: await inReach(services, page.items, (one) => one.StudyInstanceUID) });
};

const projects: Handler = async ({ services, principal }) =>
  json(200, { items: await listProjects(services, principal.tenant) });

/** Who is who. */
const mapping: Handler = async ({ request, params, services, principal, facts }) => {
  const limit = wholeNumber(request, 'limit', 100, 1_000);
  const page = await readMapping(services, principal.tenant, params.id!, request.query.get('after') ?? '', limit);
  facts.studies = page.studies.map(({ StudyInstanceUID }) => StudyInstanceUID).slice(0, 100);
  return json(200, page);
};

const destroy: Handler = async ({ params, services, principal }) => {
  if (principal.reach !== undefined)
    throw new PacsError('FORBIDDEN', 'who is who is of all studies, and this access reaches some alone');
  return json(200, await destroyWhoIsWho(services, principal.tenant, params.id!));
};

export const DEIDENTIFICATION_ROUTES: readonly Route[] = [
  {
    method: 'POST',
    path: '/deidentifications',
    action: 'deidentify',
    name: 'BeginDeidentification',
    handler: begin,
    recordedAs: ['DataDeidentified', 'E'],
  },
  {
    method: 'GET',
    path: '/deidentifications',
    action: 'deidentify',
    name: 'ListDeidentifications',
    handler: list,
    recordedAs: ['DataDeidentified', 'R'],
  },
  {
    method: 'GET',
    path: '/deidentifications/{id}',
    action: 'deidentify',
    name: 'GetDeidentification',
    handler: get,
    recordedAs: ['DataDeidentified', 'R'],
  },
  {
    method: 'GET',
    path: '/deidentifications/{id}/instances',
    action: 'deidentify',
    name: 'GetDeidentifiedInstances',
    handler: outcomes,
    recordedAs: ['DataDeidentified', 'R'],
  },
  {
    method: 'GET',
    path: '/deidentification-projects',
    action: 'deidentify',
    name: 'ListDeidentificationProjects',
    handler: projects,
    recordedAs: ['DataDeidentified', 'R'],
  },
  {
    method: 'GET',
    path: '/deidentification-projects/{id}/mapping',
    action: 'administer',
    name: 'GetDeidentificationMapping',
    handler: mapping,
    recordedAs: ['PatientRecord', 'R'],
  },
  {
    method: 'DELETE',
    path: '/deidentification-projects/{id}/mapping',
    action: 'administer',
    name: 'DestroyDeidentificationMapping',
    handler: destroy,
    recordedAs: ['PatientRecord', 'D'],
  },
];
