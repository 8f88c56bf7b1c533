import { factsOfPatient } from '../access/rules.ts';
import type { Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import { asItem, asRecord } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import type { Profile } from './profile.ts';
import { PROJECT_KEY_BYTES, Pseudonyms } from './pseudonyms.ts';
import { deidentificationKeys, type MappedPatient, type MappedStudy, type ProjectRecord } from './records.ts';

type Uses = Pick<Services, 'index' | 'clock'>;

/** Names of projects: they stand in keys, and in what is copied (ClinicalTrialProtocolID). */
export const isProjectName = (name: string): boolean => /^[a-z0-9][a-z0-9-]{0,62}$/.test(name);

const LISTED = 1_000;

/**
 * The project of that name; a new one with a secret of its own where there is none. Its profile is settled when it is made: what was copied under one could not be
 * told from what is copied under another.
 * @throws PacsError NOT_FOUND without a profile for a new project; CONFLICT when it has another profile, or its secret was destroyed
 */
export async function openProject(
  services: Uses,
  tenant: Tenant,
  project: string,
  profile: Profile | undefined,
  by: string,
): Promise<ProjectRecord> {
  const known = await findProject(services, tenant, project);
  if (known !== undefined) return checked(known, profile);
  if (profile === undefined) throw new PacsError('NOT_FOUND', 'there is no such project');
  const { clock, index } = services;
  const record: ProjectRecord = { version: 1, project, profile, createdAt: clock.now(), createdBy: by };
  const outcome = await index.write([
    { kind: 'put', key: deidentificationKeys.project(tenant, project), item: asItem(record), if: 'absent' },
    {
      kind: 'put',
      key: deidentificationKeys.secret(tenant, project),
      item: { key: clock.randomBytes(PROJECT_KEY_BYTES) },
      if: 'absent',
    },
  ]);
  if (outcome.committed) return record;
  return checked((await findProject(services, tenant, project))!, profile);
}

function checked(record: ProjectRecord, profile: Profile | undefined): ProjectRecord {
  if (record.destroyedAt !== undefined)
    throw new PacsError('CONFLICT', 'who is who in this project was destroyed: nothing can be added to it');
  if (profile !== undefined && canonical(profile) !== canonical(record.profile))
    throw new PacsError('CONFLICT', 'the project has another profile: a project keeps the one that it began with');
  return record;
}

/** The same text for the same profile, whatever the order of its members. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, one]) => `${JSON.stringify(key)}:${canonical(one)}`).join(',')}}`;
}

export async function findProject(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  project: string,
): Promise<ProjectRecord | undefined> {
  const item = await index.get(deidentificationKeys.project(tenant, project));
  return asRecord<ProjectRecord>(item);
}

export async function listProjects({ index }: Pick<Services, 'index'>, tenant: Tenant): Promise<ProjectRecord[]> {
  const { partition } = deidentificationKeys.project(tenant, '');
  const page = await index.query({ partition, limit: LISTED });
  return page.records.map(({ item }) => asRecord<ProjectRecord>(item));
}

/** The pseudonyms of a project; undefined when its secret was destroyed. */
export async function pseudonymsOf(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  project: string,
): Promise<Pseudonyms | undefined> {
  const item = await index.get(deidentificationKeys.secret(tenant, project));
  return item?.key instanceof Uint8Array ? new Pseudonyms(item.key) : undefined;
}

export interface Mapping {
  readonly patients: readonly MappedPatient[];
  readonly studies: readonly MappedStudy[];
  readonly next?: string;
}

/** Who is who: a page, behind `after`, of who and what is in reach. @throws PacsError NOT_FOUND when there is no such project, GONE when it was destroyed */
export async function readMapping(
  services: Pick<Services, 'index' | 'reach'>,
  tenant: Tenant,
  project: string,
  after: string,
  limit: number,
): Promise<Mapping> {
  const { reach } = services;
  const record = await findProject(services, tenant, project);
  if (record === undefined) throw new PacsError('NOT_FOUND', 'there is no such project');
  if (record.destroyedAt !== undefined) throw new PacsError('GONE', 'who is who in this project was destroyed');
  const partition = deidentificationKeys.secrets(tenant, project);
  // The secret stands before patients and studies.
  const page = await services.index.query({ partition, from: 'patient|', limit, ...(after === '' ? {} : { after }) });
  const patients: MappedPatient[] = [];
  const studies: MappedStudy[] = [];
  for (const { sort, item } of page.records) {
    if (sort.startsWith('patient|')) {
      const patient = asRecord<MappedPatient>(item);
      if (reach === undefined || reach.admits(factsOfPatient(patient))) patients.push(patient);
    } else {
      const study = asRecord<MappedStudy>(item);
      if (reach === undefined || (await reach.admitsStudy(study.StudyInstanceUID))) studies.push(study);
    }
  }
  const next = page.more ? page.records.at(-1)?.sort : undefined;
  return { patients, studies, ...(next !== undefined && { next }) };
}

/**
 * Destroys the secret of a project and who is who in it (runs.ts: and what runs hold of it). Irreversible, also for us: the same patients under a new secret have
 * other pseudonyms. What backups hold is not reached. May be repeated.
 * @throws PacsError NOT_FOUND; BUSY when it changed meanwhile
 */
export async function destroyMapping(services: Uses, tenant: Tenant, project: string): Promise<ProjectRecord> {
  const { index, clock } = services;
  const record = await findProject(services, tenant, project);
  if (record === undefined) throw new PacsError('NOT_FOUND', 'there is no such project');
  const destroyed = { ...record, version: record.version + 1, destroyedAt: record.destroyedAt ?? clock.now() };
  // First that nothing can be added, and the secret with it; then the rest, which may be gone on with.
  const outcome = await index.write([
    {
      kind: 'put',
      key: deidentificationKeys.project(tenant, project),
      item: asItem(destroyed),
      if: { version: record.version },
    },
    { kind: 'delete', key: deidentificationKeys.secret(tenant, project) },
  ]);
  if (!outcome.committed) throw new PacsError('BUSY', 'the project has changed: try again');
  const partition = deidentificationKeys.secrets(tenant, project);
  for (;;) {
    const page = await index.query({ partition, limit: 100, keysOnly: true });
    if (page.records.length === 0) return destroyed;
    await index.write(page.records.map(({ sort }) => ({ kind: 'delete', key: { partition, sort } })));
  }
}
