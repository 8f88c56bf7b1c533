import { PacsError } from './errors.ts';
import { asItem, asRecord, type Item, type Key } from './ports/index-table.ts';
import type { Services } from './services.ts';

/**
 * What an edge gateway tells of itself every so often. Counts, sizes, times, AE titles and codes: nothing of any patient, and no UID.
 * Times are ms since 1970.
 */
export interface GatewayReport {
  /** of the gateway's program */
  readonly version: string;
  readonly startedAt: number;
  /** when the next report is to be expected (s) */
  readonly everySeconds: number;
  readonly aeTitle: string;
  /** one for each upstream */
  readonly queues: readonly GatewayQueue[];
  readonly disk: {
    readonly freeBytes: number;
    /** what is held for nothing but reading */
    readonly cacheBytes: number;
    /** for how long what comes in has room at the rate of late; null: nothing comes in */
    readonly daysLeft: number | null;
  };
  /** who has called, the latest first */
  readonly modalities: readonly GatewayModality[];
  readonly configuration: {
    /** of the signed configuration in force; null: its own file alone */
    readonly number: number | null;
    /** one that came and was not taken */
    readonly refused?: { readonly number: number; readonly reason: string } | undefined;
  };
}

export interface GatewayQueue {
  readonly upstream: string;
  readonly link: 'online' | 'offline' | 'unknown';
  readonly paused: boolean;
  readonly waiting: number;
  readonly waitingBytes: number;
  /** when the oldest that waits came in; null: none does */
  readonly oldestAt: number | null;
  readonly held: number;
  /** last error of the link: codes and statuses alone */
  readonly lastError?: string | undefined;
}

export interface GatewayModality {
  readonly aeTitle: string;
  readonly lastSeenAt: number;
  /** objects taken from it since the gateway was started */
  readonly objects: number;
}

/** A signed configuration as it lies at the archive. The archive cannot verify it: only gateways have the public key that counts. */
export interface GatewayConfiguration {
  /** grows with each: a gateway takes no older one */
  readonly number: number;
  /** the document of the gateway's configuration, JSON, to the byte as it was signed */
  readonly document: string;
  /** Ed25519, base64 */
  readonly signature: string;
}

export interface Gateway {
  readonly id: string;
  readonly report: GatewayReport;
  readonly receivedAt: number;
  /** several reports in a row have not come */
  readonly isStale: boolean;
  /** of the configuration that waits for it, or that it has */
  readonly configurationNumber: number | undefined;
}

/** Reports that may be missing before a gateway counts as stale. */
const MISSED_REPORTS = 3;
/** gateways of a tenant */
const GATEWAYS = 1_000;
const QUEUES = 50;
const MODALITIES = 500;
const TEXT_CHARACTERS = 300;
/** A record holds it as a whole, beside its signature (characters). */
export const CONFIGURATION_CHARACTERS = 100_000;

const reportKey = (tenant: string, id: string): Key => ({ partition: `${tenant}|gateways`, sort: id });
const configurationKey = (tenant: string, id: string): Key => ({
  partition: `${tenant}|gatewayconfigurations`,
  sort: id,
});

export const isGatewayId = (id: string): boolean => /^[a-z0-9][a-z0-9-]{0,62}$/.test(id);

/** Keeps the report. @returns the configuration that the gateway does not have yet, if there is one */
export async function recordReport(
  { index, clock }: Services,
  tenant: string,
  id: string,
  report: GatewayReport,
): Promise<GatewayConfiguration | undefined> {
  if (!isGatewayId(id)) throw new PacsError('BAD_REQUEST', 'a gateway’s id is [a-z0-9][a-z0-9-]{0,62}');
  const key = reportKey(tenant, id);
  if ((await index.get(key)) === undefined) {
    const { partition } = key;
    const { records } = await index.query({ partition, limit: GATEWAYS, keysOnly: true });
    if (records.length >= GATEWAYS)
      throw new PacsError('TOO_LARGE', 'there are too many gateways', { details: { limit: GATEWAYS } });
  }
  const item = { receivedAt: clock.now(), report: asItem(report) };
  // The next one comes soon enough: nothing is lost with a report.
  await index.write([{ kind: 'put', key, item }], { durability: 'deferred' });
  const configuration = await gatewayConfiguration({ index }, tenant, id);
  if (configuration === undefined || configuration.number <= (report.configuration.number ?? 0)) return undefined;
  // What it has refused it would refuse again.
  return configuration.number === report.configuration.refused?.number ? undefined : configuration;
}

export async function listGateways({ index, clock }: Services, tenant: string): Promise<Gateway[]> {
  const { partition } = reportKey(tenant, '');
  const { records } = await index.query({ partition, limit: GATEWAYS });
  const keys = records.map(({ sort }) => configurationKey(tenant, sort));
  const gateways: Gateway[] = [];
  for (let at = 0; at < keys.length; at += 100) {
    const configurations = await index.getMany(keys.slice(at, at + 100));
    for (const [i, { sort, item }] of records.slice(at, at + 100).entries())
      gateways.push(gatewayOf(sort, item, configurations[i], clock.now()));
  }
  return gateways;
}

function gatewayOf(id: string, item: Item, configuration: Item | undefined, now: number): Gateway {
  const { receivedAt, report } = asRecord<{ receivedAt: number; report: GatewayReport }>(item);
  const isStale = now - receivedAt > MISSED_REPORTS * report.everySeconds * 1000;
  return { id, report, receivedAt, isStale, configurationNumber: configuration?.number as number | undefined };
}

/** @throws PacsError NOT_FOUND */
export async function getGateway({ index, clock }: Services, tenant: string, id: string): Promise<Gateway> {
  const [item, configuration] = await index.getMany([reportKey(tenant, id), configurationKey(tenant, id)]);
  if (item === undefined) throw new PacsError('NOT_FOUND', 'there is no such gateway', { details: { id } });
  return gatewayOf(id, item, configuration, clock.now());
}

/** One that has been taken down. It is listed again as soon as it reports. @throws PacsError NOT_FOUND */
export async function forgetGateway(services: Services, tenant: string, id: string): Promise<void> {
  await getGateway(services, tenant, id);
  await services.index.write([
    { kind: 'delete', key: reportKey(tenant, id) },
    { kind: 'delete', key: configurationKey(tenant, id) },
  ]);
}

export async function gatewayConfiguration(
  { index }: Pick<Services, 'index'>,
  tenant: string,
  id: string,
): Promise<GatewayConfiguration | undefined> {
  const item = await index.get(configurationKey(tenant, id));
  if (item === undefined) return undefined;
  const { version, document, signature } = item as { version: number; document: string; signature: string };
  return { number: version, document, signature };
}

/** @throws PacsError CONFLICT where a configuration of this number, or a greater one, is there */
export async function putGatewayConfiguration(
  { index }: Services,
  tenant: string,
  id: string,
  { number, document, signature }: GatewayConfiguration,
): Promise<void> {
  if (!isGatewayId(id)) throw new PacsError('BAD_REQUEST', 'a gateway’s id is [a-z0-9][a-z0-9-]{0,62}');
  const key = configurationKey(tenant, id);
  const current = await index.get(key);
  const newest = (current?.version as number | undefined) ?? 0;
  if (number <= newest)
    throw new PacsError('CONFLICT', 'the configuration’s number must grow', { details: { newest } });
  const outcome = await index.write([
    // `version` and `number` are one: the store compares the former.
    {
      kind: 'put',
      key,
      item: { version: number, number, document, signature },
      if: current === undefined ? 'absent' : { version: newest },
    },
  ]);
  if (!outcome.committed) throw new PacsError('CONFLICT', 'somebody else has put another configuration');
}

/** What will be given to the gateway no more; what it has, it keeps. */
export async function withdrawGatewayConfiguration({ index }: Services, tenant: string, id: string): Promise<void> {
  await index.write([{ kind: 'delete', key: configurationKey(tenant, id) }]);
}

type Members = Record<string, unknown>;

const refuse = (name: string): never => {
  throw new PacsError('BAD_REQUEST', `the report’s ${name} is missing or malformed`);
};
const members = (value: unknown, name: string): Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Members) : refuse(name);
const whole = (value: unknown, name: string): number =>
  Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : refuse(name);
const text = (value: unknown, name: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they have no place in a page
  typeof value === 'string' && value.length <= TEXT_CHARACTERS && !/[\x00-\x1f\x7f]/.test(value) ? value : refuse(name);
const list = (value: unknown, name: string, most: number): unknown[] =>
  Array.isArray(value) && value.length <= most ? value : refuse(name);
const orNull = <T>(value: unknown, read: (value: unknown) => T): T | null => (value === null ? null : read(value));

/** A report from outside, checked; members that nobody knows are dropped. @throws PacsError BAD_REQUEST */
export function readGatewayReport(body: Members): GatewayReport {
  const disk = members(body.disk, 'disk');
  const configuration = members(body.configuration, 'configuration');
  const everySeconds = whole(body.everySeconds, 'everySeconds');
  return {
    version: text(body.version, 'version'),
    startedAt: whole(body.startedAt, 'startedAt'),
    everySeconds: everySeconds >= 1 && everySeconds <= 86_400 ? everySeconds : refuse('everySeconds'),
    aeTitle: text(body.aeTitle, 'aeTitle'),
    queues: list(body.queues, 'queues', QUEUES).map((one) => readQueue(members(one, 'queues'))),
    disk: {
      freeBytes: whole(disk.freeBytes, 'disk.freeBytes'),
      cacheBytes: whole(disk.cacheBytes, 'disk.cacheBytes'),
      daysLeft: orNull(disk.daysLeft, (days) =>
        typeof days === 'number' && Number.isFinite(days) && days >= 0 ? days : refuse('disk.daysLeft'),
      ),
    },
    modalities: list(body.modalities, 'modalities', MODALITIES).map((one) => {
      const { aeTitle, lastSeenAt, objects } = members(one, 'modalities');
      return {
        aeTitle: text(aeTitle, 'modalities.aeTitle'),
        lastSeenAt: whole(lastSeenAt, 'modalities.lastSeenAt'),
        objects: whole(objects, 'modalities.objects'),
      };
    }),
    configuration: {
      number: orNull(configuration.number, (number) => whole(number, 'configuration.number')),
      ...(configuration.refused !== undefined && { refused: readRefused(members(configuration.refused, 'refused')) }),
    },
  };
}

const readRefused = ({ number, reason }: Members): { number: number; reason: string } => ({
  number: whole(number, 'configuration.refused.number'),
  reason: text(reason, 'configuration.refused.reason'),
});

function readQueue(one: Members): GatewayQueue {
  const link =
    one.link === 'online' || one.link === 'offline' || one.link === 'unknown' ? one.link : refuse('queues.link');
  return {
    upstream: text(one.upstream, 'queues.upstream'),
    link,
    paused: one.paused === true,
    waiting: whole(one.waiting, 'queues.waiting'),
    waitingBytes: whole(one.waitingBytes, 'queues.waitingBytes'),
    oldestAt: orNull(one.oldestAt, (at) => whole(at, 'queues.oldestAt')),
    held: whole(one.held, 'queues.held'),
    ...(one.lastError !== undefined && { lastError: text(one.lastError, 'queues.lastError') }),
  };
}
