import { mkdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Role } from '#core/access.ts';
import { sweep } from '#core/archive/sweep.ts';
import { describeError } from '#core/errors.ts';
import type { Limits } from '#core/limits.ts';
import { entityOf } from '#dimse/server.ts';
import type { MoveAccess } from '#dimse/services/move.ts';
import { type Archive, openArchive } from '#embedded/archive.ts';
import { ConfigError, DICOM_RIGHTS } from '#embedded/config.ts';
import { lockDataDir } from '#embedded/data-lock.ts';
import type { Log } from '#embedded/log.ts';
import { reclaimJobs } from '#embedded/reclaim.ts';
import { watchCertificates } from './certificates.ts';
import type { EdgeConfig } from './config.ts';
import type { EdgeContext } from './context.ts';
import { Disk, type DiskOptions, guardedBlobs } from './disk.ts';
import { Forwarder } from './forward/forwarder.ts';
import { Listeners } from './listeners.ts';
import { resumeCommitments } from './queues/owed.ts';
import { readSideOf } from './read/read-side.ts';
import { remoteOf } from './remote.ts';
import { statusSideOf } from './status/status-side.ts';
import { tlsStampOf, Upstream } from './upstream.ts';
import { WORKERS } from './workers.ts';

/** The running gateway. */
export interface Gateway extends EdgeContext {
  readonly archive: Archive;
  readonly listeners: Listeners;
  /**
   * Goes on under another configuration, associations included. The data folder and the tenant stay what they are. Of several at once one is
   * taken after the other, so that the last one counts, as a whole.
   * @throws ConfigError, and nothing has changed
   */
  reload(config: EdgeConfig): Promise<void>;
  /** No new associations; those under way may end; what is being sent is finished or will be found again. */
  close(): Promise<void>;
}

export interface GatewayOptions {
  readonly log: Log;
  readonly limits?: Partial<Limits>;
  /** instead of what the system says of the disk */
  readonly look?: DiskOptions['look'];
  /** how often files of certificates are looked at (ms) */
  readonly certificatesMs?: number;
}

const RESTART_MS = 1_000;
/** Smaller than the archive's: whatever many associations send at once, it fits the memory that a gateway is to need. */
const WHOLE_OBJECT_BYTES = 1024 * 1024;

/**
 * The archive's own core on a data folder of its own, DIMSE before it, and workers that carry what comes in to the upstreams.
 * @throws ConfigError when the folder is in use, or a port is
 */
export async function openGateway(
  first: EdgeConfig,
  { log, limits = {}, look, certificatesMs }: GatewayOptions,
): Promise<Gateway> {
  await mkdir(first.dataDir, { recursive: true });
  const unlock = await lockDataDir(first.dataDir);
  process.once('exit', unlock);
  // Files of their own: what is evicted must give its space back at once.
  const archive = await openArchive({
    dataDir: first.dataDir,
    limits: { wholeObjectBytes: WHOLE_OBJECT_BYTES, ...limits },
    // What a note names is sent on, whichever of them comes first: the archive hides it.
    policy: { rejectsAhead: false },
    packed: false,
  });
  const disk = new Disk({
    dataDir: first.dataDir,
    reserveBytes: () => config.disk.reserveBytes,
    clock: archive.services.clock,
    ...(look !== undefined && { look }),
  });
  const services = { ...archive.services, blobs: guardedBlobs(archive.services.blobs, disk) };
  let config = first;
  let upstreams = first.upstreams.map((one) => new Upstream(one, services.clock, first.dataDir));
  const context = {
    get config() {
      return config;
    },
    tenant: first.tenant,
    services,
    jobs: archive.jobs,
    get access() {
      return access;
    },
    get upstreams() {
      return upstreams;
    },
    upstream: (name: string) => upstreams.find((one) => one.name === name),
    disk,
    get forwarder() {
      return forwarder;
    },
    clock: services.clock,
    log,
  } satisfies EdgeContext;
  const access = accessOf(context);
  const forwarder = new Forwarder(context);
  // Alone in the folder: what a killed run left is put right before anything new comes.
  await archive.blobs.sweep(0, services.clock.now());
  await sweep(services, context.tenant, 0);
  await reclaimJobs(archive.jobs);
  await resumeCommitments(context);

  const listeners = new Listeners(context);
  statusSideOf(context).associations = () => listeners.associations;
  const stop = new AbortController();
  const running: Promise<void>[] = [];
  const closeAll = async (): Promise<void> => {
    await listeners.close();
    stop.abort();
    await Promise.all(running);
    await Promise.all(upstreams.map((one) => one.close()));
    await readSideOf(context).fetcher.settled();
    await archive.close();
    process.off('exit', unlock);
    unlock();
  };
  try {
    await listeners.apply();
  } catch (error) {
    await closeAll();
    throw error;
  }
  for (const { name, run } of WORKERS) {
    running.push(keepRunning(name, () => run(context, stop.signal), log, stop.signal));
  }

  let closing: Promise<void> | undefined;
  let reloading: Promise<unknown> = Promise.resolve();
  /** `wanted` is asked when it is its turn. */
  const reload = (wanted: () => EdgeConfig): Promise<void> => {
    const done = reloading.then(async () => {
      if (closing !== undefined) return;
      const next = wanted();
      if (next.dataDir !== config.dataDir) throw new ConfigError('dataDir cannot be changed while the gateway runs');
      if (next.tenant !== config.tenant) throw new ConfigError('tenant cannot be changed while the gateway runs');
      const before = { config, upstreams };
      const wantedUpstreams: Upstream[] = [];
      config = next;
      try {
        for (const one of next.upstreams)
          wantedUpstreams.push(kept(before.upstreams, one) ?? new Upstream(one, services.clock, first.dataDir));
        upstreams = wantedUpstreams;
        await listeners.apply();
      } catch (error) {
        ({ config, upstreams } = before);
        await closeOthers(wantedUpstreams, upstreams);
        throw error;
      }
      await closeOthers(before.upstreams, upstreams);
      log.info('configuration-loaded', { upstreams: upstreams.map(({ name }) => name) });
    });
    reloading = done.catch(() => {});
    return done;
  };
  const gateway = Object.assign(Object.create(context) as typeof context, {
    archive,
    listeners,
    reload: (next: EdgeConfig) => reload(() => next),
    // What is being loaded has its listeners then, which would else stay.
    close: () => (closing ??= reloading.then(closeAll)),
  });
  const renewed = async (): Promise<void> => {
    // What cannot be used is told of, and what was in use stays so.
    await reload(() => config).catch((error: unknown) => log.error('certificate-refused', describeError(error)));
  };
  running.push(
    keepRunning(
      'certificates',
      () => watchCertificates(() => config, renewed, stop.signal, certificatesMs),
      log,
      stop.signal,
    ),
  );
  return gateway;
}

/** A worker that fails has met what it did not foresee: it starts again, as after a restart of the gateway. */
async function keepRunning(name: string, run: () => Promise<void>, log: Log, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await run();
      return;
    } catch (error) {
      log.error('worker-failed', { worker: name, ...describeError(error) });
      await sleep(RESTART_MS, undefined, { signal }).catch(() => {});
    }
  }
}

/** Of `all`, those not in use. What they are carrying fails as if the line had been cut, and is sent again. */
async function closeOthers(all: readonly Upstream[], used: readonly Upstream[]): Promise<void> {
  for (const one of all) if (!used.includes(one)) await one.close();
}

/** An upstream whose row and certificates have not changed keeps its connections and what is known of it. */
const kept = (upstreams: readonly Upstream[], config: EdgeConfig['upstreams'][number]): Upstream | undefined =>
  upstreams.find(
    (one) => JSON.stringify(one.config) === JSON.stringify(config) && one.tlsStamp === tlsStampOf(config.tls),
  );

function accessOf(context: EdgeContext): MoveAccess {
  return {
    services: context.services,
    get aeTitle() {
      return context.config.aeTitle;
    },
    // All that is here is of one tenant, whoever says otherwise.
    principalOf: (callingAETitle, { principal, peerAddress }) => ({
      tenant: context.tenant,
      subject: principal?.subject ?? callingAETitle,
      roles: principal?.roles ?? rolesOf(context.config, callingAETitle, peerAddress),
    }),
    destinationOf: (aeTitle) => {
      const found = context.config.moveDestinations.find((one) => one.aeTitle === aeTitle);
      return found && remoteOf(found);
    },
  };
}

const rolesOf = ({ allowed }: EdgeConfig, aeTitle: string, address: string | undefined): readonly Role[] =>
  allowed === 'any'
    ? ['modality']
    : (entityOf(allowed, aeTitle, address)?.rights.map((right) => DICOM_RIGHTS[right]!) ?? []);
