import cluster, { type Worker } from 'node:cluster';
import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, register } from 'prom-client';
import { PacsError } from '#core/errors.ts';
import type { DeliveryReport } from '#core/routing/deliver.ts';
import type { DestinationBacklog } from '#core/routing/deliveries.ts';

/** Classes of sizes, so that a slow 2 GB object does not hide among fast small ones. */
const SIZE_CLASSES: readonly [limitBytes: number, name: string][] = [
  [64 * 1024, 'le_64k'],
  [1024 * 1024, 'le_1m'],
  [16 * 1024 * 1024, 'le_16m'],
  [256 * 1024 * 1024, 'le_256m'],
];
const sizeClass = (bytes: number): string => SIZE_CLASSES.find(([limit]) => bytes <= limit)?.[1] ?? 'gt_256m';

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

const verifiedObjects = new Counter({
  name: 'nephos_verified_objects_total',
  help: 'Objects that the archive has read by itself and compared with their SHA-256',
});
const verifiedBytes = new Counter({
  name: 'nephos_verified_bytes_total',
  help: 'Bytes of these objects',
});
const damagedObjects = new Gauge({
  name: 'nephos_damaged_objects',
  help: 'Objects whose bytes are gone, are not those that were received, or cannot be read, as they were last found',
  // Every process counts the same ones.
  aggregator: 'max',
});

export function observeVerified(bytesRead: number): void {
  verifiedObjects.inc();
  verifiedBytes.inc(bytesRead);
}

export const observeDamaged = (count: number): void => damagedObjects.set(count);

const emergencies = new Counter({
  name: 'nephos_emergency_access_total',
  help: 'Times that somebody took emergency access (break-glass); each is an alarm',
});

export const observeEmergency = (): void => emergencies.inc();

/** How long the processes may take to say what they have counted (ms). */
const COLLECT_MS = 30_000;
/** A server asks the primary for the text of all; the primary asks each server for what it has counted. */
const [ASK, ANSWER] = ['nephos:metrics?', 'nephos:metrics!'];
const [COUNT, COUNTED] = ['nephos:count?', 'nephos:count!'];

interface Said {
  readonly type?: string;
  readonly id?: number;
  /** undefined: not everybody could say it */
  readonly text?: string;
  readonly metrics?: object;
}

/** Questions that wait for their answers. */
class Questions<T> {
  readonly #open = new Map<number, (answer: T | undefined) => void>();
  #next = 0;

  /** The answer; undefined where none comes in time. */
  ask(question: (id: number) => void): Promise<T | undefined> {
    const id = this.#next++;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.answer(id, undefined), COLLECT_MS);
      this.#open.set(id, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      question(id);
    });
  }

  answer(id: number, answer: T | undefined): void {
    const settle = this.#open.get(id);
    this.#open.delete(id);
    settle?.(answer);
  }
}

/** What goes to a process that has just ended is nobody's. */
const unheard = (): void => {};

/** In the primary: collects from all servers and answers those that are asked for `/metrics`. */
export function serveMetrics(): void {
  const collections = new Map<number, { readonly awaited: Set<number>; readonly counted: object[] }>();
  const questions = new Questions<readonly object[]>();
  /** A server has said it, or is no more. */
  const settle = (worker: Worker, id: number): void => {
    const one = collections.get(id);
    one?.awaited.delete(worker.id);
    if (one?.awaited.size === 0) questions.answer(id, one.counted);
  };
  const collect = (): Promise<readonly object[] | undefined> => {
    let own = -1;
    return questions
      .ask((id) => {
        own = id;
        const servers = Object.values(cluster.workers ?? {}).filter((worker) => worker?.isConnected() === true);
        collections.set(id, { awaited: new Set(servers.map((worker) => worker!.id)), counted: [] });
        for (const worker of servers) worker!.send({ type: COUNT, id }, unheard);
      })
      .finally(() => collections.delete(own));
  };
  const gone = (worker: Worker): void => {
    for (const id of [...collections.keys()]) settle(worker, id);
  };
  cluster.on('disconnect', gone);
  cluster.on('exit', gone);
  cluster.on('message', (worker, { type, id = -1, metrics }: Said) => {
    if (type === COUNTED && metrics === undefined) questions.answer(id, undefined);
    else if (type === COUNTED) {
      collections.get(id)?.counted.push(metrics!);
      settle(worker, id);
    } else if (type === ASK)
      void collect()
        .then((counted) => counted && AggregatorRegistry.aggregate([...counted]).metrics())
        .then((text) => worker.isConnected() && worker.send({ type: ANSWER, id, text }, unheard));
  });
}

const asked = new Questions<string>();

export function startMetrics(): void {
  collectDefaultMetrics();
  if (!cluster.isWorker) return;
  const say = (said: Said): void => void (process.connected && process.send?.(said, undefined, undefined, unheard));
  process.on('message', ({ type, id = -1, text }: Said) => {
    if (type === ANSWER) asked.answer(id, text);
    else if (type === COUNT)
      void register.getMetricsAsJSON().then(
        (metrics) => say({ type: COUNTED, id, metrics }),
        () => say({ type: COUNTED, id }),
      );
  });
}

/** Prometheus text of all processes. @throws PacsError BUSY where one of them does not say in time what it has counted */
export async function metricsText(): Promise<string> {
  if (!cluster.isWorker) return register.metrics();
  const text = await asked.ask((id) => process.send?.({ type: ASK, id }, undefined, undefined, unheard));
  if (text === undefined) throw new PacsError('BUSY', 'a server process has not said in time what it counts');
  return text;
}
