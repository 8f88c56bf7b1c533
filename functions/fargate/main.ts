import { WorkerPixelEngine } from '#adapters/local/worker-pixel-engine.ts';
import { ConfigError, whole } from '#core/configuration.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { createLog, describeError } from '#embedded/log.ts';
import { awsPorts } from '#lambda/aws-ports.ts';
import { readCloudConfig } from '#lambda/config.ts';
import { readOwnSecret } from '#lambda/read-secret.ts';
import { startService } from './service.ts';
import { SERVICE } from './spec.ts';

/** The service in its container: the defaults of the archive, none of Lambda's limits. Ends in good order when it is told to (SIGTERM). */
const log = createLog('info', (line) => process.stdout.write(line));
try {
  const config = readCloudConfig(process.env, {});
  const pixels = new WorkerPixelEngine({ limits: { ...DEFAULT_LIMITS, ...config.limits } });
  const port = whole(process.env, 'NEPHOS_HTTP_PORT', SERVICE.port, 0, 65_535);
  const bind = process.env.NEPHOS_BIND ?? '127.0.0.1';
  const service = await startService({
    config,
    ports: { ...awsPorts(config), pixels },
    port,
    bind,
    log,
    readSecret: readOwnSecret,
  });
  log.info('listening', { port: service.port });
  let ending = false;
  const end = (): void => {
    if (ending) return;
    ending = true;
    log.info('ending');
    service.close().then(
      () => process.exit(),
      (error) => {
        log.error('ending-failed', describeError(error));
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(2);
}
