import { OidcTokenVerifier } from '#adapters/oidc/oidc-token-verifier.ts';
import { createArchiveApp } from '#api/app.ts';
import { Throttle } from '#api/throttle.ts';
import { authorize } from '#core/access.ts';
import { describeError, PacsError } from '#core/errors.ts';
import { errorResponse } from '#dicomweb/error-response.ts';
import type { Archive } from './archive.ts';
import type { Config } from './config.ts';
import type { Answer } from './http-host.ts';
import type { Log } from './log.ts';
import { metricsText } from './metrics.ts';
import { staticSite } from './static-site.ts';

/** Everything the embedded host answers over HTTP: the archive, metrics, console and viewer. */
export function createApp({ archive, config, log }: { archive: Archive; config: Config; log: Log }): {
  answer: Answer;
} {
  const { services, tokens } = archive;
  const { tenant, corsOrigins, oidc } = config;
  const app = createArchiveApp({
    services,
    tokens,
    issuer: oidc && new OidcTokenVerifier(oidc, services.clock),
    everybody: config.auth === 'off' ? { tenant, subject: 'local', roles: ['admin'] } : undefined,
    corsOrigins,
    tenant,
    throttle: config.rates && new Throttle(config.rates, services.clock),
    auditSource: { id: config.auditSource, aeTitle: config.dicom.aeTitle },
    onFailure: (error, transaction) => log.error('request-failed', { transaction, ...describeError(error) }),
  });
  const site = staticSite({});

  const answer: Answer = async (request) => {
    const answered = await app.answer(request);
    if (answered) return answered;
    try {
      if (request.path === '/metrics') {
        const { principal, refused } = await app.identify(request);
        if (refused) return { response: refused, route: 'Metrics' };
        authorize(principal, 'monitor');
        const headers = { 'content-type': 'text/plain; version=0.0.4; charset=utf-8', 'cache-control': 'no-store' };
        return { response: { status: 200, headers, body: await metricsText() }, route: 'Metrics' };
      }
      const response = await site(request);
      if (!response) throw new PacsError('NOT_FOUND', 'there is no such page');
      return { response, route: 'Page' };
    } catch (thrown) {
      const { response, error } = errorResponse(thrown);
      if (error.row.http >= 500) log.error('request-failed', describeError(error));
      return { response, route: undefined };
    }
  };
  return { answer };
}
