import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type InstanceRecord, keys, type SopClaim } from '#core/archive/records.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { asRecord } from '#core/ports/index-table.ts';
import { associate, proposing, type RemoteEntity, sendObject } from '#dimse/scu.ts';
import { checked } from '#edge/config.ts';
import type { DestinationStatus } from '#edge/forward/forwarder.ts';
import { type Gateway, type GatewayOptions, openGateway } from '#edge/gateway.ts';
import { edgeEvidence } from '#edge/queues/commitment.ts';
import { createApp } from '#embedded/app.ts';
import { type Archive, openArchive } from '#embedded/archive.ts';
import { readConfig } from '#embedded/config.ts';
import { type Answer, createHttpHost } from '#embedded/http-host.ts';
import { createLog } from '#embedded/log.ts';
import { FaultyLine } from './faulty-line.ts';
import { UnderWay } from './under-way.ts';

export const TENANT = 'main';
const quiet = createLog('error', (line) => process.env.NEPHOS_TEST_LOG && process.stderr.write(line));
const loud = createLog('debug', (line) => process.stderr.write(line));
export const LOG = process.env.NEPHOS_TEST_LOG === 'debug' ? loud : quiet;

/** Short enough for a test, with every rule in force; but an answer is waited for as long as a busy machine may need. */
export const IMPATIENT = { retry: { firstMs: 5, mostMs: 40 }, timeoutMs: 20_000 };

/** The embedded archive over HTTP, whose answers a test may change. */
export interface ArchiveSite {
  readonly archive: Archive;
  readonly port: number;
  /** before the answer is given */
  intercept: ((answer: Answer) => Answer) | undefined;
  close(): Promise<void>;
}

export async function startArchiveSite(dataDir: string, env: Record<string, string> = {}): Promise<ArchiveSite> {
  const config = readConfig({ NEPHOS_DATA_DIR: dataDir, NEPHOS_AUTH: 'off', ...env });
  const archive = await openArchive(config);
  const { answer } = createApp({ archive, config, log: LOG });
  const underWay = new UnderWay();
  const server = createHttpHost({
    answer: (request) => (site.intercept?.(answer) ?? answer)(request),
    publicUrl: undefined,
    onDone: underWay.done,
  });
  underWay.watch(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const site: ArchiveSite = {
    archive,
    // Also when it is closed, for who comes late.
    port: (server.address() as AddressInfo).port,
    intercept: undefined,
    async close() {
      await underWay.close(server);
      await archive.close();
    },
  };
  return site;
}

export interface Clinic {
  readonly archive: ArchiveSite;
  readonly line: FaultyLine;
  /** another one after `restart` */
  readonly gateway: Gateway;
  readonly dataDir: string;
  /** stops the gateway and starts it again on the same data */
  restart(upstream?: Record<string, unknown>): Promise<void>;
  close(): Promise<void>;
}

/** A gateway, the archive, and the line between them; `upstream` and `config` as in the configuration file. */
export async function openClinic(
  upstream: Record<string, unknown> = {},
  config: Record<string, unknown> = {},
  options: Partial<GatewayOptions> = {},
): Promise<Clinic> {
  const root = await mkdtemp(join(tmpdir(), 'nephos-clinic-'));
  const archive = await startArchiveSite(join(root, 'archive'));
  const line = await FaultyLine.open(() => archive.port);
  const dataDir = join(root, 'edge');
  const start = (row: Record<string, unknown>): Promise<Gateway> =>
    openGateway(configOf(dataDir, line.port, row, config), { log: LOG, ...options });
  let row = upstream;
  let gateway = await start(row);
  return {
    archive,
    line,
    dataDir,
    get gateway() {
      return gateway;
    },
    async restart(next = row) {
      await gateway.close();
      row = next;
      gateway = await start(row);
    },
    async close() {
      await gateway.close();
      await line.close();
      await archive.close();
      await rm(root, { recursive: true });
    },
  };
}

export const configOf = (
  dataDir: string,
  port: number,
  upstream: Record<string, unknown> = {},
  config: Record<string, unknown> = {},
) =>
  checked(
    {
      dataDir,
      dicom: { port: 0 },
      http: { port: 0 },
      disk: { reserveBytes: 0 },
      upstreams: [{ name: 'cloud', url: `http://127.0.0.1:${port}/dicomweb`, ...IMPATIENT, ...upstream }],
      ...config,
    },
    'the test',
  );

/** C-STORE of objects over one association; the statuses, which `statuses` has too when the association breaks. */
export async function cStore(
  to: Gateway | RemoteEntity,
  objects: readonly Uint8Array[],
  callingAETitle = 'CT1',
  statuses: number[] = [],
): Promise<number[]> {
  const remote = 'listeners' in to ? { aeTitle: 'NEPHOS', host: '127.0.0.1', port: to.listeners.port! } : to;
  const scanned = objects.map((object) => scanPart10(object, DEFAULT_LIMITS));
  const pairs = new Map(
    scanned.map(({ dataSet, transferSyntaxUID }) => {
      const SOPClassUID = dataSet['00080016']!.Value![0] as string;
      return [`${SOPClassUID} ${transferSyntaxUID}`, [SOPClassUID, [transferSyntaxUID]] as const];
    }),
  );
  const session = await associate(remote, { callingAETitle, contexts: proposing(...pairs.values()) });
  for (const [i, object] of objects.entries()) {
    const { dataSet, transferSyntaxUID, dataSetOffset } = scanned[i]!;
    const context = [...session.contexts.values()].find(
      (one) => one.abstractSyntax === dataSet['00080016']!.Value![0] && one.transferSyntax === transferSyntaxUID,
    )!;
    const sop = dataSet['00080018']!.Value![0] as string;
    statuses.push((await sendObject(session, context, sop, object.subarray(dataSetOffset))).status);
  }
  await session.release();
  return statuses;
}

/** Asked until it holds; what it last was stands in the failure. */
export async function until<T>(ask: () => Promise<T> | T, holds: (value: T) => boolean, limitMs = 60_000): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const value = await ask();
    if (holds(value)) return value;
    if (performance.now() > deadline) throw new Error(`did not come to be: ${JSON.stringify(value)}`);
    await sleep(10);
  }
}

export const status = async (gateway: Gateway, name = 'cloud'): Promise<DestinationStatus> =>
  (await gateway.forwarder.status()).find((one) => one.name === name)!;

/** Everything has been confirmed, or is held. */
export const drained = (gateway: Gateway, confirmed: number, name = 'cloud'): Promise<DestinationStatus> =>
  until(
    () => status(gateway, name),
    (now) => now.pending === 0 && now.confirmed + now.held >= confirmed,
  );

/**
 * SHA-256 of each instance's data set as the archive holds it, by SOPInstanceUID: read from the bytes, not from a record. An object that was
 * sent a second time, as the answer to the first was long in coming, lies there for a moment until it is known to be one: that is waited for,
 * and so is the end of a store that was broken off.
 */
export async function dataSetsIn(archive: Pick<Archive, 'services'>, limitMs = 60_000): Promise<Map<string, string>> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    try {
      return await dataSetsNow(archive);
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(25);
    }
  }
}

async function dataSetsNow({ services }: Pick<Archive, 'services'>): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { key } of services.blobs.list(`${TENANT}/`)) {
    const [, study, series, file] = key.split('/');
    if (!file?.endsWith('.dcm')) continue;
    // Behind the version the store may say where it stands.
    const sop = file.slice(0, file.search(/\.[0-9A-Z]{26}\./));
    const item = await services.index.get(keys.instance(TENANT, study!, series!, sop));
    const claim = await services.index.get(keys.sop(TENANT, sop));
    if (item === undefined || claim === undefined) throw new Error(`${key} is known to nobody`);
    const instance = asRecord<InstanceRecord>(item);
    if (instance.blobKey !== key) throw new Error(`${sop} is there twice`);
    const bytes = await services.blobs.readBytes(key);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    if (sha256 !== instance.sha256 || sha256 !== asRecord<SopClaim>(claim).sha256)
      throw new Error(`${sop} is not what its records say`);
    found.set(sop, dataSetHash(bytes));
  }
  return found;
}

export const dataSetHash = (object: Uint8Array): string =>
  createHash('sha256')
    .update(object.subarray(scanPart10(object, DEFAULT_LIMITS).dataSetOffset))
    .digest('hex');

/** By SOPInstanceUID, as `dataSetsIn` should find them. */
export const dataSetsOf = (objects: readonly Uint8Array[]): Map<string, string> =>
  new Map(
    objects.map((object) => [
      scanPart10(object, DEFAULT_LIMITS).dataSet['00080018']!.Value![0] as string,
      dataSetHash(object),
    ]),
  );

/** Storage commitment that the gateway gives for the objects now: the SOPInstanceUIDs that it promises, and those that it does not. */
export async function commitmentOf(
  gateway: Gateway,
  objects: readonly Uint8Array[],
): Promise<{ committed: string[]; others: string[] }> {
  const evidence = edgeEvidence(gateway);
  const [committed, others]: [string[], string[]] = [[], []];
  for (const object of objects) {
    const { dataSet } = scanPart10(object, DEFAULT_LIMITS);
    const [SOPClassUID, SOPInstanceUID] = ['00080016', '00080018'].map((tag) => String(dataSet[tag]!.Value![0]));
    const reference = { SOPClassUID: SOPClassUID!, SOPInstanceUID: SOPInstanceUID! };
    const request = {
      id: 'now',
      aeTitle: 'CT1',
      TransactionUID: '1.2.3',
      references: [reference],
      requestedAt: gateway.clock.now(),
    };
    const answer = await evidence(TENANT, request);
    (answer?.committed.length === 1 ? committed : others).push(reference.SOPInstanceUID);
  }
  return { committed, others };
}
