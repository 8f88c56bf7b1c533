import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { PacsError } from '#core/errors.ts';
import { errorResponse } from '#dicomweb/error-response.ts';
import type { HttpRequest } from '#dicomweb/http.ts';
import { type Answer, createHttpHost } from '#embedded/http-host.ts';
import { describeError, type Log, logBrokenAnswer } from '#embedded/log.ts';
import { cloudApp, type ReadSecret } from '#lambda/cloud-app.ts';
import type { CloudPorts } from '#lambda/cloud-throttle.ts';
import type { CloudConfig } from '#lambda/config.ts';

/** How often the counts of repeated acts are written to the audit trail (ms). */
const FLUSH_MS = 10_000;
const IDLE_CHECK_MS = 200;

export interface ServiceOptions {
  readonly config: CloudConfig;
  readonly ports: CloudPorts;
  /** 0: any that is free */
  readonly port: number;
  readonly bind: string;
  readonly log: Log;
  /** where the configuration names a secret that is shown to the issuer */
  readonly readSecret?: ReadSecret | undefined;
}

export interface RunningService {
  readonly port: number;
  /** Takes no more connections, finishes what runs, and writes what it has counted. */
  close(): Promise<void>;
}

/** The embedded host's HTTP before the archive of the cloud: bodies and answers of any size, streamed in constant memory. */
export async function startService({
  config,
  ports,
  port,
  bind,
  log,
  readSecret,
}: ServiceOptions): Promise<RunningService> {
  const { services, app } = cloudApp(config, ports, {
    readSecret,
    onSignInRefused: (error) => log.error('sign-in-refused', describeError(error)),
    onLonelyRates: (error) => log.error('rates-not-shared', describeError(error)),
    onAlarm: (alarm) => log.error('emergency-access', { ...alarm }),
    onFailure: (error, transaction, of) =>
      log.error('request-failed', { tenant: of, transaction, ...describeError(error) }),
  });
  const answer: Answer = async (request) => (await app.answer(behindProxy(request, config))) ?? notFound();
  const server = createHttpHost({
    answer,
    publicUrl: config.publicUrl,
    onDefect: logBrokenAnswer(log),
    onDone: ({ route = 'none', tenant, status, seconds, received, sent }) => {
      // The health check asks every few seconds.
      if (route !== 'Health' || status >= 400)
        log.info('request', { tenant, transaction: route, status, ms: Math.round(seconds * 1e3), received, sent });
    },
  });
  server.listen(port, bind);
  await once(server, 'listening');
  const flush = (all: boolean): Promise<void> =>
    services.audit.flush(all).catch((error) => log.error('audit-failed', describeError(error)));
  const flushing = setInterval(() => void flush(false), FLUSH_MS);
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, 'close');
      server.close();
      // A connection that was busy when we closed stays open for its client's next request, which must not come here.
      const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
      server.closeIdleConnections();
      await closed;
      clearInterval(idle);
      clearInterval(flushing);
      await flush(true);
      await ports.pixels.close();
    },
  };
}

/**
 * Nothing but CloudFront and the load balancer reaches the service (infra/stacks/service.ts): what they say of the client is believed. The
 * load balancer adds CloudFront's address to X-Forwarded-For, CloudFront the client's before it; what stands before that, the client wrote.
 */
function behindProxy(request: HttpRequest, { publicUrl }: CloudConfig): HttpRequest {
  const { 'x-forwarded-host': host, 'x-forwarded-for': from } = request.headers;
  const remoteAddress = from?.split(',').at(-2)?.trim() ?? request.remoteAddress;
  return {
    ...request,
    remoteAddress,
    ...(publicUrl === undefined && host !== undefined && { origin: `https://${host}` }),
  };
}

const notFound = () => ({
  ...errorResponse(new PacsError('NOT_FOUND', 'there is no such resource')),
  route: undefined,
});
