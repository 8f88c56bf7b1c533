import { unwatchFile, watchFile } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigError } from '#embedded/config.ts';
import { createLog } from '#embedded/log.ts';
import { startMetrics } from '#embedded/metrics.ts';
import { notedEnvironment } from '#embedded/unread-variables.ts';
import { configFileOf, ownConfigFile, readEdgeConfig } from './config.ts';
import { enrolCommand } from './enrolment/enrol.ts';
import { type Gateway, openGateway } from './gateway.ts';
import { type EffectiveConfig, effectiveConfig, withSigned } from './status/remote-configuration.ts';
import { statusSideOf } from './status/status-side.ts';

const WATCH_MS = 2_000;
/** The status page is waited for so long before the gateway says that it runs (ms). */
const STATUS_MS = 2_000;
const LOOK_MS = 20;

let closed = false;

if (process.argv[2] === 'enrol')
  process.exit(await enrolCommand(process.argv.slice(3), process.env, (text) => process.stderr.write(`${text}\n`)));

/** `npm run edge`: the gateway until SIGTERM. SIGHUP, and a changed configuration file, are read in without an association being dropped. */
try {
  const [odd] = process.argv.slice(2);
  if (odd !== undefined) throw new ConfigError(`there is no command ${odd}: it is edge, or edge enrol`);
  const { env, unread } = notedEnvironment(process.env);
  const { config, ...first } = effectiveConfig(env);
  // Secrets may stand in variables that the configuration names.
  const named = JSON.stringify(config);
  for (const line of unread()) if (!named.includes(`"${line.split(' ', 1)[0]}"`)) process.stderr.write(`${line}\n`);
  const log = createLog(config.log, (line) => process.stdout.write(line));
  startMetrics();
  const gateway = await openGateway(config, { log });
  const side = statusSideOf(gateway);
  const tell = ({ number, newest, refused }: Omit<EffectiveConfig, 'config'>): void => {
    side.configuration = { number, refused };
    side.newestConfiguration = newest;
    if (refused !== undefined) log.error('configuration-refused', { number: refused.number, message: refused.reason });
  };
  tell(first);
  side.reload = (given) => gateway.reload(withSigned(process.env, readEdgeConfig(process.env), given));
  guardExit();
  void statusPort(side).then((port) => greet(gateway, port));

  let reloading = Promise.resolve();
  const reload = (): void => {
    reloading = reloading.then(async () => {
      try {
        const { config: next, ...how } = effectiveConfig(process.env);
        await gateway.reload(next);
        tell(how);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        log.error('configuration-refused', { message: error.message });
      }
    });
  };
  process.on('SIGHUP', reload);
  // An enrolment may make one that is not there yet.
  const file = configFileOf(process.env) ?? ownConfigFile(process.env);
  // By polling: a file that is replaced by another, or mounted, is seen as well.
  watchFile(file, { interval: WATCH_MS, persistent: false }, reload);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, async () => {
      log.info('stopping', { signal });
      unwatchFile(file);
      await gateway.close();
      closed = true;
      process.exit();
    });
  }
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(2);
}

/** An exit while LMDB's thread is within a transaction would wait for it for ever: killed, it leaves a lock that LMDB recovers. */
function guardExit(): void {
  process.on('exit', () => {
    if (!closed) process.kill(process.pid, 'SIGKILL');
  });
}

/** Undefined: the port cannot be had; it is tried again, and nothing else waits for it. */
async function statusPort(side: { readonly httpPort: number | undefined }): Promise<number | undefined> {
  for (let waited = 0; waited < STATUS_MS && side.httpPort === undefined; waited += LOOK_MS) await sleep(LOOK_MS);
  return side.httpPort;
}

function greet({ config, listeners, upstreams }: Gateway, httpPort: number | undefined): void {
  const { bind, port } = config.http;
  const lines = [
    '',
    `  The Nephos edge gateway is running.`,
    `  DICOM      ${config.aeTitle}@${config.bind}:${listeners.port}`,
    ...(listeners.tlsPort === undefined ? [] : [`  DICOM TLS  ${config.aeTitle}@${config.bind}:${listeners.tlsPort}`]),
    ...upstreams.map(({ name, config: { url } }) => `  Forwards   to ${url} (${name})`),
    httpPort === undefined
      ? `  Status     none yet: port ${port} of ${bind} cannot be had (see the log)`
      : `  Status     http://${bind}:${httpPort}/status`,
    `  Data       ${config.dataDir}`,
  ];
  process.stderr.write(`${lines.join('\n')}\n\n`);
}
