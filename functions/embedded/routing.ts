import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { StowSender } from '#adapters/stow/stow-sender.ts';
import { PacsError } from '#core/errors.ts';
import { backlogOf } from '#core/routing/deliveries.ts';
import { ROUTE } from '#core/routing/enqueue.ts';
import { workRoute } from '#core/routing/work.ts';
import type { Services } from '#core/services.ts';
import { type Config, ConfigError } from './config.ts';
import { workEach } from './jobs.ts';
import { describeError, type Log } from './log.ts';
import { observeBacklog, observeDelivery } from './metrics.ts';

/** studies that one process sends at the same time */
const LANES = 2;
const OBSERVE_MS = 30_000;

export interface Routing {
  /** what was under way has come to an end */
  close(): Promise<void>;
}

/**
 * Sends elsewhere what rules of routing say, until `signal` aborts. Nothing is done where no host may be sent to.
 * @throws ConfigError where a file cannot be read, or a network is none
 */
export function keepRouting(services: Services, config: Config, log: Log, signal: AbortSignal): Routing {
  const allowed = services.policy.routing;
  if (allowed.hosts.length === 0) return { close: async () => {} };
  const { ca, credentials } = config.routing;
  const sender = new StowSender({
    clock: services.clock,
    allowed,
    readCredentials: () => readCredentials(credentials),
    ...(ca !== undefined && { ca: [...rootCertificates, readCertificates(ca)] }),
  });
  const able: Services = { ...services, sender };
  const handlers = {
    [ROUTE]: async (_: Services, payload: Parameters<typeof workRoute>[1]) => {
      const report = await workRoute(able, payload);
      if (report !== undefined) observeDelivery(report);
    },
  };
  const lanes = Array.from({ length: LANES }, () => workEach(able, '', log, signal, handlers, 1));
  const look = () =>
    backlogOf(services, config.tenant).then(
      (backlog) => observeBacklog(backlog, services.clock.now()),
      (error) => log.error('routing-not-observed', describeError(error)),
    );
  void look();
  const timer = setInterval(look, OBSERVE_MS);
  return {
    async close() {
      clearInterval(timer);
      await Promise.all(lanes);
      await sender.close();
    },
  };
}

/** Read when they are needed: they may be renewed while we run. */
async function readCredentials(path: string | undefined): Promise<string> {
  if (path === undefined) return '{}';
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new PacsError('UNAUTHENTICATED', 'the file of credentials cannot be read', { cause });
  }
}

function readCertificates(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError(`NEPHOS_ROUTING_CA: ${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}
