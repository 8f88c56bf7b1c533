import { textOf } from '#core/dicom/element-text.ts';
import { PacsError } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import { inState, scheduledStep } from '#core/worklist/item.ts';
import { worklistQuery } from '#core/worklist/match.ts';
import { WORKLIST_TAG as TAG, type WorklistItem, type WorklistState } from '#core/worklist/records.ts';
import { changeOf, findScheduledStep, getWorklistItem, listWorklist } from '#core/worklist/worklist.ts';
import { noteUrgent, statedPriority } from '../forward/urgent.ts';

const ATTEMPTS = 10;
const RANK: Readonly<Record<WorklistState, number>> = {
  SCHEDULED: 0,
  CANCELED: 1,
  'IN PROGRESS': 2,
  DISCONTINUED: 3,
  COMPLETED: 3,
};

/**
 * Puts an item of the archive's worklist into the local one, as the archive has it. `unreported`: modalities have said things here that
 * the archive has not heard yet, so a state that is further on here stays.
 */
export async function copyItem(
  services: Services,
  tenant: string,
  item: WorklistItem,
  unreported: boolean,
): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = await localItem(services, tenant, item.id);
    const after = before !== undefined && unreported ? furtherOn(before, item) : item;
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(after)) return;
    const outcome = await services.index.write(changeOf(tenant, before, after, services.clock.now()));
    if (outcome.committed) return hasten(services, tenant, after);
    await removeOther(services, tenant, item);
  }
  throw new PacsError('BUSY', 'the worklist is being changed by too many writers');
}

/** What is here of its study already goes ahead as well. */
async function hasten(services: Services, tenant: string, { dataSet }: WorklistItem): Promise<void> {
  const stated = statedPriority(dataSet);
  const study = textOf(dataSet[TAG.StudyInstanceUID]);
  if ((stated === 'stat' || stated === 'high') && study !== '') await noteUrgent(services, tenant, study, stated);
}

export async function removeCopy(services: Services, tenant: string, id: string): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = await localItem(services, tenant, id);
    if (before === undefined) return;
    const outcome = await services.index.write(changeOf(tenant, before, undefined, services.clock.now()));
    if (outcome.committed) return;
  }
}

/** Ids of all items that are here. */
export async function copiedIds(services: Services, tenant: string): Promise<Set<string>> {
  const ids = new Set<string>();
  const query = worklistQuery({}, { anyState: true });
  for (let after: string | undefined; ; ) {
    const page = await listWorklist(services, tenant, query, { limit: 1_000, ...(after !== undefined && { after }) });
    for (const { id } of page.items) ids.add(id);
    after = page.next;
    if (after === undefined) return ids;
  }
}

function furtherOn(here: WorklistItem, there: WorklistItem): WorklistItem {
  if (RANK[here.state] <= RANK[there.state]) return there;
  const { state, procedureSteps } = here;
  return { ...there, state, procedureSteps, dataSet: inState(there.dataSet, state) };
}

/** The scheduled step was given to another item meanwhile, whose removal has not been heard of yet. */
async function removeOther(services: Services, tenant: string, { id, dataSet }: WorklistItem): Promise<void> {
  const step = textOf(scheduledStep(dataSet)[TAG.ScheduledProcedureStepID]);
  const other = await findScheduledStep(services, tenant, textOf(dataSet[TAG.StudyInstanceUID]), step);
  if (other !== undefined && other.id !== id) await removeCopy(services, tenant, other.id);
}

async function localItem(services: Services, tenant: string, id: string): Promise<WorklistItem | undefined> {
  try {
    return await getWorklistItem(services, tenant, id);
  } catch (error) {
    if (error instanceof PacsError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}
