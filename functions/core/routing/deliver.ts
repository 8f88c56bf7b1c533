import type { Tenant } from '../archive/records.ts';
import { restoreOnRead } from '../archive/tiering.ts';
import { backoffMs } from '../backoff.ts';
import { asPacsError, PacsError } from '../errors.ts';
import type { Services } from '../services.ts';
import { Attempt, type Failure } from './attempt.ts';
import { ROUTE } from './enqueue.ts';
import { changeDelivery, type Delivery, type DestinationRecord, type FailureClass, findDelivery } from './records.ts';
import { readRouting } from './settings.ts';
import { noteFailure, noteSuccess, pausedState } from './state.ts';
import { holdWaiting, type Outcome, settle, type Waiting, waitingInstances } from './waiting.ts';

export interface DeliveryJob {
  readonly tenant: Tenant;
  readonly study: string;
  readonly destination: string;
}

/** What a job came to, for metrics. `none`: there was nothing to do, or it is another's. */
export interface DeliveryReport {
  readonly kind: 'none' | 'done' | 'later';
  readonly destination: string;
  readonly sent: number;
  readonly held: number;
  readonly failures: Readonly<Partial<Record<FailureClass, number>>>;
}

/** a delivery that has failed so often is sent one instance a request: one of them may be what the destination chokes on */
const ALONE_FROM_FAILURES = 2;
/** … and then so many in a row may fail by themselves before the destination is what has failed */
const OWN_FAILURES = 3;
/** a lease that has run out is waited for so much longer (ms) */
const GRACE_MS = 1_000;

/**
 * A job of the queue: sends what waits of a study for a destination, for a minute, and leaves the rest to another. May run twice, also at the same time: one
 * holds the lease, and only what waits is sent.
 * @throws PacsError what passes (BUSY, …): run it again
 */
export async function deliverStudy(services: Services, job: DeliveryJob): Promise<DeliveryReport> {
  const { tenant, study, destination } = job;
  const nothing: DeliveryReport = { kind: 'none', destination, sent: 0, held: 0, failures: {} };
  const { index, clock, jobs, limits } = services;
  const found = await findDelivery(index, tenant, study, destination);
  if (found?.state !== 'waiting') return nothing;
  if (found.dueAt > clock.now()) {
    // Somebody is at it, or died at it. What waits for another attempt has a message of its own.
    if (found.leased) await jobs.enqueue(ROUTE, { ...job }, { delayMs: found.dueAt - clock.now() + GRACE_MS });
    return nothing;
  }
  const { destinations, identity } = await readRouting(services, tenant);
  const record = destinations.get(destination);
  if (record === undefined) {
    const held = await holdWaiting(services, job, 'the destination was removed', 'configuration');
    return { ...nothing, kind: 'done', held };
  }
  const paused = await pausedState(services, tenant, record);
  if (paused !== undefined) {
    const { until, problem } = paused;
    const before = clock.now() - limits.routingGiveUpMs;
    const held = problem ? await holdWaiting(services, job, problem.reason, problem.class, before) : 0;
    await postpone(services, job, until, problem);
    return { ...nothing, kind: 'later', held };
  }
  const leased = await changeDelivery(index, tenant, study, destination, (delivery) =>
    delivery.state === 'waiting' && delivery.dueAt <= clock.now()
      ? { after: { ...delivery, leased: true, dueAt: clock.now() + limits.routingLeaseMs } }
      : undefined,
  );
  if (leased === undefined) return nothing;
  return new Turn(services, job, record, identity ?? '', leased).run();
}

/** Nobody has it until then; a message comes when it is time. */
async function postpone(
  services: Services,
  job: DeliveryJob,
  until: number,
  problem: Delivery['problem'],
  failed = false,
): Promise<void> {
  const { index, clock, jobs } = services;
  const changed = await changeDelivery(index, job.tenant, job.study, job.destination, ({ leased: _, ...delivery }) =>
    delivery.state === 'waiting'
      ? {
          after: {
            ...delivery,
            dueAt: until,
            failures: delivery.failures + (failed ? 1 : 0),
            ...(problem && { problem }),
          },
        }
      : undefined,
  );
  if (changed) await jobs.enqueue(ROUTE, { ...job }, { delayMs: Math.max(0, until - clock.now()) });
}

/** One worker's time with a delivery. */
class Turn {
  readonly #services: Services;
  readonly #job: DeliveryJob;
  readonly #destination: DestinationRecord;
  readonly #identity: string;
  readonly #failures: Partial<Record<FailureClass, number>> = {};
  /** instances of one request */
  #most: number;
  #leaseUntil: number;
  #ownFailures = 0;
  #sent = 0;
  #held = 0;
  #failed = 0;

  constructor(
    services: Services,
    job: DeliveryJob,
    destination: DestinationRecord,
    identity: string,
    { failures, dueAt }: Delivery,
  ) {
    this.#services = services;
    this.#job = job;
    this.#destination = destination;
    this.#identity = identity;
    this.#most = failures >= ALONE_FROM_FAILURES ? 1 : services.limits.routingRequestInstances;
    this.#leaseUntil = dueAt;
  }

  async run(): Promise<DeliveryReport> {
    const { clock, limits } = this.#services;
    const until = clock.now() + limits.routingTurnMs;
    let kind: DeliveryReport['kind'];
    try {
      await this.#audit('BeginTransferringInstances', 0);
      kind = await this.#work(until);
    } catch (error) {
      // Whoever comes next need not wait for the lease.
      await postpone(this.#services, this.#job, clock.now() + limits.routingFirstRetryMs, undefined);
      throw error;
    } finally {
      if (this.#sent > 0 || this.#failed > 0 || this.#held > 0) await this.#audit('DataExport', this.#sent);
    }
    const { destination } = this.#job;
    return { kind, destination, sent: this.#sent, held: this.#held, failures: this.#failures };
  }

  async #work(until: number): Promise<'done' | 'later'> {
    const { clock, limits } = this.#services;
    let after = '';
    for (;;) {
      const batch = await waitingInstances(this.#services, this.#job, after, this.#most);
      if (batch.length === 0) {
        const left = await this.#finish();
        if (left === 'done') return 'done';
        // Some came behind, or before, what has been looked at.
        if (left !== 'more') return this.#again(left);
        after = '';
        if (clock.now() < until) continue;
        await postpone(this.#services, this.#job, clock.now() + limits.routingFirstRetryMs, undefined);
        return 'later';
      }
      after = batch.at(-1)!.delivered.SOPInstanceUID;
      const failure = await this.#send(batch);
      if (failure === undefined) {
        this.#ownFailures = 0;
        this.#most = Math.min(2 * this.#most, limits.routingRequestInstances);
      } else if (!(await this.#isOwn(batch, failure))) return this.#pause(failure);
      if (clock.now() >= until) {
        await postpone(this.#services, this.#job, clock.now(), undefined);
        return 'later';
      }
      if (clock.now() > this.#leaseUntil - limits.routingLeaseMs / 2) await this.#renew();
    }
  }

  /** @returns why nothing can be sent there now */
  async #send(batch: readonly Waiting[]): Promise<Failure | undefined> {
    const attempt = new Attempt(this.#services, this.#destination, this.#job.tenant, this.#identity, () =>
      this.#renewInTime(),
    );
    let { outcomes, failure, apart } = await attempt.send(batch);
    await this.#note(outcomes);
    if (apart) {
      // Refused as a whole, for what may be one instance's: one by one.
      for (const one of batch) {
        ({ outcomes, failure } = await attempt.send([one]));
        await this.#note(outcomes);
        if (failure !== undefined) break;
        await this.#renewInTime();
      }
    }
    if (failure === undefined)
      await noteSuccess(this.#services, this.#job.tenant, this.#destination.name, attempt.archive);
    return failure;
  }

  /** Whether a failure is put down to the one instance that was sent, so that it does not keep the others behind it from being tried. */
  async #isOwn(batch: readonly Waiting[], { mayBeOwn = false, reason }: Failure): Promise<boolean> {
    if (!mayBeOwn || this.#most > 1 || ++this.#ownFailures >= OWN_FAILURES) return false;
    await this.#note(
      batch.map(({ delivered }) => ({ SOPInstanceUID: delivered.SOPInstanceUID, kind: 'later', reason })),
    );
    return true;
  }

  async #note(outcomes: readonly Outcome[]): Promise<void> {
    if (outcomes.length === 0) return;
    const { sent, held, failed } = await settle(this.#services, this.#job, outcomes);
    this.#sent += sent;
    this.#held += held;
    if (failed > 0) {
      this.#failed += failed;
      this.#failures.refused = (this.#failures.refused ?? 0) + failed;
    }
  }

  /** Nothing is left that has not been tried in this turn: over, where nothing waits. */
  async #finish(): Promise<'done' | 'more' | Delivery> {
    const { index, clock } = this.#services;
    const { tenant, study, destination } = this.#job;
    const failed = this.#failed;
    let open: Delivery | undefined;
    const closed = await changeDelivery(index, tenant, study, destination, ({ leased: _, ...delivery }) => {
      open = delivery;
      if (delivery.state !== 'waiting' || delivery.waiting > 0) return undefined;
      const state = delivery.held > 0 ? 'held' : 'done';
      const { problem, ...rest } = delivery;
      return {
        after: { ...rest, ...(state === 'held' && problem && { problem }), state, since: clock.now(), failures: 0 },
      };
    });
    if (closed !== undefined || open === undefined || open.state !== 'waiting') return 'done';
    return failed > 0 ? open : 'more';
  }

  /** Instances were refused that may be taken another time. */
  async #again({ failures, problem }: Delivery): Promise<'later'> {
    const { clock } = this.#services;
    const waitMs = backoffMs(clock, failures + 1, this.#retry);
    await postpone(this.#services, this.#job, clock.now() + waitMs, problem, true);
    return 'later';
  }

  /** The way there is blocked: for what waits for the same destination as well. */
  async #pause(failure: Failure): Promise<'later'> {
    const { clock, limits } = this.#services;
    const { tenant } = this.#job;
    this.#failed++;
    this.#failures[failure.class] = (this.#failures[failure.class] ?? 0) + 1;
    const problem = { class: failure.class, reason: failure.reason, at: clock.now() };
    let until: number;
    if (failure.class === 'local') {
      const cold = asPacsError(failure.cause);
      if (cold.code === 'ARCHIVED') await restoreOnRead(this.#services, cold).catch(() => undefined);
      until = clock.now() + (cold.code === 'ARCHIVED' ? limits.restorePollMs : limits.routingMostRetryMs);
    } else
      until = await noteFailure(this.#services, tenant, this.#destination.name, problem, failure.retryAfterMs ?? 0);
    const before = clock.now() - limits.routingGiveUpMs;
    this.#held += await holdWaiting(this.#services, this.#job, failure.reason, failure.class, before);
    await postpone(this.#services, this.#job, until, problem, true);
    return 'later';
  }

  get #retry(): { firstMs: number; mostMs: number } {
    const { routingFirstRetryMs: firstMs, routingMostRetryMs: mostMs } = this.#services.limits;
    return { firstMs, mostMs };
  }

  async #renewInTime(): Promise<void> {
    const { clock, limits } = this.#services;
    if (clock.now() > this.#leaseUntil - limits.routingLeaseMs / 2) await this.#renew();
  }

  /** @throws PacsError BUSY when it was taken for dead, and another has taken over */
  async #renew(): Promise<void> {
    const { index, clock, limits } = this.#services;
    const { tenant, study, destination } = this.#job;
    const mine = this.#leaseUntil;
    if (clock.now() > mine) throw new PacsError('BUSY', 'another may be at this delivery');
    const until = clock.now() + limits.routingLeaseMs;
    this.#leaseUntil = until;
    await changeDelivery(index, tenant, study, destination, (delivery) => ({ after: { ...delivery, dueAt: until } }));
  }

  /** Before anything leaves, so that no export is without a trace; and what it came to. @throws PacsError BUSY as AuditTrail.record */
  async #audit(event: 'BeginTransferringInstances' | 'DataExport', instances: number): Promise<void> {
    const { audit, clock } = this.#services;
    const { tenant, study, destination } = this.#job;
    await audit.record(tenant, {
      at: clock.now(),
      event,
      action: event === 'DataExport' ? 'R' : 'E',
      outcome: this.#failed > 0 || this.#held > 0 ? 8 : 0,
      subject: `route:${destination}`,
      roles: [],
      door: 'system',
      transaction: 'RouteStudy',
      studies: [study],
      ...(event === 'DataExport' && { instances }),
      destination: new URL(this.#destination.url).origin,
    });
  }
}
