import cluster from 'node:cluster';
import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, register } from 'prom-client';
import type { DeliveryReport } from '#core/routing/deliver.ts';
import type { DestinationBacklog } from '#core/routing/deliveries.ts';

/** Classes of sizes, so that a slow 2 GB object does not hide among fast small ones. */
const SIZE_CLASSES: readonly [limitBytes: number, name: string][] = [
  [64 * 1024, 'le_64k'],
  [1024 * 1024, 'le_1m'],
  [16 * 1024 * 1024, 'le_16m'],
  [256 * 1024 * 1024, 'le_256m'],
];
export const sizeClass = (bytes: number): string => SIZE_CLASSES.find(([limit]) => bytes <= limit)?.[1] ?? 'gt_256m';

const buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const requestSeconds = new Histogram({
  name: 'nephos_request_seconds',
  help: 'Time from a request to the last byte of its answer, by transaction and size class of what was carried',
  labelNames: ['transaction', 'size'],
  buckets,
});
const requests = new Counter({
  name: 'nephos_requests_total',
  help: 'Requests by transaction and status',
  labelNames: ['transaction', 'status'],
});
const bytes = new Counter({
  name: 'nephos_body_bytes_total',
  help: 'Bytes of bodies received and sent',
  labelNames: ['direction'],
});

export function observe(request: {
  transaction: string;
  status: number;
  seconds: number;
  received: number;
  sent: number;
}): void {
  const { transaction } = request;
  requestSeconds.observe({ transaction, size: sizeClass(Math.max(request.received, request.sent)) }, request.seconds);
  requests.inc({ transaction, status: request.status });
  if (request.received > 0) bytes.inc({ direction: 'received' }, request.received);
  if (request.sent > 0) bytes.inc({ direction: 'sent' }, request.sent);
}

const dimseSeconds = new Histogram({
  name: 'nephos_dimse_operation_seconds',
  help: 'Time from a DIMSE request to its final response, by command',
  labelNames: ['command'],
  buckets,
});
const dimseOperations = new Counter({
  name: 'nephos_dimse_operations_total',
  help: 'DIMSE operations by command and status',
  labelNames: ['command', 'status'],
});
const dimseAssociations = new Counter({
  name: 'nephos_dimse_associations_total',
  help: 'Associations, and attempts at one, that have ended, by how',
  labelNames: ['outcome'],
});
const dimseBytes = new Counter({
  name: 'nephos_dimse_bytes_total',
  help: 'Bytes of DIMSE connections',
  labelNames: ['direction'],
});

export function observeOperation(operation: { command: string; status: number; seconds: number }): void {
  const { command, status, seconds } = operation;
  dimseSeconds.observe({ command }, seconds);
  dimseOperations.inc({ command, status: status.toString(16).toUpperCase().padStart(4, '0') });
}

export function observeAssociation(end: { outcome: string; received: number; sent: number }): void {
  dimseAssociations.inc({ outcome: end.outcome });
  dimseBytes.inc({ direction: 'received' }, end.received);
  dimseBytes.inc({ direction: 'sent' }, end.sent);
}

const auditLag = new Gauge({
  name: 'nephos_audit_export_lag_seconds',
  help: 'Age of the oldest entry of the audit trail that the repository has not taken, by tenant; absent where there is no repository',
  labelNames: ['tenant'],
  // One process hands over, and the others know nothing of it.
  aggregator: 'max',
});
const auditExported = new Counter({
  name: 'nephos_audit_exported_total',
  help: 'Entries of the audit trail that the repository has taken',
});
const auditExportFailures = new Counter({
  name: 'nephos_audit_export_failures_total',
  help: 'Deliveries to the audit repository that failed, and will be tried again',
});

/** `lagMs`: undefined where another process sees to the tenant. */
export function observeAuditExport(tenant: string, { sent, lagMs, failed }: AuditExported): void {
  auditLag.set({ tenant }, (lagMs ?? 0) / 1000);
  auditExported.inc(sent);
  if (failed) auditExportFailures.inc();
}

interface AuditExported {
  readonly sent: number;
  readonly lagMs: number | undefined;
  readonly failed: boolean;
}

const routingWaiting = new Gauge({
  name: 'nephos_routing_waiting',
  help: 'Studies that wait to be sent to a destination',
  labelNames: ['destination'],
  // Every process counts the same ones.
  aggregator: 'max',
});
const routingHeld = new Gauge({
  name: 'nephos_routing_held',
  help: 'Studies that could not be sent to a destination, and wait for a person',
  labelNames: ['destination'],
  aggregator: 'max',
});
const routingOldest = new Gauge({
  name: 'nephos_routing_oldest_seconds',
  help: 'How long the study that has waited longest for a destination has done so',
  labelNames: ['destination'],
  aggregator: 'max',
});
const routingSent = new Counter({
  name: 'nephos_routing_sent_instances_total',
  help: 'Instances that a destination has taken',
  labelNames: ['destination'],
});
const routingFailures = new Counter({
  name: 'nephos_routing_failures_total',
  help: 'Attempts that failed, and instances that were refused, by destination and class of failure',
  labelNames: ['destination', 'class'],
});

export function observeBacklog(backlog: ReadonlyMap<string, DestinationBacklog>, now: number): void {
  for (const gauge of [routingWaiting, routingHeld, routingOldest]) gauge.reset();
  for (const [destination, { waiting, held, oldestAt }] of backlog) {
    routingWaiting.set({ destination }, waiting);
    routingHeld.set({ destination }, held);
    routingOldest.set({ destination }, oldestAt === undefined ? 0 : Math.max(0, now - oldestAt) / 1000);
  }
}

export function observeDelivery({ destination, sent, failures }: DeliveryReport): void {
  if (sent > 0) routingSent.inc({ destination }, sent);
  for (const [name, count] of Object.entries(failures)) routingFailures.inc({ destination, class: name }, count);
}

const emergencies = new Counter({
  name: 'nephos_emergency_access_total',
  help: 'Times that somebody took emergency access (break-glass); each is an alarm',
});

export const observeEmergency = (): void => emergencies.inc();

const COLLECT_MS = 5_000;
const ASK = 'nephos:metrics?';
const ANSWER = 'nephos:metrics!';
let nextQuestion = 0;

/** In the primary: collects from all workers and answers those that are asked for `/metrics`. */
export function serveMetrics(): void {
  const aggregator = new AggregatorRegistry();
  cluster.on('message', (worker, message: { type?: string; id?: number }) => {
    if (message?.type !== ASK) return;
    aggregator
      .clusterMetrics()
      .catch(() => '')
      .then((text) => worker.isConnected() && worker.send({ type: ANSWER, id: message.id, text }));
  });
}

export function startMetrics(): void {
  collectDefaultMetrics();
  // Workers answer the primary's questions only where a registry of this kind has been made.
  if (cluster.isWorker) new AggregatorRegistry();
}

/** Prometheus text of all processes. */
export function metricsText(): Promise<string> {
  if (!cluster.isWorker) return register.metrics();
  return new Promise((resolve, reject) => {
    const id = nextQuestion++;
    const timer = setTimeout(() => {
      process.off('message', listen);
      reject(new Error('the primary did not answer'));
    }, COLLECT_MS);
    const listen = (message: { type?: string; id?: number; text?: string }) => {
      if (message?.type !== ANSWER || message.id !== id) return;
      clearTimeout(timer);
      process.off('message', listen);
      resolve(message.text ?? '');
    };
    process.on('message', listen);
    process.send?.({ type: ASK, id });
  });
}
