import { Counter, Gauge, Registry } from 'prom-client';
import { metricsText } from '#embedded/metrics.ts';
import type { GatewayStatus } from './snapshot.ts';

/** Prometheus text: the gateway's own gauges, then those of the process and of DIMSE. */
export async function gatewayMetrics(status: GatewayStatus): Promise<string> {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, labels: readonly string[] = []): Gauge =>
    new Gauge({ name: `nephos_edge_${name}`, help, labelNames: [...labels], registers });
  const counter = (name: string, help: string, labels: readonly string[]): Counter =>
    new Counter({ name: `nephos_edge_${name}`, help, labelNames: [...labels], registers });
  const of = ['destination'];

  const waiting = gauge('queue_instances', 'Instances that wait to be sent, those being sent included', of);
  const waitingBytes = gauge('queue_bytes', 'Bytes that wait to be sent', of);
  const sending = gauge('sending_instances', 'Instances in requests under way', of);
  const oldest = gauge(
    'queue_oldest_age_seconds',
    'Since the study arrived that has waited longest; 0: none waits',
    of,
  );
  const held = gauge('held_instances', 'Instances that were refused for good and wait for a person', of);
  const heldBytes = gauge('held_bytes', 'Bytes of held instances', of);
  const confirmed = counter('confirmed_instances_total', 'Instances that a destination vouches for', of);
  const confirmedBytes = counter('confirmed_bytes_total', 'Bytes of instances that a destination vouches for', of);
  const objectRate = gauge('send_instances_per_second', 'Of the last five minutes', of);
  const byteRate = gauge('send_bytes_per_second', 'Of the last five minutes', of);
  const failures = counter(
    'failures_total',
    'Requests that failed because of the line; attempts of instances that failed: transient, ambiguous, permanent',
    [...of, 'class'],
  );
  const online = gauge('upstream_online', '1: the last request was answered, 0: it cannot be reached', of);
  const contact = gauge('upstream_last_contact_timestamp_seconds', 'When the upstream last answered anything', of);
  const paused = gauge('paused', '1: a person has paused the destination', of);
  for (const one of status.destinations) {
    const labels = { destination: one.name };
    waiting.set(labels, one.pending);
    waitingBytes.set(labels, one.pendingBytes);
    sending.set(labels, one.sending);
    oldest.set(labels, one.oldestAt === undefined ? 0 : Math.max(0, status.at - one.oldestAt) / 1000);
    held.set(labels, one.held);
    heldBytes.set(labels, one.heldBytes);
    confirmed.inc(labels, one.confirmed);
    confirmedBytes.inc(labels, one.confirmedBytes);
    objectRate.set(labels, one.rate.objectsPerSecond);
    byteRate.set(labels, one.rate.bytesPerSecond);
    failures.inc({ ...labels, class: 'line' }, one.blocked);
    for (const [name, count] of Object.entries(one.failures)) failures.inc({ ...labels, class: name }, count);
    if (one.link !== 'unknown') online.set(labels, one.link === 'online' ? 1 : 0);
    if (one.upstream.lastContactAt !== undefined) contact.set(labels, one.upstream.lastContactAt / 1000);
    paused.set(labels, one.paused ? 1 : 0);
  }

  const left = gauge('left_instances', 'Instances that wait for a destination that is no longer configured', of);
  for (const { name, pending, held: count } of status.left) left.set({ destination: name }, pending + count);

  gauge('conflicts', 'Objects under a UID that other bytes have, which wait for a person, counted up to 100').set(
    status.conflicts.count,
  );
  gauge('conflict_bytes', 'Bytes of these').set(status.conflicts.sizeBytes);

  const { disk } = status;
  gauge('disk_free_bytes', 'Free where the data folder stands').set(disk.freeBytes);
  gauge('disk_reserve_bytes', 'With less than this free, new objects are refused').set(disk.reserveBytes);
  gauge('disk_refusing', '1: new objects are refused, as the disk is nearly full').set(disk.refusing ? 1 : 0);
  gauge('intake_bytes_per_day', 'Bytes that come in, of the last week').set(disk.bytesPerDay);
  const days = gauge(
    'buffer_days_left',
    'Days for which what comes in has room while nothing goes out; +Inf: nothing comes in',
  );
  days.set(disk.daysLeft ?? Number.POSITIVE_INFINITY);
  if (disk.cacheBytes !== undefined) gauge('cache_bytes', 'Bytes of all that is kept here').set(disk.cacheBytes);
  const { worklist, procedureSteps } = status;
  gauge('untaken_instances', 'Instances stored that no queue has yet, counted up to 100').set(status.untaken);
  if (worklist.ageMs !== undefined)
    gauge('worklist_age_seconds', 'Since the worklist was last known to be the archive’s').set(worklist.ageMs / 1000);
  gauge('procedure_steps_waiting', 'MPPS messages that somebody has not heard yet, counted up to 100 for each').set(
    procedureSteps.waiting,
  );
  gauge('procedure_steps_held', 'MPPS messages that were refused').set(procedureSteps.held.length);
  const answers = gauge('commitments_waiting', 'Answers to storage commitment that are owed', ['caller']);
  for (const { aeTitle, count } of status.owed.commitments) answers.set({ caller: aeTitle }, count);
  const notices = gauge('notifications_waiting', 'Instance availability notifications that are to be sent', [
    'listener',
  ]);
  for (const { aeTitle, count } of status.owed.notices) notices.set({ listener: aeTitle }, count);
  const givenUp = gauge('jobs_given_up', 'Work that was given up after many attempts, or a week', ['queue']);
  for (const { queue, count } of status.owed.givenUp) givenUp.set({ queue }, count);
  if (status.identity !== undefined)
    gauge('identity_refused', '1: the archive gives the gateway no token').set(
      status.identity.refusal === undefined ? 0 : 1,
    );
  gauge('associations', 'DIMSE associations under way').set(status.associations);

  const seen = gauge('caller_last_seen_timestamp_seconds', 'When a calling AE title was last heard', ['calling_ae']);
  const stored = counter('caller_instances_total', 'Instances taken from a calling AE title', ['calling_ae']);
  const refused = counter('caller_refusals_total', 'Requests of a calling AE title that failed', ['calling_ae']);
  for (const { aeTitle, lastSeenAt, objects, refused: count } of status.callers) {
    seen.set({ calling_ae: aeTitle }, lastSeenAt / 1000);
    stored.inc({ calling_ae: aeTitle }, objects);
    refused.inc({ calling_ae: aeTitle }, count);
  }
  return `${await registry.metrics()}\n${await metricsText()}`;
}
