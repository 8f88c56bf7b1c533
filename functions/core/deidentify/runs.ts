import type { Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import { isUID, newVersion } from '../ids.ts';
import { asItem, asRecord, type WriteOperation } from '../ports/index-table.ts';
import { findStudy } from '../retrieve/find.ts';
import type { Services } from '../services.ts';
import type { Profile } from './profile.ts';
import { destroyMapping, isProjectName, openProject } from './projects.ts';
import {
  deidentificationKeys,
  type InstanceOutcome,
  NO_COUNTS,
  type ProjectRecord,
  type RunRecord,
  type StudyProgress,
} from './records.ts';

/** the queue of studies that are to be copied; payload { tenant, id, study }: the number of the study in the run */
export const DEIDENTIFY = 'deidentify';
/** studies of one run: its records are written at once */
const RUN_STUDIES = 90;

/**
 * Sets out to copy studies for a project. The same studies again give the same copies: what is there is not stored twice.
 * @param profile of the project; needed when it is new
 * @throws PacsError BAD_REQUEST; NOT_FOUND when a study is not there; CONFLICT as openProject
 */
export async function beginRun(
  services: Services,
  tenant: Tenant,
  request: {
    readonly project: string;
    readonly studies: readonly string[];
    readonly profile: Profile | undefined;
    readonly by: string;
  },
): Promise<RunRecord> {
  const { project, profile, by } = request;
  const studies = [...new Set(request.studies)];
  if (!isProjectName(project)) throw new PacsError('BAD_REQUEST', 'project must be [a-z0-9][a-z0-9-]{0,62}');
  if (studies.length === 0 || studies.length > RUN_STUDIES || !studies.every(isUID))
    throw new PacsError('BAD_REQUEST', `studies must be 1 to ${RUN_STUDIES} StudyInstanceUIDs`);
  // Under the UIDs of their originals the copies would be other versions of them.
  if (profile?.retainUIDs) throw new PacsError('BAD_REQUEST', 'copies in the archive of the originals have other UIDs');
  const records = await Promise.all(studies.map((study) => findStudy(services, tenant, study)));
  await openProject(services, tenant, project, profile, by);

  const now = services.clock.now();
  const id = newVersion(services.clock);
  const run: RunRecord = { version: 1, id, project, studies, state: 'running', by, requestedAt: now };
  const writes: WriteOperation[] = [
    { kind: 'put', key: deidentificationKeys.run(tenant, id), item: asItem(run) },
    ...records.map(({ StudyInstanceUID, instanceCount }, study): WriteOperation => {
      const progress: StudyProgress = {
        version: 1,
        StudyInstanceUID,
        state: 'waiting',
        counts: NO_COUNTS,
        instanceCount,
        at: now,
      };
      return { kind: 'put', key: deidentificationKeys.study(tenant, id, study), item: asItem(progress) };
    }),
  ];
  await services.index.write(writes);
  for (const study of studies.keys()) await services.jobs.enqueue(DEIDENTIFY, { tenant, id, study });
  return run;
}

export interface Run extends RunRecord {
  readonly progress: readonly StudyProgress[];
}

/** Runs, newest first. */
export async function listRuns(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  after: string,
  limit: number,
): Promise<{ items: RunRecord[]; next?: string }> {
  const { partition } = deidentificationKeys.run(tenant, '');
  const page = await index.query({ partition, descending: true, limit, ...(after === '' ? {} : { after }) });
  const next = page.more ? page.records.at(-1)?.sort : undefined;
  return { items: page.records.map(({ item }) => asRecord<RunRecord>(item)), ...(next !== undefined && { next }) };
}

/** @throws PacsError NOT_FOUND */
export async function getRun({ index }: Pick<Services, 'index'>, tenant: Tenant, id: string): Promise<Run> {
  const item = await index.get(deidentificationKeys.run(tenant, id));
  if (!item) throw new PacsError('NOT_FOUND', 'there is no such run');
  const { partition } = deidentificationKeys.study(tenant, id, 0);
  const page = await index.query({ partition, prefix: 'study|', limit: RUN_STUDIES });
  return { ...asRecord<RunRecord>(item), progress: page.records.map((record) => asRecord<StudyProgress>(record.item)) };
}

export interface NumberedOutcome extends InstanceOutcome {
  /** which study of the run */
  readonly StudyInstanceUID: string;
}

/** What became of the instances, study by study; a page behind `after`. @throws PacsError NOT_FOUND */
export async function readOutcomes(
  services: Pick<Services, 'index'>,
  tenant: Tenant,
  id: string,
  after: string,
  limit: number,
): Promise<{ items: NumberedOutcome[]; next?: string }> {
  const { studies } = await getRun(services, tenant, id);
  const { partition } = deidentificationKeys.study(tenant, id, 0);
  const page = await services.index.query({
    partition,
    prefix: 'outcome|',
    limit,
    ...(after === '' ? {} : { after }),
  });
  const next = page.more ? page.records.at(-1)?.sort : undefined;
  const items = page.records.map(({ sort, item }) => ({
    StudyInstanceUID: studies[Number(sort.split('|')[1])] ?? '',
    ...asRecord<InstanceOutcome>(item),
  }));
  return { items, ...(next !== undefined && { next }) };
}

/** Hands studies whose job was lost, or given up, to the queue again. Repeatable. @returns how many */
export async function resumeRuns(services: Services, tenant: Tenant): Promise<number> {
  const { index, jobs, clock, limits } = services;
  const before = clock.now() - limits.transactionRetryMs;
  let resumed = 0;
  for (let after = ''; ; ) {
    const { items, next } = await listRuns({ index }, tenant, after, 100);
    for (const { id, state, requestedAt } of items) {
      if (state === 'done' || requestedAt > before) continue;
      const { progress } = await getRun({ index }, tenant, id);
      // Where all are done and the run is not, any of them will close it.
      const isLeft = progress.some((one) => one.state !== 'done');
      for (const [study, { state: studyState, at, leaseUntil = 0 }] of progress.entries()) {
        if ((isLeft && studyState === 'done') || at > before || leaseUntil > clock.now()) continue;
        await jobs.enqueue(DEIDENTIFY, { tenant, id, study });
        resumed++;
      }
    }
    if (next === undefined) return resumed;
    after = next;
  }
}

/**
 * Destroys who is who in a project: its secret, its mapping, and what the runs hold of which copy belongs to which original. The copies stay. May be repeated, and
 * is to be when it was interrupted.
 * @throws PacsError as destroyMapping
 */
export async function destroyWhoIsWho(services: Services, tenant: Tenant, project: string): Promise<ProjectRecord> {
  const destroyed = await destroyMapping(services, tenant, project);
  for (let after = ''; ; ) {
    const { items, next } = await listRuns(services, tenant, after, 100);
    for (const run of items) if (run.project === project) await forgetCopies(services, tenant, run.id);
    if (next === undefined) return destroyed;
    after = next;
  }
}

async function forgetCopies({ index }: Pick<Services, 'index'>, tenant: Tenant, id: string): Promise<void> {
  const { partition } = deidentificationKeys.study(tenant, id, 0);
  for (;;) {
    const page = await index.query({ partition, prefix: 'outcome|', limit: 100, keysOnly: true });
    if (page.records.length === 0) break;
    await index.write(page.records.map(({ sort }) => ({ kind: 'delete', key: { partition, sort } })));
  }
  const page = await index.query({ partition, prefix: 'study|', limit: RUN_STUDIES });
  for (const { sort, item } of page.records) {
    const { copy, ...progress } = asRecord<StudyProgress>(item);
    if (copy === undefined) continue;
    const next = { ...progress, version: progress.version + 1 };
    await index.write([
      { kind: 'put', key: { partition, sort }, item: asItem(next), if: { version: progress.version } },
    ]);
  }
}
