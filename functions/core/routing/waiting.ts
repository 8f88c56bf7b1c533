import { type InstanceRecord, keys } from '../archive/records.ts';
import { asRecord, pagesIn, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { instanceWrites } from './enqueue.ts';
import {
  changeDelivery,
  type DeliveredInstance,
  type Delivery,
  type FailureClass,
  type InstanceState,
  routingKeys,
  WAITING,
} from './records.ts';

interface Job {
  readonly tenant: string;
  readonly study: string;
  readonly destination: string;
}

/** instances of one atomic write, two operations each */
const INSTANCES = 40;

/** An instance that is to be sent, and its record, unless it has been removed meanwhile or has other bytes. */
export interface Waiting {
  readonly delivered: DeliveredInstance;
  readonly instance: InstanceRecord | undefined;
}

/** The next instances behind `after` that go in one request: they have come by the same way, and are together no larger than the limit, or one alone. */
export async function waitingInstances(
  { index, limits }: Pick<Services, 'index' | 'limits'>,
  { tenant, study, destination }: Job,
  after: string,
  most: number,
): Promise<Waiting[]> {
  const { partition } = routingKeys.toSend(tenant, study, destination, '');
  const limit = Math.max(1, Math.min(most, limits.routingRequestInstances, INSTANCES));
  const behind = after === '' ? {} : { after: `${WAITING}${after}` };
  const page = await index.query({ partition, prefix: WAITING, limit, keysOnly: true, ...behind });
  if (page.records.length === 0) return [];
  const sops = page.records.map(({ sort }) => sort.slice(WAITING.length));
  const delivered = (await index.getMany(sops.map((sop) => routingKeys.instance(tenant, study, destination, sop))))
    .filter((item) => item !== undefined)
    .map((item) => asRecord<DeliveredInstance>(item));
  const found = await index.getMany(
    delivered.map(({ SeriesInstanceUID, SOPInstanceUID }) =>
      keys.instance(tenant, study, SeriesInstanceUID, SOPInstanceUID),
    ),
  );
  const batch: Waiting[] = [];
  let bytes = 0;
  let way: string | undefined;
  for (const [i, one] of delivered.entries()) {
    const record = found[i] && asRecord<InstanceRecord>(found[i]);
    const instance = record?.sha256 === one.sha256 ? record : undefined;
    bytes += instance?.sizeBytes ?? 0;
    way ??= instance && wayOf(instance);
    const fits = bytes <= limits.routingRequestBytes && (instance === undefined || wayOf(instance) === way);
    if (!fits && batch.length > 0) break;
    batch.push({ delivered: one, instance });
  }
  return batch;
}

const wayOf = ({ route = [] }: InstanceRecord): string => route.join(',');

/** What has become of an instance. `later`: it may be taken another time. `gone`: it is not here any more, so there is nothing to send. */
export type Outcome = { readonly SOPInstanceUID: string } & (
  | { readonly kind: 'sent' }
  | { readonly kind: 'gone' }
  | { readonly kind: 'later' | 'refused' | 'hold'; readonly reason: string }
);

export interface Settled {
  readonly sent: number;
  readonly held: number;
  /** of those that were not sent: they wait on, or are held */
  readonly failed: number;
}

/** Writes down what has become of instances, each with the count of its delivery. Those that somebody has dealt with meanwhile stay as they are. */
export async function settle(
  services: Pick<Services, 'index' | 'clock' | 'limits'>,
  job: Job,
  outcomes: readonly Outcome[],
): Promise<Settled> {
  let settled: Settled = { sent: 0, held: 0, failed: 0 };
  for (let at = 0; at < outcomes.length; at += INSTANCES)
    settled = sumOf(settled, await settleSome(services, job, outcomes.slice(at, at + INSTANCES)));
  return settled;
}

const sumOf = (a: Settled, b: Settled): Settled => ({
  sent: a.sent + b.sent,
  held: a.held + b.held,
  failed: a.failed + b.failed,
});

async function settleSome(
  { index, clock, limits }: Pick<Services, 'index' | 'clock' | 'limits'>,
  { tenant, study, destination }: Job,
  outcomes: readonly Outcome[],
): Promise<Settled> {
  let counted: Settled = { sent: 0, held: 0, failed: 0 };
  await changeDelivery(index, tenant, study, destination, async (delivery) => {
    const items = await index.getMany(
      outcomes.map(({ SOPInstanceUID }) => routingKeys.instance(tenant, study, destination, SOPInstanceUID)),
    );
    const now = clock.now();
    const counts = countsOf(delivery);
    const beside: WriteOperation[] = [];
    let [sent, held, failed] = [0, 0, 0];
    let problem = delivery.problem;
    for (const [i, outcome] of outcomes.entries()) {
      const item = items[i];
      const known = asRecord<DeliveredInstance>(item);
      if (known?.state !== 'waiting') continue;
      const next = nextOf(known, outcome, now, limits);
      counts.waiting--;
      counts[next.state]++;
      if (next.state === 'sent') sent++;
      if (next.state === 'held') held++;
      if (next.reason !== undefined) {
        failed++;
        problem = { class: 'refused', reason: next.reason, at: now };
      }
      beside.push(...instanceWrites(tenant, study, destination, known, next));
    }
    counted = { sent, held, failed };
    return { after: { ...delivery, ...counts, ...(problem && { problem }) }, beside };
  });
  return counted;
}

const countsOf = ({ waiting, sent, held, discarded }: Delivery): Record<InstanceState, number> => ({
  waiting,
  sent,
  held,
  discarded,
});

function nextOf(
  known: DeliveredInstance,
  outcome: Outcome,
  now: number,
  limits: Pick<Services['limits'], 'routingRefusals' | 'routingGiveUpMs'>,
): DeliveredInstance {
  const { reason: _, ...instance } = known;
  if (outcome.kind === 'sent') return { ...instance, state: 'sent', at: now };
  if (outcome.kind === 'gone') return { ...instance, state: 'discarded', at: now };
  const { kind, reason } = outcome;
  const refusals = known.refusals + (kind === 'refused' ? 1 : 0);
  const isOver =
    kind === 'hold' || refusals >= limits.routingRefusals || now - known.queuedAt >= limits.routingGiveUpMs;
  return { ...instance, refusals, reason, state: isOver ? 'held' : 'waiting', at: now };
}

/**
 * Holds what waits of a delivery, or what has waited since before `before` (ms since 1970).
 * @returns how many instances
 */
export async function holdWaiting(
  services: Pick<Services, 'index' | 'clock' | 'limits'>,
  job: Job,
  reason: string,
  failureClass: FailureClass,
  before = Number.POSITIVE_INFINITY,
): Promise<number> {
  const { index, clock } = services;
  const { tenant, study, destination } = job;
  const { partition } = routingKeys.toSend(tenant, study, destination, '');
  let held = 0;
  for await (const page of pagesIn(index, { partition, prefix: WAITING, limit: INSTANCES, keysOnly: true })) {
    const sops = page.map(({ sort }) => sort.slice(WAITING.length));
    const items = await index.getMany(sops.map((sop) => routingKeys.instance(tenant, study, destination, sop)));
    const old = items.flatMap((item) => {
      const one = asRecord<DeliveredInstance>(item);
      return one !== undefined && one.queuedAt <= before ? [one.SOPInstanceUID] : [];
    });
    const outcomes = old.map((SOPInstanceUID): Outcome => ({ SOPInstanceUID, kind: 'hold', reason }));
    held += (await settle(services, job, outcomes)).held;
  }
  if (held === 0) return 0;
  await changeDelivery(index, tenant, study, destination, ({ leased: _, ...delivery }) => {
    const problem = { class: failureClass, reason, at: clock.now() };
    if (delivery.waiting > 0) return { after: { ...delivery, problem } };
    return { after: { ...delivery, problem, state: 'held', since: clock.now(), failures: 0 } };
  });
  return held;
}
