import type { Tenant } from '../archive/records.ts';
import { asItem, asRecord, type IndexTable, type Key, type WriteOperation } from '../ports/index-table.ts';
import type { Condition } from './conditions.ts';

/**
 * What is kept of routing, and of what is on its way elsewhere:
 *
 * | record      | partition                            | sort                        | holds                                    |
 * |-------------|--------------------------------------|-----------------------------|------------------------------------------|
 * | destination | t|routing                            | destination|{name}          | DestinationRecord                        |
 * | rule        | t|routing                            | rule|{name}                 | RuleRecord                               |
 * | cursor      | t|routing-cursor                     | cursor                      | how far the feed has been taken in       |
 * | identity    | t|routing                            | identity                    | { id }: by which other archives know us  |
 * | condition   | t|routing-state                      | {destination}               | DestinationState                         |
 * | delivery    | t|deliveries|{study}                 | {destination}               | Delivery: a study on its way             |
 * | instance    | t|delivered|{study}|{destination}    | instance|{SOP}              | DeliveredInstance                        |
 * | to be sent  | t|delivered|{study}|{destination}    | waiting|{SOP}               | {}                                       |
 * | who waits   | t|deliveries-waiting                 | {time}|{destination}|{study} | ListedDelivery: in the order they are due |
 * | who is held | t|deliveries-held                    | {time}|{destination}|{study} | ListedDelivery: oldest first             |
 */
export interface DestinationRecord {
  version: number;
  name: string;
  /** DICOMweb root; objects are posted to its /studies */
  url: string;
  /** name of the credentials, which the host keeps; absent: none are shown */
  authentication?: string | undefined;
  /** how long it may be silent (ms) */
  timeoutMs: number;
  /** false: what is for it waits */
  enabled: boolean;
  changedAt: number;
  changedBy: string;
}

/** `stored`: each instance as soon as it is here. `quiet`: when nothing new has come for the study for a while. */
export type RouteWhen = 'stored' | 'quiet';

export interface RuleRecord {
  version: number;
  name: string;
  enabled: boolean;
  /** rules are asked in this order, those of one number by their names */
  order: number;
  when: RouteWhen;
  /** what is sent: the instances that meet the condition, or of a quiet study all of them as soon as one does */
  scope: 'instances' | 'study';
  /** absent: every instance meets it */
  condition?: Condition | undefined;
  destinations: readonly string[];
  /** what this rule has matched is not shown to those behind it */
  final: boolean;
  /** it speaks of what is stored from then on (ms since 1970) */
  since: number;
  changedAt: number;
  changedBy: string;
}

/** What an attempt failed by. */
export type FailureClass =
  /** no connection */
  | 'unreachable'
  /** sent, and no answer came, or none that can be read */
  | 'noAnswer'
  /** it does not take our credentials, or there are none */
  | 'credentials'
  /** 408, 425, 429, 503 */
  | 'busy'
  /** another 5xx */
  | 'server'
  /** it answers, but not as a DICOMweb archive does: 3xx, 404, 405 */
  | 'address'
  /** the request, or an instance, was refused */
  | 'refused'
  /** nothing may be sent there by the configuration of the host */
  | 'configuration'
  /** our own copy cannot be read now */
  | 'local';

/** What is known of a destination from what was last tried. */
export interface DestinationState {
  version: number;
  /** in a row */
  failures: number;
  /** nothing is sent before (ms since 1970) */
  pausedUntil: number;
  problem?: { readonly class: FailureClass; readonly reason: string; readonly at: number } | undefined;
  /** it last took something */
  sentAt?: number | undefined;
  /** by which it says other archives know it */
  archive?: string | undefined;
}

export interface Delivery {
  version: number;
  StudyInstanceUID: string;
  destination: string;
  state: 'waiting' | 'held' | 'done';
  /** the state began then; of one that waits: its oldest instance */
  since: number;
  /** while it waits: when somebody is to look at it; leased: until when somebody has it */
  dueAt: number;
  leased?: true | undefined;
  /** attempts in a row that brought nothing */
  failures: number;
  /** its instances, by what has become of them */
  waiting: number;
  sent: number;
  held: number;
  discarded: number;
  problem?: { readonly class: FailureClass; readonly reason: string; readonly at: number } | undefined;
  /** rules by which instances came here, as far as they are few */
  rules: readonly string[];
}

export type InstanceState = 'waiting' | 'sent' | 'held' | 'discarded';

export interface DeliveredInstance {
  version: number;
  SeriesInstanceUID: string;
  SOPInstanceUID: string;
  sha256: string;
  state: InstanceState;
  queuedAt: number;
  /** times it was refused by itself */
  refusals: number;
  /** why it is held, or still waits */
  reason?: string | undefined;
  at: number;
}

export interface ListedDelivery {
  readonly StudyInstanceUID: string;
  readonly destination: string;
  readonly since: number;
}

export const DESTINATION = 'destination|';
export const RULE = 'rule|';
export const WAITING = 'waiting|';
export const INSTANCE = 'instance|';

export const routingKeys = {
  destination: (t: Tenant, name: string): Key => ({ partition: `${t}|routing`, sort: `${DESTINATION}${name}` }),
  rule: (t: Tenant, name: string): Key => ({ partition: `${t}|routing`, sort: `${RULE}${name}` }),
  cursor: (t: Tenant): Key => ({ partition: `${t}|routing-cursor`, sort: 'cursor' }),
  identity: (t: Tenant): Key => ({ partition: `${t}|routing`, sort: 'identity' }),
  state: (t: Tenant, destination: string): Key => ({ partition: `${t}|routing-state`, sort: destination }),
  delivery: (t: Tenant, study: string, destination: string): Key => ({
    partition: `${t}|deliveries|${study}`,
    sort: destination,
  }),
  instance: (t: Tenant, study: string, destination: string, sop: string): Key => ({
    partition: `${t}|delivered|${study}|${destination}`,
    sort: `${INSTANCE}${sop}`,
  }),
  toSend: (t: Tenant, study: string, destination: string, sop: string): Key => ({
    partition: `${t}|delivered|${study}|${destination}`,
    sort: `${WAITING}${sop}`,
  }),
  waiting: (t: Tenant): string => `${t}|deliveries-waiting`,
  held: (t: Tenant): string => `${t}|deliveries-held`,
} as const;

/** Fixed width, so that the order of the text is the order of time. */
export const timeText = (ms: number): string => String(Math.max(0, Math.floor(ms))).padStart(15, '0');

/** Where a delivery is listed; nowhere when it is done. */
function listedAt(tenant: Tenant, delivery: Delivery | undefined): Key | undefined {
  if (delivery === undefined || delivery.state === 'done') return undefined;
  const { state, destination, StudyInstanceUID, dueAt, since } = delivery;
  const behind = `${destination}|${StudyInstanceUID}`;
  return state === 'held'
    ? { partition: routingKeys.held(tenant), sort: `${timeText(since)}|${behind}` }
    : { partition: routingKeys.waiting(tenant), sort: `${timeText(dueAt)}|${behind}` };
}

/** A delivery as it is to be, under the condition that nobody has changed it since, and its place in the lists. */
export function deliveryWrites(tenant: Tenant, before: Delivery | undefined, after: Delivery): WriteOperation[] {
  const { StudyInstanceUID, destination, since } = after;
  const version = (before?.version ?? 0) + 1;
  const [from, to] = [listedAt(tenant, before), listedAt(tenant, after)];
  const isMoved = from !== undefined && (from.partition !== to?.partition || from.sort !== to.sort);
  const listed: ListedDelivery = { StudyInstanceUID, destination, since };
  return [
    {
      kind: 'put',
      key: routingKeys.delivery(tenant, StudyInstanceUID, destination),
      item: asItem({ ...after, version }),
      if: before === undefined ? 'absent' : { version: before.version },
    },
    ...(isMoved ? [{ kind: 'delete' as const, key: from }] : []),
    ...(to === undefined ? [] : [{ kind: 'put' as const, key: to, item: asItem(listed) }]),
  ];
}

export async function findDelivery(
  index: IndexTable,
  tenant: Tenant,
  study: string,
  destination: string,
): Promise<Delivery | undefined> {
  const item = await index.get(routingKeys.delivery(tenant, study, destination));
  return asRecord<Delivery>(item);
}

/** races lost over one delivery before it is left for later */
const ATTEMPTS = 50;

/**
 * Changes a delivery as `change` says of what it is now; repeated when somebody else was faster.
 * @param change undefined: it stays as it is
 * @returns the delivery as it then is; undefined where there is none, or where it was left
 */
export async function changeDelivery(
  index: IndexTable,
  tenant: Tenant,
  study: string,
  destination: string,
  change: (
    delivery: Delivery,
  ) =>
    | { readonly after: Delivery; readonly beside?: readonly WriteOperation[] }
    | undefined
    | Promise<{ readonly after: Delivery; readonly beside?: readonly WriteOperation[] } | undefined>,
): Promise<Delivery | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = await findDelivery(index, tenant, study, destination);
    const changed = before && (await change(before));
    if (before === undefined || changed === undefined) return undefined;
    const outcome = await index.write([...deliveryWrites(tenant, before, changed.after), ...(changed.beside ?? [])]);
    if (outcome.committed) return { ...changed.after, version: before.version + 1 };
  }
  return undefined;
}
