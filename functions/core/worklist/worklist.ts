import type { Tenant } from '../archive/records.ts';
import { textOf } from '../dicom/element-text.ts';
import type { DataSet } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import { asItem, asRecord, recordsIn, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { inState, scheduledStep, worklistItemOf } from './item.ts';
import { type WorklistPolicy, type WorklistQuery, worklistQuery } from './match.ts';
import { worklistKeys as keys, WORKLIST_TAG as TAG, type WorklistItem, type WorklistState } from './records.ts';

const PAGE_RECORDS = 500;
const ATTEMPTS = 20;

/** @throws PacsError BAD_REQUEST; CONFLICT when the study has an item for that scheduled step */
export async function addWorklistItem(services: Services, tenant: Tenant, given: DataSet): Promise<WorklistItem> {
  const { index, clock } = services;
  const { dataSet, startsAt } = worklistItemOf(clock, given);
  const at = clock.now();
  const item: WorklistItem = {
    version: 1,
    id: newVersion(clock),
    state: 'SCHEDULED',
    startsAt,
    dataSet: inState(dataSet, 'SCHEDULED'),
    procedureSteps: [],
    createdAt: at,
    updatedAt: at,
  };
  const outcome = await index.write(changeOf(tenant, undefined, item));
  if (!outcome.committed) throw taken();
  return item;
}

const taken = (): PacsError =>
  new PacsError('CONFLICT', 'the study has another worklist item for that ScheduledProcedureStepID');

/** @throws PacsError NOT_FOUND */
export async function getWorklistItem(services: Services, tenant: Tenant, id: string): Promise<WorklistItem> {
  // Between the two reads the item may have moved to another time.
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const where = await services.index.get(keys.where(tenant, id));
    if (where === undefined) break;
    const item = await services.index.get(keys.item(tenant, { startsAt: where.startsAt as string, id }));
    if (item !== undefined) return asRecord<WorklistItem>(item);
  }
  throw new PacsError('NOT_FOUND', 'there is no such worklist item', { details: { id } });
}

/** The item of a scheduled step, as a performed procedure step names it. */
export async function findScheduledStep(
  services: Services,
  tenant: Tenant,
  study: string,
  scheduledProcedureStepID: string,
): Promise<WorklistItem | undefined> {
  if (study === '' || scheduledProcedureStepID === '') return undefined;
  const found = await services.index.get(keys.step(tenant, study, scheduledProcedureStepID));
  if (found === undefined) return undefined;
  try {
    return await getWorklistItem(services, tenant, found.id as string);
  } catch (error) {
    if (error instanceof PacsError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

/**
 * Changes an item by `change`, which gets the current one and may be called again when another writer was faster.
 * @param version the one the caller has seen; absent: whatever is current
 * @throws PacsError NOT_FOUND; PRECONDITION_FAILED when it is another by now; CONFLICT; BUSY; what `change` throws
 */
async function changeWorklistItem(
  services: Services,
  tenant: Tenant,
  id: string,
  change: (item: WorklistItem) => Pick<WorklistItem, 'state' | 'startsAt' | 'dataSet' | 'procedureSteps'>,
  version?: number,
): Promise<WorklistItem> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = await getWorklistItem(services, tenant, id);
    if (version !== undefined && before.version !== version)
      throw new PacsError('PRECONDITION_FAILED', 'the worklist item has changed meanwhile', { details: { id } });
    const after = nextOf(services, before, change(before));
    const operations = changeOf(tenant, before, after);
    const outcome = await services.index.write(operations);
    if (outcome.committed) return after;
    if (outcome.failed.some((at) => isStepClaim(operations[at]!))) throw taken();
  }
  throw new PacsError('BUSY', 'the worklist item is being changed by too many writers', { details: { id } });
}

/** Replaces what the item says; its state and the steps performed for it stay. @throws as changeWorklistItem, and BAD_REQUEST */
export function replaceWorklistItem(
  services: Services,
  tenant: Tenant,
  id: string,
  given: DataSet,
  version?: number,
): Promise<WorklistItem> {
  const made = worklistItemOf(services.clock, given);
  return changeWorklistItem(services, tenant, id, (item) => ({ ...item, ...made }), version);
}

/** A person takes the item off the list, or puts it back. @throws PacsError CONFLICT once the step has been started */
export function decideWorklistItem(
  services: Services,
  tenant: Tenant,
  id: string,
  action: 'cancel' | 'reschedule',
): Promise<WorklistItem> {
  const [from, to]: [WorklistState, WorklistState] =
    action === 'cancel' ? ['SCHEDULED', 'CANCELED'] : ['CANCELED', 'SCHEDULED'];
  return changeWorklistItem(services, tenant, id, (item) => {
    if (item.state !== from && item.state !== to)
      throw new PacsError('CONFLICT', `the item is ${item.state}: it cannot be ${to} any more`, { details: { id } });
    return { ...item, state: to };
  });
}

/** @throws PacsError NOT_FOUND */
export async function removeWorklistItem(services: Services, tenant: Tenant, id: string): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const item = await getWorklistItem(services, tenant, id);
    const outcome = await services.index.write(changeOf(tenant, item, undefined, services.clock.now()));
    if (outcome.committed) return;
  }
  throw new PacsError('BUSY', 'the worklist item is being changed by too many writers', { details: { id } });
}

/** The record that follows `before`, one version on, with its status in its data set. */
export const nextOf = (
  { clock }: Pick<Services, 'clock'>,
  before: WorklistItem,
  change: Pick<WorklistItem, 'state' | 'startsAt' | 'dataSet' | 'procedureSteps'>,
): WorklistItem => ({
  ...before,
  state: change.state,
  startsAt: change.startsAt,
  dataSet: inState(change.dataSet, change.state),
  procedureSteps: change.procedureSteps,
  version: before.version + 1,
  updatedAt: clock.now(),
});

const stepOf = ({ dataSet }: WorklistItem): readonly [study: string, step: string] => [
  textOf(dataSet[TAG.StudyInstanceUID]),
  textOf(scheduledStep(dataSet)[TAG.ScheduledProcedureStepID]),
];

/** The operations of a change, for one atomic write: the item, where it stands, its scheduled step, and the note for copies. */
export function changeOf(
  tenant: Tenant,
  before: WorklistItem | undefined,
  after: WorklistItem | undefined,
  at: number = after?.updatedAt ?? 0,
): WriteOperation[] {
  const id = (after ?? before)!.id;
  const operations: WriteOperation[] = [
    {
      kind: 'append',
      partition: keys.changes(tenant),
      item: { id, at, ...(after === undefined && { removed: true }) },
    },
  ];
  const moved = before?.startsAt !== after?.startsAt;
  if (before !== undefined && (after === undefined || moved))
    operations.push({ kind: 'delete', key: keys.item(tenant, before), if: { version: before.version } });
  if (after !== undefined) {
    const condition = before === undefined || moved ? 'absent' : { version: before.version };
    operations.push({ kind: 'put', key: keys.item(tenant, after), item: asItem(after), if: condition });
    if (moved) operations.push({ kind: 'put', key: keys.where(tenant, id), item: { startsAt: after.startsAt } });
  } else operations.push({ kind: 'delete', key: keys.where(tenant, id) });
  const [oldStudy, oldStep] = before === undefined ? [] : stepOf(before);
  const [newStudy, newStep] = after === undefined ? [] : stepOf(after);
  if (oldStudy !== newStudy || oldStep !== newStep) {
    if (oldStudy !== undefined) operations.push({ kind: 'delete', key: keys.step(tenant, oldStudy, oldStep!) });
    if (newStudy !== undefined)
      operations.push({ kind: 'put', key: keys.step(tenant, newStudy, newStep!), item: { id }, if: 'absent' });
  }
  return operations;
}

const isStepClaim = (operation: WriteOperation): boolean =>
  'key' in operation && operation.key.partition.includes('|worklist-step|');

/** Items in the order of their start; `next` continues. At most `limits.searchRecords` are looked at for a page. */
export interface WorklistPage {
  readonly items: readonly WorklistItem[];
  readonly next?: string;
}

/** A page of the items that match. */
export async function listWorklist(
  services: Services,
  tenant: Tenant,
  query: WorklistQuery,
  options: { readonly after?: string; readonly limit: number },
): Promise<WorklistPage> {
  const items: WorklistItem[] = [];
  let looked = 0;
  for await (const { sort, item } of entries(services, tenant, query, options.after)) {
    looked++;
    if (query.matches(item)) items.push(item);
    if (items.length === options.limit || looked === services.limits.searchRecords) return { items, next: sort };
  }
  return { items };
}

/** What a query answers: matching items as it asked for them, 'cut' when too many would have had to be looked at. */
export async function* searchWorklist(
  services: Services,
  tenant: Tenant,
  identifier: DataSet,
  options: Pick<WorklistPolicy, 'fuzzy' | 'zoneMinutes'> = {},
): AsyncGenerator<DataSet | 'cut'> {
  const notBefore = startOf(services.clock.now() - services.limits.worklistPastMs);
  const query = worklistQuery(identifier, { ...options, notBefore });
  let looked = 0;
  for await (const { item } of entries(services, tenant, query)) {
    if (looked++ === services.limits.searchRecords) {
      yield 'cut';
      return;
    }
    if (query.matches(item)) yield query.resultOf(item.dataSet);
  }
}

/** A moment as `startsAt` has it, in UTC: sites are at most 14 hours off, which the policy's days leave room for. */
export const startOf = (ms: number): string => new Date(Math.max(0, ms)).toISOString().replace(/\D/g, '').slice(0, 14);

async function* entries(
  services: Services,
  tenant: Tenant,
  { from, to }: WorklistQuery,
  after?: string,
): AsyncGenerator<{ sort: string; item: WorklistItem }> {
  const range = {
    partition: keys.items(tenant),
    limit: PAGE_RECORDS,
    ...(from !== undefined && { from }),
    // Greater than every digit and the separator: the bound itself is still in.
    ...(to !== undefined && { to: `${to}~` }),
    ...(after !== undefined && { after }),
  };
  for await (const { sort, item } of recordsIn(services.index, range))
    yield { sort, item: asRecord<WorklistItem>(item) };
}
