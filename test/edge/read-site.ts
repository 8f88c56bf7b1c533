import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { Server as HttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InstanceRecord } from '#core/archive/records.ts';
import { selectedInstances } from '#core/archive/remove.ts';
import { storeObject } from '#core/archive/store.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { DEFAULT_LIMITS, type Limits } from '#core/limits.ts';
import type { HttpRequest } from '#dicomweb/http.ts';
import { COMMAND } from '#dimse/command-set.ts';
import { decodeIdentifier, encodeIdentifier } from '#dimse/identifiers.ts';
import {
  associate,
  contextOf,
  proposing,
  type RemoteEntity,
  type RetrieveReport,
  sendFind,
  sendObject,
  sendRetrieve,
} from '#dimse/scu.ts';
import { createDimseServer, type DimseServer } from '#dimse/server.ts';
import type { ServiceTable } from '#dimse/session.ts';
import {
  PATIENT_ROOT_FIND,
  STORAGE_COMMITMENT_PUSH_MODEL,
  STUDY_ROOT_FIND,
  STUDY_ROOT_GET,
  STUDY_ROOT_MOVE,
} from '#dimse/sop-classes.ts';
import { checked } from '#edge/config.ts';
import { type Gateway, openGateway } from '#edge/gateway.ts';
import { createApp } from '#embedded/app.ts';
import { type Archive, openArchive } from '#embedded/archive.ts';
import { type Config, readConfig } from '#embedded/config.ts';
import { createHttpHost } from '#embedded/http-host.ts';
import { createLog } from '#embedded/log.ts';
import { buildDicom, CT_IMAGE_STORAGE, EXPLICIT_LE, IMPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { freePort } from '#test/fixtures/free-port.ts';
import { UnderWay } from './under-way.ts';

/** A hospital's gateway and the archive it talks to, in one process, with a line between them that can be cut. */

export const TENANT = 'main';
const LOG = createLog('error', (line) => process.stderr.write(line));

/** The UIDs of a study's slice, by two numbers. */
export const sliceOf = (study: number, i: number) => ({
  StudyInstanceUID: uid(study),
  SeriesInstanceUID: uid(study * 10),
  SOPInstanceUID: uid(study * 1000 + i + 1),
  InstanceNumber: i + 1,
});

export const slices = (study: number, count: number, more: object = {}): Uint8Array[] =>
  Array.from({ length: count }, (_, i) => buildDicom({ ...sliceOf(study, i), ...more }));

/** The archive upstream: the embedded one, over HTTP. */
export interface UpstreamSite {
  readonly archive: Archive;
  readonly port: number;
  /** it takes nothing, for now, and answers everything else */
  refusesStores: boolean;
  /** so many requests for objects are answered by 503: it has to bring them back from slow media first */
  coldRetrieves: number;
  /** before it answers */
  before: ((request: HttpRequest) => Promise<void> | void) | undefined;
  close(): Promise<void>;
}

/** Questions about storage commitment (PS3.18 §13) are asked by POST too, and store nothing. */
const sends = ({ method, path }: HttpRequest): boolean => method === 'POST' && !path.includes('/commitment-requests/');

export async function startUpstream(dataDir: string): Promise<UpstreamSite> {
  const config: Config = readConfig({
    NEPHOS_DATA_DIR: dataDir,
    NEPHOS_AUTH: 'off',
    NEPHOS_CONFLICT_POLICY: 'replace',
  });
  const archive = await openArchive(config);
  const { answer } = createApp({ archive, config, log: LOG });
  const site: Pick<UpstreamSite, 'refusesStores' | 'coldRetrieves' | 'before'> = {
    refusesStores: false,
    coldRetrieves: 0,
    before: undefined,
  };
  const isCold = ({ headers }: HttpRequest): boolean =>
    headers.accept?.includes('application/dicom"') === true && site.coldRetrieves-- > 0;
  const underWay = new UnderWay();
  const server: HttpServer = createHttpHost({
    answer: async (request) => {
      await site.before?.(request);
      return site.refusesStores && sends(request)
        ? { response: { status: 429, headers: { 'retry-after': '1' } }, route: 'Refused' }
        : isCold(request)
          ? { response: { status: 503, headers: { 'retry-after': '1' } }, route: 'Cold' }
          : answer(request);
    },
    publicUrl: config.publicUrl,
    onDefect: (error) => {
      throw error;
    },
    onDone: underWay.done,
  });
  underWay.watch(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return Object.assign(site, {
    archive,
    port: (server.address() as AddressInfo).port,
    async close() {
      await underWay.close(server);
      await archive.close();
    },
  });
}

/** The line to it. `up`: bytes pass. `refused`: nobody is there. `silent`: it takes what it gets and says nothing. */
class Line {
  readonly #target: () => number;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #state: 'up' | 'refused' | 'silent' = 'up';
  /** bytes that may still come down before the line breaks, once */
  breaksAfterBytes: number | undefined;
  /** bytes that may still come down before no more do, until `letGo` */
  holdsAfterBytes: number | undefined;
  /** paths of searches for studies that have gone up since the line is silent */
  readonly unanswered: string[] = [];
  #held: (() => void)[] = [];
  port = 0;

  constructor(target: () => number) {
    this.#target = target;
  }

  async open(): Promise<this> {
    // not one that the system may give away while the line is cut
    if (this.port === 0) this.port = await freePort();
    this.#server = createServer((socket) => this.#pass(socket));
    this.#server.listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  async set(state: 'up' | 'refused' | 'silent'): Promise<void> {
    const before = this.#state;
    this.#state = state;
    if (state !== 'up') for (const socket of this.#sockets) socket.destroy();
    if (state === 'refused' && before !== 'refused') {
      this.#server?.close();
      this.#server = undefined;
    } else if (this.#server === undefined) await this.open();
  }

  letGo(): void {
    this.holdsAfterBytes = undefined;
    for (const resume of this.#held.splice(0)) resume();
  }

  async close(): Promise<void> {
    this.letGo();
    await this.set('refused');
  }

  #pass(socket: Socket): void {
    this.#keep(socket);
    if (this.#state === 'silent') {
      socket.on('data', (chunk: Buffer) => {
        const path = /^GET (\S*\/studies\?\S*) /.exec(chunk.toString('latin1', 0, 4_096))?.[1];
        if (path !== undefined) this.unanswered.push(path);
      });
      return;
    }
    const onward = connect(this.#target(), '127.0.0.1');
    this.#keep(onward);
    socket.pipe(onward);
    onward.on('data', (chunk) => {
      if (this.breaksAfterBytes !== undefined) {
        this.breaksAfterBytes -= chunk.length;
        if (this.breaksAfterBytes <= 0) {
          this.breaksAfterBytes = undefined;
          socket.destroy();
          onward.destroy();
          return;
        }
      }
      if (this.holdsAfterBytes !== undefined) {
        this.holdsAfterBytes -= chunk.length;
        if (this.holdsAfterBytes <= 0) {
          onward.pause();
          this.#held.push(() => onward.resume());
        }
      }
      if (!socket.write(chunk)) {
        onward.pause();
        socket.once('drain', () => onward.resume());
      }
    });
    onward.on('end', () => socket.end());
    socket.on('close', () => onward.destroy());
    onward.on('close', () => socket.destroy());
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }
}

/** A workstation that C-MOVE sends to, and that hears of storage commitment. */
export interface Workstation {
  readonly taken: { readonly sop: string; readonly dataSet: Buffer; readonly transferSyntax: string }[];
  readonly reports: { readonly event: number; readonly information: Buffer }[];
  readonly port: number;
  close(): Promise<void>;
}

export async function startWorkstation(
  options: { onReport?: (report: CommitmentReport) => Promise<void> } = {},
): Promise<Workstation> {
  const taken: { sop: string; dataSet: Buffer; transferSyntax: string }[] = [];
  const reports: { event: number; information: Buffer }[] = [];
  const services: ServiceTable = new Map([
    [
      COMMAND.cStore,
      async ({ command, context, dataSet, respond }) => {
        const bytes = await dataSet!.gather();
        taken.push({ sop: command.AffectedSOPInstanceUID!, dataSet: bytes, transferSyntax: context.transferSyntax });
        await respond({ Status: 0 });
      },
    ],
    [
      COMMAND.nEventReport,
      async ({ command, dataSet, respond }) => {
        const report = { event: command.EventTypeID!, information: await dataSet!.gather() };
        reports.push(report);
        await options.onReport?.(reportIn(report));
        await respond({ Status: 0, EventTypeID: command.EventTypeID });
      },
    ],
  ]);
  const server: DimseServer = createDimseServer({
    aeTitle: 'WS',
    checkCalledAETitle: false,
    allowed: 'any',
    maxAssociations: 10,
    policy: { acceptUnknownSopClasses: true, services: new Set([STORAGE_COMMITMENT_PUSH_MODEL]) },
    services,
  });
  server.server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
  return {
    taken,
    reports,
    port: (server.server.address() as AddressInfo).port,
    close: () => server.close(0),
  };
}

/** An answer to a request for storage commitment. */
export interface CommitmentReport {
  readonly TransactionUID: string;
  readonly event: number;
  readonly committed: readonly string[];
  readonly failed: readonly (readonly [sop: string, reason: number])[];
}

export function reportIn({ event, information }: Workstation['reports'][number]): CommitmentReport {
  const dataSet = decodeIdentifier(information, EXPLICIT_LE);
  const items = (tag: string): DataSet[] => (dataSet[tag]?.Value ?? []) as DataSet[];
  const text = (item: DataSet, tag: string): string => item[tag]!.Value![0] as string;
  return {
    TransactionUID: text(dataSet, '00081195'),
    event,
    committed: items('00081199').map((item) => text(item, '00081155')),
    failed: items('00081198').map((item) => [text(item, '00081155'), item['00081197']!.Value![0] as number]),
  };
}

/** Asks for commitment, as a modality that listens under the AE title WS, and hangs up. @returns the status of the request */
export async function requestCommitment(
  { remote }: Pick<Site, 'remote'>,
  TransactionUID: string,
  references: readonly string[],
  sopClass = CT_IMAGE_STORAGE,
): Promise<number> {
  const session = await associate(remote, {
    callingAETitle: 'WS',
    contexts: proposing([STORAGE_COMMITMENT_PUSH_MODEL, [EXPLICIT_LE]]),
  });
  const information: DataSet = {
    '00081195': key('UI', TransactionUID),
    '00081199': {
      vr: 'SQ',
      Value: references.map((sop) => ({ '00081150': key('UI', sopClass), '00081155': key('UI', sop) })),
    },
  };
  const context = contextOf(session, STORAGE_COMMITMENT_PUSH_MODEL);
  const { command } = await session.request(
    context,
    {
      CommandField: COMMAND.nAction,
      RequestedSOPClassUID: STORAGE_COMMITMENT_PUSH_MODEL,
      RequestedSOPInstanceUID: '1.2.840.10008.1.20.1.1',
      ActionTypeID: 1,
    },
    encodeIdentifier(information, context.transferSyntax),
  );
  await session.release();
  return command.Status!;
}

export interface Site {
  readonly upstream: UpstreamSite;
  readonly line: Line;
  readonly workstation: Workstation;
  readonly gateway: Gateway;
  readonly remote: RemoteEntity;
  readonly dataDir: string;
  /** the gateway stops and starts again on the same folder */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export async function startSite(more: Record<string, unknown> = {}, limits: Partial<Limits> = {}): Promise<Site> {
  const dataDir = await mkdtemp(join(tmpdir(), 'nephos-edge-read-'));
  const upstream = await startUpstream(join(dataDir, 'upstream'));
  const line = await new Line(() => upstream.port).open();
  const workstation = await startWorkstation();
  const config = () =>
    checked(
      {
        aeTitle: 'EDGE',
        dataDir: join(dataDir, 'edge'),
        log: 'error',
        dicom: { port: 0 },
        moveDestinations: [{ aeTitle: 'WS', host: '127.0.0.1', port: workstation.port }],
        upstreams: [{ url: `http://127.0.0.1:${line.port}/dicomweb`, timeoutMs: 30_000 }],
        disk: { reserveBytes: 0 },
        http: { port: 0 },
        ...more,
      },
      'test',
    );
  let gateway = await openGateway(config(), { log: LOG, limits });
  return {
    upstream,
    line,
    workstation,
    dataDir,
    get gateway() {
      return gateway;
    },
    get remote() {
      return { aeTitle: 'EDGE', host: '127.0.0.1', port: gateway.listeners.port! };
    },
    async restart() {
      await gateway.close();
      gateway = await openGateway(config(), { log: LOG, limits });
    },
    async close() {
      await gateway.close();
      await workstation.close();
      await line.close();
      await upstream.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function* whole(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

export async function putUpstream({ upstream }: Pick<Site, 'upstream'>, objects: readonly Uint8Array[]): Promise<void> {
  const { services } = upstream.archive;
  await Promise.all(
    objects.map((one) => storeObject(services, { tenant: TENANT, source: 'STOW' }, whole(one)).outcome),
  );
}

export const dataSetOf = (object: Uint8Array): Buffer =>
  Buffer.from(object.subarray(scanPart10(object, DEFAULT_LIMITS).dataSetOffset));

/** A modality sends to the gateway. */
export async function cStore(
  { remote }: Pick<Site, 'remote'>,
  objects: readonly Uint8Array[],
  aeTitle = 'CT1',
): Promise<number[]> {
  const session = await associate(remote, {
    callingAETitle: aeTitle,
    contexts: proposing([CT_IMAGE_STORAGE, [EXPLICIT_LE]]),
  });
  const statuses: number[] = [];
  for (const object of objects) {
    const { dataSet } = scanPart10(object, DEFAULT_LIMITS);
    const sop = dataSet['00080018']!.Value![0] as string;
    statuses.push((await sendObject(session, session.contexts.get(1)!, sop, dataSetOf(object))).status);
  }
  await session.release();
  return statuses;
}

export async function cFind(
  { remote }: Pick<Site, 'remote'>,
  level: 'PATIENT' | 'STUDY' | 'SERIES' | 'IMAGE',
  keys: DataSet,
  { cancel, onMatch }: { cancel?: AbortSignal; onMatch?: () => void } = {},
): Promise<{ status: number; matches: DataSet[] }> {
  const sopClass = level === 'PATIENT' ? PATIENT_ROOT_FIND : STUDY_ROOT_FIND;
  const session = await associate(remote, { callingAETitle: 'WS', contexts: proposing([sopClass, [EXPLICIT_LE]]) });
  const matches: DataSet[] = [];
  const identifier: DataSet = { '00080052': { vr: 'CS', Value: [level] }, ...keys };
  const take = (match: DataSet): void => {
    matches.push(match);
    onMatch?.();
  };
  const status = await sendFind(session, sopClass, identifier, take, cancel);
  await session.release();
  return { status, matches };
}

export async function cMove(
  { remote }: Pick<Site, 'remote'>,
  level: 'STUDY' | 'SERIES' | 'IMAGE',
  keys: DataSet,
  options: { cancel?: AbortSignal; onPending?: (report: RetrieveReport) => void; destination?: string } = {},
): Promise<RetrieveReport> {
  const session = await associate(remote, {
    callingAETitle: 'WS',
    contexts: proposing([STUDY_ROOT_MOVE, [EXPLICIT_LE]]),
  });
  const identifier: DataSet = { '00080052': { vr: 'CS', Value: [level] }, ...keys };
  const report = await sendRetrieve(session, STUDY_ROOT_MOVE, identifier, { destination: 'WS', ...options });
  await session.release();
  return report;
}

export async function cGet(
  { remote }: Pick<Site, 'remote'>,
  keys: DataSet,
  options: { onPending?: (report: RetrieveReport) => void } = {},
): Promise<{ report: RetrieveReport; taken: Map<string, Buffer> }> {
  const taken = new Map<string, Buffer>();
  const session = await associate(remote, {
    callingAETitle: 'WS',
    contexts: proposing([STUDY_ROOT_GET, [EXPLICIT_LE]], [CT_IMAGE_STORAGE, [EXPLICIT_LE, IMPLICIT_LE]]),
    user: { roles: [{ SOPClassUID: CT_IMAGE_STORAGE, scu: false, scp: true }] },
    services: new Map([
      [
        COMMAND.cStore,
        async ({ command, dataSet, respond }) => {
          taken.set(command.AffectedSOPInstanceUID!, await dataSet!.gather());
          await respond({ Status: 0 });
        },
      ],
    ]),
  });
  const identifier: DataSet = { '00080052': { vr: 'CS', Value: ['STUDY'] }, ...keys };
  const report = await sendRetrieve(session, STUDY_ROOT_GET, identifier, options);
  await session.release();
  return { report, taken };
}

export const key = (vr: string, ...Value: string[]): DataSet[string] => (Value.length === 0 ? { vr } : { vr, Value });

export const localInstances = ({ gateway }: Pick<Site, 'gateway'>, study: string): Promise<InstanceRecord[]> =>
  Array.fromAsync(selectedInstances(gateway.services, TENANT, [{ StudyInstanceUID: study }]));

/** Waits until all that is here of a study has been forwarded and confirmed. */
export const forwarded = (site: Pick<Site, 'gateway'>, study: string): Promise<void> =>
  eventually('the study is forwarded', async () => {
    const instances = await localInstances(site, study);
    const known = await Promise.all(
      instances.map(({ SOPInstanceUID }) => site.gateway.forwarder.evidenceOf(SOPInstanceUID)),
    );
    return instances.length > 0 && known.every(({ confirmed }) => confirmed);
  });

export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
