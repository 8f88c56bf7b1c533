import cluster from 'node:cluster';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { sweep } from '#core/archive/sweep.ts';
import { ServedCounts } from '#core/costs/served.ts';
import { createApp } from './app.ts';
import { type Archive, openArchive } from './archive.ts';
import { keepAudit } from './audit-keeper.ts';
import { readCertificate, watchCertificate } from './certificate.ts';
import { type Config, ConfigError, originOf } from './config.ts';
import { listenDicom } from './dicom-host.ts';
import { keepFixity } from './fixity.ts';
import { createHttpHost } from './http-host.ts';
import { openLogin } from './issuer/login.ts';
import { workQueues } from './jobs.ts';
import { createLog, describeError, type Log, logBrokenAnswer } from './log.ts';
import { observe, startMetrics } from './metrics.ts';
import { keepRouting } from './routing.ts';

const SWEEP_MS = 10 * 60_000;
const IDLE_CHECK_MS = 200;
/** How often what was served is added to its counters. */
const SERVED_MS = 60_000;

/** One server process: HTTP, DIMSE, and its share of the work in the queues. */
export async function runServer(config: Config): Promise<void> {
  // Whatever it is waited for: a primary that dies meanwhile would be waited for for ever. As long as we start there is nothing to finish.
  let orphaned = (): void => void process.kill(process.pid, 'SIGKILL');
  process.once('disconnect', () => orphaned());
  // node's cluster would call exit by itself when the primary is gone, before our own shutdown.
  if (cluster.worker) cluster.worker.exitedAfterDisconnect = true;
  const log = createLog(config.logLevel, (line) => process.stdout.write(line));
  startMetrics();
  const archive = await openArchive(config);
  const closeArchive = guardExit(archive);
  try {
    orphaned = await serve(archive, closeArchive, config, log);
  } catch (error) {
    await closeArchive();
    throw error;
  }
}

/** @returns what ends it in good order */
async function serve(
  archive: Archive,
  closeArchive: () => Promise<void>,
  config: Config,
  log: Log,
): Promise<() => void> {
  const audit = await keepAudit(archive.services, config, log);
  const login = await openLogin(archive, config, (error) => log.error('issuer-failed', describeError(error)));
  const served = new ServedCounts(archive.services);
  const { answer } = createApp({ archive, config, log, login });
  const tls = config.tls && readCertificate(config.tls);
  const server = createHttpHost({
    answer,
    tls,
    publicUrl: config.publicUrl,
    connections: config.connections,
    onDefect: logBrokenAnswer(log),
    onDone: ({ route, tenant, status, seconds, received, sent }) => {
      const transaction = route ?? 'none';
      observe({ transaction, status, seconds, received, sent });
      if (tenant !== undefined) served.count(tenant, sent);
      log.debug('request', { tenant, transaction, status, ms: Math.round(seconds * 1e6) / 1e3, received, sent });
    },
  });
  // Before HTTP: whoever has had an answer from /healthz may count on all of it.
  const dicom = await listenDicom(archive.services, config, log, archive.tokens);
  server.listen(config.httpPort, config.bind);
  try {
    await once(server, 'listening');
  } catch (error) {
    await dicom.close();
    throw new ConfigError(
      `cannot listen on ${config.bind}:${config.httpPort} (NEPHOS_BIND, NEPHOS_HTTP_PORT): ${(error as NodeJS.ErrnoException).code}`,
    );
  }
  if (config.tls && 'setSecureContext' in server) {
    const renewed: Parameters<typeof watchCertificate>[1] = (context) => {
      server.setSecureContext(context);
      log.info('certificate-renewed');
    };
    watchCertificate(config.tls, renewed, (error) => log.error('certificate-refused', { reason: String(error) }));
  }
  const { port } = server.address() as AddressInfo;
  process.send?.({ type: 'nephos:listening', port, dicomPort: dicom.port });

  const stop = new AbortController();
  const queues = workQueues(archive.services, `${originOf(config, port)}/dicomweb`, log, stop.signal, dicom.jobs);
  const routing = keepRouting(archive.services, config, log, stop.signal);
  const fixity = keepFixity(archive.services, config, log, stop.signal);
  let heldUntil: number | undefined;
  const sweepOnce = async (): Promise<void> => {
    const { purgesFrom } = await sweep(archive.services, config.tenant);
    if (purgesFrom !== undefined && purgesFrom !== heldUntil) log.info('purge-held', { purgesFrom });
    heldUntil = purgesFrom;
  };
  const sweeper = setInterval(() => {
    sweepOnce().catch((error) => log.error('sweep-failed', describeError(error)));
  }, SWEEP_MS);

  const flushServed = () => served.flush().catch((error) => log.error('served-failed', describeError(error)));
  const flusher = setInterval(() => void flushServed(), SERVED_MS);

  /** No new connections, what runs is finished, then the index is closed. A second signal does not hurry it: nothing is lost either way. */
  const shutDown = async (): Promise<void> => {
    if (stop.signal.aborted) return;
    stop.abort();
    clearInterval(sweeper);
    clearInterval(flusher);
    server.close();
    // A connection that was busy when we closed stays open for its client's next request, which must not come here.
    const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
    server.closeIdleConnections();
    await Promise.all([once(server, 'close'), dicom.close()]);
    clearInterval(idle);
    await Promise.all([queues, routing.close(), fixity]);
    await audit.close();
    await flushServed();
    await closeArchive();
    process.exit();
  };
  process.on('SIGTERM', () => void shutDown());
  process.on('SIGINT', () => {
    // A terminal sends it to all processes: the primary decides.
  });
  return () => void shutDown();
}

/**
 * Sees to it that this process ends, whatever ends it. An exit while LMDB's thread is within a transaction waits for that thread, which
 * waits for us: the process would stay for ever, and hold the lock that every other writer needs. Killed, it leaves a lock that LMDB
 * recovers.
 */
function guardExit(archive: Archive): () => Promise<void> {
  let closed = false;
  process.on('exit', () => {
    if (!closed) process.kill(process.pid, 'SIGKILL');
  });
  return async () => {
    await archive.close();
    closed = true;
  };
}
