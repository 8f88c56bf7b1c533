import { once } from 'node:events';
import type { Server } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '#core/errors.ts';
import { createHttpHost } from '#embedded/http-host.ts';
import type { BackgroundWorker } from '../context.ts';
import { gatewayHttp } from './http.ts';
import { statusSideOf } from './status-side.ts';

/** The configuration is compared with where we listen this often (ms). */
const LOOK_MS = 1_000;
/** After a port could not be had (ms). */
const RETRY_MS = 5_000;

/** Serves the status page. It follows the configuration; that it cannot listen stops nothing else. */
export const statusServer: BackgroundWorker = {
  name: 'status-page',
  async run(context, signal) {
    const { log } = context;
    const answer = gatewayHttp(context);
    let server: Server | undefined;
    let listening = '';
    while (!signal.aborted) {
      const { bind, port } = context.config.http;
      let waitMs = LOOK_MS;
      if (listening !== `${bind}:${port}`) {
        await close(server);
        server = createHttpHost({
          answer,
          publicUrl: undefined,
          onDefect: (error) => log.error('status-failed', describeError(error)),
        });
        listening = `${bind}:${port}`;
        try {
          server.listen(port, bind);
          await once(server, 'listening', { signal });
          const address = server.address();
          statusSideOf(context).httpPort = typeof address === 'object' ? address?.port : undefined;
          log.info('status-page', { bind, port: statusSideOf(context).httpPort });
        } catch (error) {
          if (signal.aborted) break;
          log.error('status-page-unavailable', { bind, port, ...describeError(error) });
          listening = '';
          waitMs = RETRY_MS;
        }
      }
      await sleep(waitMs, undefined, { signal }).catch(() => {});
    }
    await close(server);
  },
};

async function close(server: Server | undefined): Promise<void> {
  if (server?.listening !== true) return;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

const SAMPLE_MS = 10_000;

/** Takes the samples that rates are made of, and keeps who has called. */
export const statusKeeper: BackgroundWorker = {
  name: 'status',
  async run(context, signal) {
    const { services, tenant, log } = context;
    const { activity, rates } = statusSideOf(context);
    await activity.resume(services.index, tenant);
    while (!signal.aborted) {
      try {
        for (const one of await context.forwarder.status()) rates.sample(one.name, one);
        await activity.keep(services.index, tenant);
      } catch (error) {
        log.error('status-failed', describeError(error));
      }
      await sleep(SAMPLE_MS, undefined, { signal }).catch(() => {});
    }
    await activity.keep(services.index, tenant).catch(() => {});
  },
};
