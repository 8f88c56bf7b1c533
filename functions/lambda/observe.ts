import { Logger } from '@aws-lambda-powertools/logger';
import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import type { MiddlewareObj } from '@middy/core';
import type { Context } from 'aws-lambda';
import { describeError } from '#core/errors.ts';
import type { DeliveryReport } from '#core/routing/deliver.ts';
import type { DestinationBacklog } from '#core/routing/deliveries.ts';
import type { FunctionName } from './functions.ts';

/** JSON lines with the request's id. Names of transactions, codes, times and sizes; never paths, queries or bodies: they hold names. */
export const logger = new Logger({ serviceName: 'nephos' });
/** Embedded metric format: CloudWatch reads them from the log. Dimensions: the transaction, or the queue. */
export const metrics = new Metrics({ namespace: 'Nephos', serviceName: 'nephos' });

export interface Outcome {
  /** transaction or queue */
  readonly name: string;
  /** whose request or job it was, where that is known */
  readonly tenant?: string | undefined;
  readonly status: number | 'done' | 'retried' | 'refused';
}

/** What a handler returns: what the runtime is to have, and what the log. */
export interface Observed {
  readonly result: unknown;
  readonly outcomes: readonly Outcome[];
}

/** What a function throws because its caller wants it so: nothing has gone wrong. */
export class ExpectedError extends Error {}

/** The outermost middleware: one log line and the metrics of an invocation, whether it succeeded or threw. */
export function observing(name: FunctionName): MiddlewareObj<unknown, unknown, Error, Context> {
  let startedAt = 0;
  let isCold = true;
  const observe = (outcomes: readonly Outcome[]): void => {
    const ms = Math.round(performance.now() - startedAt);
    logger.info('invocation', { function: name, ms, cold: isCold, outcomes });
    for (const { name: transaction, status } of outcomes) {
      const single = metrics.singleMetric();
      single.addDimension('transaction', transaction);
      single.addMetric(typeof status === 'number' ? `${Math.floor(status / 100)}xx` : status, MetricUnit.Count, 1);
      if (outcomes.length === 1) single.addMetric('duration', MetricUnit.Milliseconds, ms);
    }
    isCold = false;
  };
  return {
    before({ context }) {
      startedAt = performance.now();
      logger.addContext(context);
    },
    after(request) {
      const { result, outcomes } = request.response as Observed;
      observe(outcomes);
      request.response = result;
    },
    onError({ error }) {
      if (error instanceof ExpectedError) return observe([{ name, status: 400 }]);
      logger.error('invocation-failed', { function: name, failure: describeError(error) });
      observe([{ name, status: 500 }]);
    },
  };
}

/** Somebody took emergency access: an alarm stands on this metric. */
export function countEmergency(): void {
  metrics.singleMetric().addMetric('emergencyAccess', MetricUnit.Count, 1);
}

/** Rates could not be shared between sandboxes for a while, and each kept them by itself. */
export function countLonelyRates(): void {
  metrics.singleMetric().addMetric('ratesNotShared', MetricUnit.Count, 1);
}

/** How far the audit trail of a tenant is from its repository. */
export function countAudit(tenant: string, { sent, lagMs }: { sent: number; lagMs: number }): void {
  const single = metrics.singleMetric();
  single.addDimension('tenant', tenant);
  single.addMetric('auditExported', MetricUnit.Count, sent);
  const other = metrics.singleMetric();
  other.addDimension('tenant', tenant);
  other.addMetric('auditLag', MetricUnit.Seconds, lagMs / 1000);
}

/** What became of a study on its way to another archive. */
export function countDelivery({ destination, sent, held, failures }: DeliveryReport): void {
  const count = (name: string, value: number, failureClass?: string): void => {
    if (value === 0) return;
    const single = metrics.singleMetric();
    single.addDimension('destination', destination);
    if (failureClass !== undefined) single.addDimension('class', failureClass);
    single.addMetric(name, MetricUnit.Count, value);
  };
  count('routingSent', sent);
  count('routingHeld', held);
  for (const [name, value] of Object.entries(failures)) count('routingFailures', value, name);
}

/** Studies of a tenant that wait to be sent on, how long the oldest of them has, and those that wait for a person. */
export function countBacklog(tenant: string, backlog: ReadonlyMap<string, DestinationBacklog>, now: number): void {
  const all = [...backlog.values()];
  const sum = (state: 'waiting' | 'held'): number => all.reduce((count, one) => count + one[state], 0);
  const oldestAt = Math.min(now, ...all.map((one) => one.oldestAt ?? now));
  for (const [name, unit, value] of [
    ['routingWaiting', MetricUnit.Count, sum('waiting')],
    ['routingStopped', MetricUnit.Count, sum('held')],
    ['routingOldest', MetricUnit.Seconds, (now - oldestAt) / 1000],
  ] as const) {
    const single = metrics.singleMetric();
    single.addDimension('tenant', tenant);
    single.addMetric(name, unit, value);
  }
}

/** What a nightly comparison has found, as metrics of the tenant. */
export function countFindings(tenant: string, { missing, unknown }: { missing: number; unknown: number }): void {
  const single = metrics.singleMetric();
  single.addDimension('tenant', tenant);
  single.addMetric('objectsMissing', MetricUnit.Count, missing);
  const other = metrics.singleMetric();
  other.addDimension('tenant', tenant);
  other.addMetric('objectsUnknown', MetricUnit.Count, unknown);
}
