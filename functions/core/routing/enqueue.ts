import type { InstanceRecord, Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import { asItem, asRecord, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { type DeliveredInstance, type Delivery, deliveryWrites, type InstanceState, routingKeys } from './records.ts';

/** the queue of what is to be sent elsewhere; payload { tenant } to take in what has been stored, { tenant, study, destination } to send */
export const ROUTE = 'route';

type Uses = Pick<Services, 'index' | 'jobs' | 'clock'>;

/** What of an instance it takes to send it. */
export type RoutedInstance = Pick<
  InstanceRecord,
  'StudyInstanceUID' | 'SeriesInstanceUID' | 'SOPInstanceUID' | 'sha256' | 'route'
>;

/** instances of one atomic write, two operations each */
const INSTANCES = 40;
const ATTEMPTS = 50;
/** rules that a delivery names */
const RULES = 5;

/**
 * Notes instances of one or several studies as to be sent to a destination, and has somebody send them. Those that are noted already, with the same bytes, stay as they
 * are, sent or not, unless `again`.
 * @returns how many are to be sent anew
 * @throws PacsError BUSY when too many write at the same time
 */
export async function enqueueInstances(
  services: Uses,
  tenant: Tenant,
  destination: string,
  instances: readonly RoutedInstance[],
  { again = false, rules = [] }: { readonly again?: boolean; readonly rules?: readonly string[] } = {},
): Promise<number> {
  let noted = 0;
  for (const [study, ofStudy] of Map.groupBy(instances, (instance) => instance.StudyInstanceUID)) {
    for (let at = 0; at < ofStudy.length; at += INSTANCES)
      noted += await note(services, tenant, study, destination, ofStudy.slice(at, at + INSTANCES), { again, rules });
  }
  return noted;
}

async function note(
  services: Uses,
  tenant: Tenant,
  study: string,
  destination: string,
  instances: readonly RoutedInstance[],
  { again, rules }: { readonly again: boolean; readonly rules: readonly string[] },
): Promise<number> {
  const { index, clock, jobs } = services;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const [deliveryItem, ...items] = await index.getMany([
      routingKeys.delivery(tenant, study, destination),
      ...instances.map(({ SOPInstanceUID }) => routingKeys.instance(tenant, study, destination, SOPInstanceUID)),
    ]);
    const before = asRecord<Delivery>(deliveryItem);
    const now = clock.now();
    const delivery: Delivery = before ?? newDelivery(study, destination, now);
    const counts = {
      waiting: delivery.waiting,
      sent: delivery.sent,
      held: delivery.held,
      discarded: delivery.discarded,
    };
    const operations: WriteOperation[] = [];
    let noted = 0;
    for (const [i, instance] of instances.entries()) {
      const item = items[i];
      const known = asRecord<DeliveredInstance>(item);
      const isSame = known?.sha256 === instance.sha256;
      if (isSame && (!again || known.state === 'waiting')) continue;
      if (known !== undefined) counts[known.state]--;
      counts.waiting++;
      noted++;
      operations.push(...instanceWrites(tenant, study, destination, known, newInstance(instance, now)));
    }
    const isIdle = delivery.state !== 'waiting';
    if (noted === 0) {
      // Whoever noted them may have been cut off before he told anybody.
      if (!isIdle && !delivery.leased && delivery.dueAt <= now)
        await jobs.enqueue(ROUTE, { tenant, study, destination });
      return 0;
    }
    const after: Delivery = {
      ...delivery,
      ...counts,
      state: 'waiting',
      ...(isIdle && { since: now, failures: 0, problem: undefined }),
      // Somebody asked for it: what it waits for is not waited for any longer.
      ...((isIdle || (again && !delivery.leased)) && { dueAt: now }),
      rules: [...new Set([...delivery.rules, ...rules])].slice(0, RULES),
    };
    const outcome = await index.write([...operations, ...deliveryWrites(tenant, before, after)]);
    if (!outcome.committed) continue;
    if (!after.leased && after.dueAt <= now) await jobs.enqueue(ROUTE, { tenant, study, destination });
    return noted;
  }
  throw new PacsError('BUSY', 'the delivery is being changed by too many', { details: { StudyInstanceUID: study } });
}

const newDelivery = (StudyInstanceUID: string, destination: string, now: number): Delivery => ({
  version: 0,
  StudyInstanceUID,
  destination,
  state: 'done',
  since: now,
  dueAt: now,
  failures: 0,
  waiting: 0,
  sent: 0,
  held: 0,
  discarded: 0,
  rules: [],
});

const newInstance = (
  { SeriesInstanceUID, SOPInstanceUID, sha256 }: RoutedInstance,
  now: number,
): DeliveredInstance => ({
  version: 0,
  SeriesInstanceUID,
  SOPInstanceUID,
  sha256,
  state: 'waiting',
  queuedAt: now,
  refusals: 0,
  at: now,
});

/** An instance as it is to be, and whether it is among those to be sent. */
export function instanceWrites(
  tenant: Tenant,
  study: string,
  destination: string,
  known: DeliveredInstance | undefined,
  next: DeliveredInstance,
): WriteOperation[] {
  const { SOPInstanceUID: sop } = next;
  const toSend = routingKeys.toSend(tenant, study, destination, sop);
  const waits = (state: InstanceState | undefined): boolean => state === 'waiting';
  const moved: WriteOperation[] =
    waits(known?.state) === waits(next.state)
      ? []
      : [waits(next.state) ? { kind: 'put', key: toSend, item: {} } : { kind: 'delete', key: toSend }];
  return [
    {
      kind: 'put',
      key: routingKeys.instance(tenant, study, destination, sop),
      item: asItem({ ...next, version: (known?.version ?? 0) + 1 }),
      if: known === undefined ? 'absent' : { version: known.version },
    },
    ...moved,
  ];
}
