import type { Tenant } from '#core/archive/records.ts';
import { textOf } from '#core/dicom/element-text.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import { asItem, asRecord } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import { worklistKeys } from '#core/worklist/records.ts';
import { getWorklistItem } from '#core/worklist/worklist.ts';
import { COMMAND, PRIORITY } from '#dimse/command-set.ts';
import type { Service, ServiceTable } from '#dimse/session.ts';
import { statusClass } from '#dimse/status.ts';
import type { SendPriority } from '../config.ts';
import type { EdgeContext } from '../context.ts';
import { DestinationQueue } from './queue.ts';
import { forwardKeys, PRIORITIES, type StudyOrder } from './records.ts';

/** PS3.3: RequestedProcedurePriority (0040,1003) and the retired StudyPriorityID (0032,000C) */
const STATED: Readonly<Record<string, SendPriority>> = {
  STAT: 'stat',
  HIGH: 'high',
  ROUTINE: 'routine',
  MEDIUM: 'routine',
  LOW: 'low',
};
const PRIORITY_TAGS = ['00401003', '0032000C'];
const AT_A_TIME = 50;

/** What an object, an item of its requests, or an item of the worklist says of the urgency of its study. */
export function statedPriority(dataSet: DataSet): SendPriority | undefined {
  for (const tag of PRIORITY_TAGS) {
    const stated = STATED[textOf(dataSet[tag]).trim().toUpperCase()];
    if (stated !== undefined) return stated;
  }
  return undefined;
}

export const urgent = (own: SendPriority, stated: SendPriority | undefined): SendPriority =>
  stated !== undefined && PRIORITIES.indexOf(stated) < PRIORITIES.indexOf(own) ? stated : own;

/** The highest that the worklist's items of a study have. */
export async function scheduledPriority(
  services: Services,
  tenant: Tenant,
  study: string,
): Promise<SendPriority | undefined> {
  const { partition } = worklistKeys.step(tenant, study, '-');
  const { records } = await services.index.query({ partition, limit: AT_A_TIME });
  let highest: SendPriority | undefined;
  for (const { item } of records) {
    try {
      const stated = statedPriority((await getWorklistItem(services, tenant, item.id as string)).dataSet);
      if (stated !== undefined) highest = urgent(highest ?? stated, stated);
    } catch (error) {
      // Removed just now.
      if (!(error instanceof PacsError) || error.code !== 'NOT_FOUND') throw error;
    }
  }
  return highest;
}

/** A study is to go ahead; what waits of it is moved by `raiseUrgent`, in its turn with the intake. */
export async function noteUrgent(
  { index }: Services,
  tenant: Tenant,
  study: string,
  priority: SendPriority,
): Promise<void> {
  await index.write([{ kind: 'put', key: forwardKeys.urgent(tenant, study), item: { priority } }]);
}

/**
 * C-STORE whose Priority (0000,0700) is HIGH has the study of its object go ahead as *high*. LOW moves nothing back: it is what widely used
 * senders say of everything.
 */
export const urgentStores = (context: EdgeContext, services: ServiceTable): ServiceTable => {
  const store = services.get(COMMAND.cStore);
  return store === undefined ? services : new Map([...services, [COMMAND.cStore, noting(context, store)]]);
};

const noting =
  ({ services, tenant }: EdgeContext, store: Service): Service =>
  (operation) => {
    if (operation.command.Priority !== PRIORITY.high) return store(operation);
    const facts = operation.facts ?? { studies: new Set<string>() };
    return store({
      ...operation,
      facts,
      respond: async (fields, dataSet) => {
        // Before it is said that the object is here: then it holds, too, if the gateway is killed now.
        if (statusClass(fields.Status) !== 'failure')
          for (const study of facts.studies) await noteUrgent(services, tenant, study, 'high');
        return operation.respond(fields, dataSet);
      },
    });
  };

/**
 * Moves ahead what is noted as urgent. `drained`: all that was stored has been taken in; a study that has no place then is forwarded to
 * nobody. Never at the same time as the intake, which gives the places.
 */
export async function raiseUrgent({ services, tenant, config }: EdgeContext, drained: boolean): Promise<void> {
  const { index } = services;
  const { partition } = forwardKeys.urgent(tenant, '-');
  const { records } = await index.query({ partition, limit: AT_A_TIME });
  for (const { sort: study, item } of records) {
    const found = await index.get(forwardKeys.study(tenant, study));
    if (found === undefined && !drained) continue;
    if (found !== undefined) {
      const known = asRecord<StudyOrder>(found);
      const order = { ...known, priority: urgent(known.priority, item.priority as SendPriority) };
      // The place first: what comes from now on goes there, and should this be interrupted, the note is still here.
      if (order.priority !== known.priority)
        await index.write([{ kind: 'put', key: forwardKeys.study(tenant, study), item: asItem(order) }]);
      for (const { name } of config.upstreams) await new DestinationQueue(services, tenant, name).raise(study, order);
    }
    await index.write([{ kind: 'delete', key: { partition, sort: study } }]);
  }
}
