import type { Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import { asRecord, recordsIn, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { enqueueInstances, instanceWrites, ROUTE } from './enqueue.ts';
import { instancesOf } from './intake.ts';
import {
  changeDelivery,
  type DeliveredInstance,
  type Delivery,
  findDelivery,
  INSTANCE,
  type InstanceState,
  type ListedDelivery,
  routingKeys,
  timeText,
} from './records.ts';
import { readRouting } from './settings.ts';

type Uses = Pick<Services, 'index' | 'jobs' | 'clock'>;

const PAGE = 100;
/** instances of one atomic write, two operations each */
const INSTANCES = 40;
/** deliveries that are counted for one status */
const COUNTED = 10_000;

export interface DeliveryPage {
  readonly items: readonly Delivery[];
  readonly next?: string;
}

/** Deliveries that wait, those first that are due first, or that are held, oldest first; a page behind `after`. */
export async function listDeliveries(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  state: 'waiting' | 'held',
  after: string,
  limit: number,
): Promise<DeliveryPage> {
  const partition = state === 'held' ? routingKeys.held(tenant) : routingKeys.waiting(tenant);
  const page = await index.query({ partition, limit, ...(after !== '' && { after }) });
  const items: Delivery[] = [];
  for (let at = 0; at < page.records.length; at += PAGE) {
    const listed = page.records.slice(at, at + PAGE).map(({ item }) => asRecord<ListedDelivery>(item));
    const found = await index.getMany(
      listed.map(({ StudyInstanceUID, destination }) => routingKeys.delivery(tenant, StudyInstanceUID, destination)),
    );
    items.push(...found.filter((item) => item !== undefined).map((item) => asRecord<Delivery>(item)));
  }
  const next = page.more ? page.records.at(-1)?.sort : undefined;
  return { items, ...(next !== undefined && { next }) };
}

/** Where a study has been sent, or is to be. */
export async function deliveriesOf(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  study: string,
): Promise<Delivery[]> {
  const { partition } = routingKeys.delivery(tenant, study, '');
  const page = await index.query({ partition, limit: 1_000 });
  return page.records.map(({ item }) => asRecord<Delivery>(item));
}

/** Its instances, with what has become of each; a page behind `after`. @throws PacsError NOT_FOUND */
export async function deliveredInstances(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  study: string,
  destination: string,
  after: string,
  limit: number,
): Promise<{ readonly items: readonly DeliveredInstance[]; readonly next?: string }> {
  await existing(index, tenant, study, destination);
  const { partition } = routingKeys.instance(tenant, study, destination, '');
  const behind = after === '' ? {} : { after: `${INSTANCE}${after}` };
  const page = await index.query({ partition, prefix: INSTANCE, limit, ...behind });
  const next = page.more ? page.records.at(-1)?.sort.slice(INSTANCE.length) : undefined;
  return { items: page.records.map(({ item }) => asRecord(item)), ...(next !== undefined && { next }) };
}

async function existing(
  index: Services['index'],
  tenant: Tenant,
  study: string,
  destination: string,
): Promise<Delivery> {
  const delivery = await findDelivery(index, tenant, study, destination);
  if (delivery === undefined) throw new PacsError('NOT_FOUND', 'there is no such delivery');
  return delivery;
}

/**
 * Sends a study to a destination: all that is here of it, sent before or not.
 * @returns how many instances are to be sent
 * @throws PacsError NOT_FOUND when there is no such study or destination
 */
export async function sendStudy(
  services: Services,
  tenant: Tenant,
  study: string,
  destination: string,
): Promise<number> {
  const { destinations } = await readRouting(services, tenant);
  if (!destinations.has(destination)) throw new PacsError('NOT_FOUND', 'there is no such destination');
  let instances = 0;
  let found = 0;
  for await (const page of instancesOf(services, tenant, study)) {
    found += page.length;
    instances += await enqueueInstances(services, tenant, destination, page, { again: true });
  }
  if (found === 0) throw new PacsError('NOT_FOUND', 'there is no such study');
  return instances;
}

/** Tries what is held once more, and what waits at once. @returns the delivery as this made it, whoever is at it by now @throws PacsError NOT_FOUND */
export async function retryDelivery(
  services: Uses,
  tenant: Tenant,
  study: string,
  destination: string,
): Promise<Delivery> {
  const { index, clock, jobs } = services;
  await existing(index, tenant, study, destination);
  await moveInstances(services, tenant, study, destination, ['held'], 'waiting');
  const delivery = await changeDelivery(index, tenant, study, destination, (known) => {
    if (known.waiting === 0 || known.leased) return undefined;
    const now = clock.now();
    const since = known.state === 'waiting' ? known.since : now;
    return { after: { ...known, state: 'waiting', since, dueAt: now, failures: 0 } };
  });
  if (delivery === undefined) return existing(index, tenant, study, destination);
  await jobs.enqueue(ROUTE, { tenant, study, destination });
  return delivery;
}

/** Gives up what is held or waits of a delivery; it is not sent unless somebody asks for it. @throws PacsError NOT_FOUND */
export async function discardDelivery(
  services: Uses,
  tenant: Tenant,
  study: string,
  destination: string,
): Promise<Delivery> {
  const { index, clock } = services;
  await existing(index, tenant, study, destination);
  await moveInstances(services, tenant, study, destination, ['held', 'waiting'], 'discarded');
  await changeDelivery(index, tenant, study, destination, ({ leased: _, problem: __, ...known }) =>
    known.waiting + known.held === 0 && known.state !== 'done'
      ? { after: { ...known, state: 'done', since: clock.now(), failures: 0 } }
      : undefined,
  );
  return existing(index, tenant, study, destination);
}

async function moveInstances(
  { index, clock }: Uses,
  tenant: Tenant,
  study: string,
  destination: string,
  from: readonly InstanceState[],
  to: InstanceState,
): Promise<void> {
  const { partition } = routingKeys.instance(tenant, study, destination, '');
  for (let after: string | undefined; ; ) {
    const range = { partition, prefix: INSTANCE, limit: INSTANCES, ...(after !== undefined && { after }) };
    let page = await index.query(range);
    await changeDelivery(index, tenant, study, destination, async (delivery) => {
      page = await index.query(range);
      const moved = page.records
        .map(({ item }) => asRecord<DeliveredInstance>(item))
        .filter(({ state }) => from.includes(state));
      if (moved.length === 0) return undefined;
      const counts = {
        waiting: delivery.waiting,
        held: delivery.held,
        sent: delivery.sent,
        discarded: delivery.discarded,
      };
      const now = clock.now();
      const beside: WriteOperation[] = moved.flatMap((known) => {
        counts[known.state]--;
        counts[to]++;
        const { reason: _, ...instance } = known;
        const again = to === 'waiting' ? { queuedAt: now, refusals: 0 } : {};
        return instanceWrites(tenant, study, destination, known, { ...instance, ...again, state: to, at: now });
      });
      // Listed as waiting from the first instance on: should this be cut off, those are sent all the same.
      const isOpened = to === 'waiting' && delivery.state !== 'waiting';
      const opened = isOpened ? { state: 'waiting' as const, since: now, dueAt: now, failures: 0 } : {};
      return { after: { ...delivery, ...counts, ...opened }, beside };
    });
    if (!page.more) return;
    after = page.records.at(-1)?.sort;
  }
}

/** Has what waits for a destination looked at now: it has been changed, or let go again. @returns how many deliveries */
export async function wakeDestination(services: Uses, tenant: Tenant, destination: string): Promise<number> {
  const { index, clock, jobs } = services;
  let woken = 0;
  const studies = new Set<string>();
  for await (const listed of waitingDeliveries(services, tenant))
    if (listed.destination === destination) studies.add(listed.StudyInstanceUID);
  for (const study of studies) {
    const delivery = await changeDelivery(index, tenant, study, destination, (known) =>
      known.state === 'waiting' && !known.leased && known.dueAt > clock.now()
        ? { after: { ...known, dueAt: clock.now() } }
        : undefined,
    );
    if (delivery === undefined) continue;
    await jobs.enqueue(ROUTE, { tenant, study, destination });
    woken++;
  }
  return woken;
}

async function* waitingDeliveries(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  dueBefore?: number,
): AsyncGenerator<ListedDelivery> {
  const to = dueBefore === undefined ? {} : { to: timeText(dueBefore) };
  for await (const { item } of recordsIn(index, { partition: routingKeys.waiting(tenant), limit: PAGE, ...to }))
    yield asRecord<ListedDelivery>(item);
}

/** what has been due for longer than this has lost its message (ms) */
const OVERDUE_MS = 30_000;
/** deliveries that are looked at anew by one call: a long queue is no lost message */
const RESUMED = 500;

/** Has deliveries looked at whose sender died, or whose message was lost. Repeatable. @returns how many */
export async function resumeDeliveries(services: Uses, tenant: Tenant, overdueMs = OVERDUE_MS): Promise<number> {
  let resumed = 0;
  for await (const { StudyInstanceUID: study, destination } of waitingDeliveries(
    services,
    tenant,
    services.clock.now() - overdueMs,
  )) {
    await services.jobs.enqueue(ROUTE, { tenant, study, destination });
    if (++resumed >= RESUMED) break;
  }
  return resumed;
}

/** Takes deliveries from whoever had them, where it is known that he is dead. @returns how many */
export async function releaseDeliveries(services: Uses, tenant: Tenant): Promise<number> {
  const { index, clock, jobs } = services;
  const listed: ListedDelivery[] = [];
  for await (const one of waitingDeliveries(services, tenant)) listed.push(one);
  let released = 0;
  for (const { StudyInstanceUID: study, destination } of listed) {
    const delivery = await changeDelivery(index, tenant, study, destination, ({ leased, ...known }) =>
      leased ? { after: { ...known, dueAt: clock.now() } } : undefined,
    );
    if (delivery === undefined) continue;
    await jobs.enqueue(ROUTE, { tenant, study, destination });
    released++;
  }
  return released;
}

export interface DestinationBacklog {
  /** deliveries: studies that are on their way */
  readonly waiting: number;
  readonly held: number;
  /** the oldest of those that wait is so old (ms since 1970) */
  readonly oldestAt?: number | undefined;
}

/** How much is on its way, by destination; deliveries beyond the first ten thousand are not counted. */
export async function backlogOf(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
): Promise<ReadonlyMap<string, DestinationBacklog>> {
  const backlog = new Map<string, { waiting: number; held: number; oldestAt?: number | undefined }>();
  for (const state of ['waiting', 'held'] as const) {
    const partition = state === 'held' ? routingKeys.held(tenant) : routingKeys.waiting(tenant);
    const page = await index.query({ partition, limit: COUNTED });
    for (const { item } of page.records) {
      const { destination, since } = asRecord<ListedDelivery>(item);
      const entry = backlog.get(destination) ?? { waiting: 0, held: 0 };
      entry[state]++;
      if (state === 'waiting') entry.oldestAt = Math.min(since, entry.oldestAt ?? since);
      backlog.set(destination, entry);
    }
  }
  return backlog;
}
