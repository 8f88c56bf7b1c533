import cluster, { type Worker } from 'node:cluster';
import { mkdir } from 'node:fs/promises';
import { LINK_PATH } from '#api/users.ts';
import { sweep } from '#core/archive/sweep.ts';
import { type GivenLink, Users } from '#core/users/directory.ts';
import { checkIndexIsOfNow, openArchive } from './archive.ts';
import { readCertificate } from './certificate.ts';
import { type Config, originOf } from './config.ts';
import { lockDataDir } from './data-lock.ts';
import { createLog } from './log.ts';
import { serveMetrics } from './metrics.ts';
import { reclaimJobs } from './reclaim.ts';
import { tenantsOf } from './tenants.ts';

/** How long servers may take to finish what they are doing when the archive is stopped (ms). */
const STOP_MS = 20_000;
/** A server that died is replaced after this time, so that one which cannot start does not spin (ms). */
const RESTART_MS = 500;
/** threads that wait for the disk, a process */
const IO_THREADS = 16;
/**
 * Arenas of the C library, which keeps what is let go of in each: with eight a processor, as it likes to have, sixteen senders of objects
 * of 1 GB make a server grow to 302 MB, with two to 270.
 */
const ARENAS = 2;
/**
 * Bytes of objects pass through buffers outside the heap, but V8 counts them against its size: beside a small heap it would mark and
 * sweep the whole of it every thirty slices. Room in the old generation puts that off, and a small young generation, collected often
 * at a fraction of a millisecond, lets go of the buffers in time: instances are served 1.7 times as fast. `--expose-gc`: see
 * #dimse/passing-memory.ts.
 */
const V8_OPTIONS = [
  '--initial-old-space-size=128',
  '--min-semi-space-size=4',
  '--max-semi-space-size=4',
  '--expose-gc',
];

/**
 * Opens the archive once, alone: puts right what an interrupted run left, makes the administrator's token at the very first start;
 * then forks the servers and keeps them running.
 */
export async function runPrimary(config: Config): Promise<void> {
  const log = createLog(config.logLevel, (line) => process.stdout.write(line));
  // Said once and here, not by every server.
  if (config.tls) readCertificate(config.tls);
  await mkdir(config.dataDir, { recursive: true });
  const unlock = await lockDataDir(config.dataDir);
  process.once('exit', unlock);
  const archive = await openArchive(config);
  await checkIndexIsOfNow(archive, config, tenantsOf(config)).catch(async (error: unknown) => {
    await archive.close();
    throw error;
  });
  await archive.blobs.sweep(0, Date.now());
  const swept = await sweep(archive.services, config.tenant, 0);
  await reclaimJobs(archive.jobs);
  const token = config.auth === 'on' ? await archive.tokens.bootstrap(config.tenant) : undefined;
  // People of an issuer of their own are not made here.
  const isOwnIssuer = config.auth === 'on' && config.oidc === undefined;
  const users = new Users(archive.services);
  // At the first start alone: what is printed stays in logs. Later ones say how to make an account on this machine.
  const setup = isOwnIssuer && token !== undefined ? await users.setupLink(config.tenant) : undefined;
  const isEmpty = isOwnIssuer && setup === undefined && !(await users.hasAdministrator(config.tenant));
  await archive.close();
  if (swept.abandoned + swept.folded + swept.purged > 0 || swept.purgesFrom !== undefined)
    log.info('swept', { ...swept });

  serveMetrics();
  // Servers accept by themselves: a connection on its way to one that dies would hang in the primary for ever.
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  cluster.setupPrimary({ execArgv: [...process.execArgv, ...V8_OPTIONS] });
  const env = {
    UV_THREADPOOL_SIZE: process.env.UV_THREADPOOL_SIZE ?? String(IO_THREADS),
    MALLOC_ARENA_MAX: process.env.MALLOC_ARENA_MAX ?? String(ARENAS),
  };
  let stopping = false;
  let ready = 0;
  const fork = (): Worker => {
    const worker = cluster.fork(env);
    worker.on('message', (message: { type?: string; port?: number; dicomPort?: number }) => {
      if (message?.type !== 'nephos:listening') return;
      if (++ready === config.workers)
        greet(config, message.port ?? config.httpPort, message.dicomPort, { token, setup, isEmpty });
    });
    worker.on('exit', (code, signal) => {
      if (stopping) return;
      log.error('server-died', { code, signal });
      if (code === 2) {
        stopping = true;
        process.exitCode = 2;
        stopAll();
      } else setTimeout(() => stopping || fork(), RESTART_MS);
    });
    return worker;
  };
  const stopAll = (): void => {
    for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGTERM');
    setTimeout(() => {
      for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGKILL');
    }, STOP_MS).unref();
  };
  for (let i = 0; i < config.workers; i++) fork();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      stopping = true;
      log.info('stopping', { signal });
      stopAll();
    });
  }
}

interface FirstStart {
  /** the administrator's, at the very first start */
  readonly token: string | undefined;
  /** where the first administrator makes his account */
  readonly setup: GivenLink | undefined;
  /** nobody has made it yet, and the link has run out or may have */
  readonly isEmpty: boolean;
}

function greet(config: Config, port: number, dicomPort: number | undefined, first: FirstStart): void {
  const { token, setup, isEmpty } = first;
  const origin = originOf(config, port);
  const lines = [
    '',
    `  Nephos is running.   Open ${origin}/`,
    `  DICOMweb             ${origin}/dicomweb`,
    ...(dicomPort === undefined ? [] : [`  DICOM                ${config.dicom.aeTitle}@${config.bind}:${dicomPort}`]),
    `  Data                 ${config.dataDir}`,
  ];
  if (config.auth === 'off') lines.push('  Access control       off (loopback only)');
  else if (token === undefined)
    lines.push('  Access token         as printed at the first start (a new one: npm run nephos -- token)');
  if (isEmpty) lines.push('  Accounts             none yet: npm run nephos -- users add NAME --roles admin');
  if (setup !== undefined)
    lines.push('', '  Make your account here, once, within a day:', '', `    ${origin}${LINK_PATH}${setup.token}`);
  if (token !== undefined) lines.push('', '  Access token for scripts, shown this once:', '', `    ${token}`);
  process.stderr.write(`${lines.join('\n')}\n\n`);
}
