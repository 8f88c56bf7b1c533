import { createHash } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { eventWrite } from '../archive/feed.ts';
import type { ArchiveEvent, Tenant } from '../archive/records.ts';
import { textOf } from '../dicom/element-text.ts';
import type { DataSet } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { isUID, newVersion } from '../ids.ts';
import { asItem, asRecord, ITEM_LIMIT_BYTES, recordsIn, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import type { WorklistItem, WorklistState } from '../worklist/records.ts';
import { changeOf, findScheduledStep, getWorklistItem, nextOf } from '../worklist/worklist.ts';
import { requestNotices, stepEventOf } from './notices.ts';
import {
  procedureKeys as keys,
  type ProcedureStepRecord,
  type ProcedureStepState,
  PROCEDURE_TAG as TAG,
} from './records.ts';
import { changedStep, createdStep, refused, stateOf } from './rules.ts';

/** Queue of the steps that have ended, to look for what they name; payload: tenant and sop. */
export const PROCEDURE_STEP_ENDED = 'procedure-step-ended';

/** A performed procedure step, as it is known now. */
export interface ProcedureStep extends Omit<ProcedureStepRecord, 'dataSet'> {
  readonly dataSet: DataSet;
}

export interface StepMessage {
  readonly tenant: Tenant;
  /** AE title, or who used the API */
  readonly source: string;
  /** names this message among all that change the step, so that it counts once however often it comes */
  readonly key?: string | undefined;
  /** written in one with what the message changes: a note for whoever passes it on */
  readonly alongside?: readonly WriteOperation[];
}

/** `repeated`: this very message had come before, and nothing has changed now */
export interface StepOutcome {
  readonly step: ProcedureStep;
  readonly repeated: boolean;
}

const ATTEMPTS = 20;
const APPLIED = 64;
/** worklist items of one step; one atomic write holds them all */
const SCHEDULED_STEPS = 12;
const RECORD_ROOM_BYTES = 20_000;
const EVENT: Readonly<Record<ProcedureStepState, ArchiveEvent['type']>> = {
  'IN PROGRESS': 'ProcedureStepStarted',
  COMPLETED: 'ProcedureStepCompleted',
  DISCONTINUED: 'ProcedureStepDiscontinued',
};

/**
 * N-CREATE (PS3.4 F.7.2.1): the step, the state of the worklist items that it performs, and the event, in one atomic write.
 * @param message with a `key`, the same message again is no duplicate; without, any second one is
 * @throws PacsError with `details.status`: 0106, 0111, 0120, 0121; TOO_LARGE
 */
export async function createProcedureStep(
  services: Services,
  SOPInstanceUID: string,
  attributes: DataSet,
  message: StepMessage,
): Promise<StepOutcome> {
  if (!isUID(SOPInstanceUID)) throw refused('invalidAttributeValue', 'the SOP Instance UID is not a UID');
  const { tenant, source, key, alongside = [] } = message;
  const dataSet = createdStep(attributes);
  const createdBy = digestOf(attributes);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = await readStep(services, tenant, SOPInstanceUID);
    if (before !== undefined) {
      const step = opened(before);
      if (key !== undefined && (step.createdBy === createdBy || step.applied.includes(key)))
        return { step, repeated: true };
      throw refused('duplicateInstance', 'there is a procedure step of that SOP Instance UID');
    }
    const scheduled = await scheduledFor(services, tenant, dataSet);
    const at = services.clock.now();
    const record: ProcedureStepRecord = {
      version: 1,
      id: newVersion(services.clock),
      SOPInstanceUID,
      state: 'IN PROGRESS',
      dataSet: packed(dataSet),
      StudyInstanceUIDs: studiesOf(dataSet),
      worklistItems: scheduled.map(({ id }) => id),
      source,
      createdBy,
      applied: key === undefined ? [] : [key],
      createdAt: at,
      updatedAt: at,
    };
    await requestNotices(services, { tenant, SOPInstanceUID, event: stepEventOf(record.state, true), version: 1 });
    const outcome = await services.index.write([
      { kind: 'put', key: keys.step(tenant, SOPInstanceUID), item: asItem(record), if: 'absent' },
      { kind: 'put', key: keys.byTime(tenant, record.id), item: { sop: SOPInstanceUID } },
      ...record.StudyInstanceUIDs.map((study): WriteOperation => {
        return { kind: 'put', key: keys.ofStudy(tenant, study, SOPInstanceUID), item: {} };
      }),
      ...scheduled.flatMap((item) => linked(services, tenant, item, record)),
      ...eventsOf(tenant, record),
      ...alongside,
    ]);
    if (outcome.committed) return { step: opened(record), repeated: false };
  }
  throw new PacsError('BUSY', 'the worklist is being changed by too many writers');
}

/**
 * N-SET (PS3.4 F.7.2.2). Ending the step ends its worklist items, and has its instances looked for.
 * @throws PacsError with `details.status`: 0105, 0106, 0110 with error ID A710, 0112, 0120, 0121; TOO_LARGE
 */
export async function setProcedureStep(
  services: Services,
  SOPInstanceUID: string,
  modification: DataSet,
  message: StepMessage,
): Promise<StepOutcome> {
  const { tenant, key, alongside = [] } = message;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = await readStep(services, tenant, SOPInstanceUID);
    if (before === undefined) throw refused('noSuchInstance', 'there is no such procedure step');
    if (key !== undefined && before.applied.includes(key)) return { step: opened(before), repeated: true };
    const dataSet = changedStep(unpacked(before.dataSet), modification);
    const record: ProcedureStepRecord = {
      ...before,
      version: before.version + 1,
      state: stateOf(dataSet)!,
      dataSet: packed(dataSet),
      applied: key === undefined ? before.applied : [...before.applied, key].slice(-APPLIED),
      updatedAt: services.clock.now(),
    };
    const ended = record.state !== 'IN PROGRESS';
    const items = ended ? await itemsOf(services, tenant, record.worklistItems) : [];
    // Before the write: a job too many finds nothing to do, one too few would be missed.
    if (ended) await services.jobs.enqueue(PROCEDURE_STEP_ENDED, { tenant, sop: SOPInstanceUID }, { delayMs: 1_000 });
    const event = stepEventOf(record.state, false);
    await requestNotices(services, { tenant, SOPInstanceUID, event, version: record.version });
    const outcome = await services.index.write([
      {
        kind: 'put',
        key: keys.step(tenant, SOPInstanceUID),
        item: asItem(record),
        if: { version: before.version },
      },
      ...items.flatMap((item) => linked(services, tenant, item, record)),
      ...(ended ? eventsOf(tenant, record) : []),
      ...alongside,
    ]);
    if (outcome.committed) return { step: opened(record), repeated: false };
  }
  throw new PacsError('BUSY', 'the procedure step is being changed by too many writers');
}

/** @throws PacsError NOT_FOUND with `details.status` 0112 */
export async function getProcedureStep(
  services: Services,
  tenant: Tenant,
  SOPInstanceUID: string,
): Promise<ProcedureStep> {
  const record = await readStep(services, tenant, SOPInstanceUID);
  if (record === undefined) throw refused('noSuchInstance', 'there is no such procedure step');
  return opened(record);
}

/** Steps in the order they were created, newest first; `next` continues. */
export async function listProcedureSteps(
  services: Services,
  tenant: Tenant,
  options: { readonly after?: string; readonly limit: number },
): Promise<{ readonly items: readonly ProcedureStep[]; readonly next?: string }> {
  const { partition } = keys.byTime(tenant, '');
  const page = await services.index.query({
    partition,
    descending: true,
    limit: options.limit,
    ...(options.after !== undefined && { after: options.after }),
  });
  const items = await stepsNamed(
    services,
    tenant,
    page.records.map(({ item }) => item.sop as string),
  );
  const next = page.more ? page.records.at(-1)?.sort : undefined;
  return { items, ...(next !== undefined && { next }) };
}

/** The steps that name a study. */
export async function procedureStepsOf(services: Services, tenant: Tenant, study: string): Promise<ProcedureStep[]> {
  const { partition } = keys.ofStudy(tenant, study, '');
  const sops = await Array.fromAsync(
    recordsIn(services.index, { partition, limit: GET_STEPS, keysOnly: true }),
    ({ sort }) => sort,
  );
  return stepsNamed(services, tenant, sops);
}

const GET_STEPS = 100;

/** In the order of their SOPInstanceUIDs as they are given; without those that are gone. */
async function stepsNamed(services: Services, tenant: Tenant, sops: readonly string[]): Promise<ProcedureStep[]> {
  const steps: ProcedureStep[] = [];
  for (let at = 0; at < sops.length; at += GET_STEPS) {
    const some = sops.slice(at, at + GET_STEPS).map((sop) => keys.step(tenant, sop));
    for (const item of await services.index.getMany(some)) if (item) steps.push(opened(asRecord(item)));
  }
  return steps;
}

async function readStep(services: Services, tenant: Tenant, sop: string): Promise<ProcedureStepRecord | undefined> {
  if (!isUID(sop)) return undefined;
  const item = await services.index.get(keys.step(tenant, sop));
  return asRecord<ProcedureStepRecord>(item);
}

const opened = (record: ProcedureStepRecord): ProcedureStep => ({ ...record, dataSet: unpacked(record.dataSet) });

/** @throws PacsError TOO_LARGE */
function packed(dataSet: DataSet): Uint8Array {
  const bytes = deflateRawSync(JSON.stringify(dataSet));
  if (bytes.length > ITEM_LIMIT_BYTES - RECORD_ROOM_BYTES)
    throw new PacsError('TOO_LARGE', 'the procedure step names too many instances');
  return bytes;
}

const unpacked = (bytes: Uint8Array): DataSet => JSON.parse(inflateRawSync(bytes).toString()) as DataSet;

const digestOf = (dataSet: DataSet): string => {
  const sorted = Object.keys(dataSet).sort();
  return createHash('sha256')
    .update(JSON.stringify(sorted.map((tag) => [tag, dataSet[tag]])))
    .digest('hex');
};

const scheduledAttributes = (dataSet: DataSet): DataSet[] =>
  (dataSet[TAG.ScheduledStepAttributesSequence]?.Value ?? []) as DataSet[];

const studiesOf = (dataSet: DataSet): string[] => [
  ...new Set(scheduledAttributes(dataSet).map((item) => textOf(item[TAG.StudyInstanceUID]))),
];

/** The worklist items that a step performs: those of its study and scheduled step. */
async function scheduledFor(services: Services, tenant: Tenant, dataSet: DataSet): Promise<WorklistItem[]> {
  const found = new Map<string, WorklistItem>();
  const named = scheduledAttributes(dataSet);
  if (named.length > SCHEDULED_STEPS)
    throw new PacsError('TOO_LARGE', `a step performs at most ${SCHEDULED_STEPS} scheduled steps`);
  for (const attributes of named) {
    const study = textOf(attributes[TAG.StudyInstanceUID]);
    const item = await findScheduledStep(services, tenant, study, textOf(attributes[TAG.ScheduledProcedureStepID]));
    if (item !== undefined) found.set(item.id, item);
  }
  return [...found.values()];
}

async function itemsOf(services: Services, tenant: Tenant, ids: readonly string[]): Promise<WorklistItem[]> {
  const items: WorklistItem[] = [];
  for (const id of ids) {
    try {
      items.push(await getWorklistItem(services, tenant, id));
    } catch (error) {
      // A person has removed it meanwhile: the step was performed all the same.
      if (!(error instanceof PacsError) || error.code !== 'NOT_FOUND') throw error;
    }
  }
  return items;
}

/** A worklist item goes along with the step; what was discontinued may be performed by another step, so a later one counts. */
function linked(services: Services, tenant: Tenant, item: WorklistItem, step: ProcedureStepRecord): WriteOperation[] {
  const { SOPInstanceUID, state } = step;
  const last = item.procedureSteps.at(-1);
  const isLater = last === undefined || last === SOPInstanceUID || !item.procedureSteps.includes(SOPInstanceUID);
  const next: WorklistState = isLater || state === 'COMPLETED' ? state : item.state;
  const procedureSteps = item.procedureSteps.includes(SOPInstanceUID)
    ? item.procedureSteps
    : [...item.procedureSteps, SOPInstanceUID];
  return changeOf(tenant, item, nextOf(services, item, { ...item, state: next, procedureSteps }));
}

const eventsOf = (tenant: Tenant, { state, SOPInstanceUID, StudyInstanceUIDs, updatedAt }: ProcedureStepRecord) =>
  StudyInstanceUIDs.map((StudyInstanceUID) =>
    eventWrite(tenant, { type: EVENT[state], at: updatedAt, StudyInstanceUID, id: SOPInstanceUID }),
  );
