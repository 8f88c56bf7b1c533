import { OidcTokenVerifier } from '#adapters/oidc/oidc-token-verifier.ts';
import { SmartRecordSystem } from '#adapters/smart/smart-record-system.ts';
import { createArchiveApp } from '#api/app.ts';
import { Throttle } from '#api/throttle.ts';
import { authorize } from '#core/access.ts';
import { describeError, PacsError } from '#core/errors.ts';
import { IndexRateLedger } from '#core/rate-accounts.ts';
import type { Services } from '#core/services.ts';
import { errorResponse } from '#dicomweb/error-response.ts';
import type { HttpRequest } from '#dicomweb/http.ts';
import { SAFE_HEADERS } from '#dicomweb/safe-headers.ts';
import type { Archive } from './archive.ts';
import type { Config } from './config.ts';
import type { Answer } from './http-host.ts';
import type { Login } from './issuer/login.ts';
import { isIssuerPath } from './issuer/path.ts';
import type { Log } from './log.ts';
import { metricsText, observeEmergency } from './metrics.ts';
import { staticSite } from './static-site.ts';

export interface AppOptions {
  readonly archive: Archive;
  readonly config: Config;
  readonly log: Log;
  /** how people sign in; absent: by access token alone */
  readonly login?: Login | undefined;
}

/** Everything the embedded host answers over HTTP: the archive, metrics, console and viewer. */
export function createApp({ archive, config, log, login }: AppOptions): { answer: Answer } {
  const { services, tokens } = archive;
  const { tenant, corsOrigins, oidc } = config;
  const throttle = throttleOf(config, services, log);
  const app = createArchiveApp({
    services,
    tokens,
    issuer: oidc && new OidcTokenVerifier(oidc, services.clock),
    login: login?.door,
    everybody: config.auth === 'off' ? { tenant, subject: 'local', roles: ['admin'] } : undefined,
    corsOrigins,
    recordSystems: config.smart.map((one) => new SmartRecordSystem(one)),
    tenant,
    throttle,
    auditSource: { id: config.auditSource, aeTitle: config.dicom.aeTitle },
    onAlarm: (alarm) => {
      observeEmergency();
      log.error('emergency-access', { ...alarm });
    },
    onFailure: (error, transaction, of) =>
      log.error('request-failed', { tenant: of, transaction, ...describeError(error) }),
  });
  const site = staticSite({});

  const answer: Answer = async (request) => {
    if (config.auth === 'off' && !isNamedAsOurs(request, config)) {
      const { response } = errorResponse(new PacsError('FORBIDDEN', 'without access control only loopback is served'));
      return { response, route: undefined };
    }
    const answered = await app.answer(request);
    if (answered) return answered;
    try {
      if (request.path === '/metrics') {
        const { principal, refused } = await app.identify(request);
        if (refused) return { response: refused, route: 'Metrics' };
        authorize(principal, 'monitor');
        const type = 'text/plain; version=0.0.4; charset=utf-8';
        const headers = { ...SAFE_HEADERS, 'content-type': type, 'cache-control': 'no-store' };
        return { response: { status: 200, headers, body: await metricsText() }, route: 'Metrics' };
      }
      if (isIssuerPath(request.path)) {
        await throttle?.admitAddress(request);
        const answered = await login?.answer(request);
        if (answered) return { response: answered, route: 'Issuer' };
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

/** One process keeps its rates in memory; several share them in the index. */
function throttleOf({ rates, workers }: Config, { index, clock }: Services, log: Log): Throttle | undefined {
  if (rates === undefined) return undefined;
  const onFailure = (error: unknown) => log.error('rates-not-shared', describeError(error));
  return new Throttle(rates, clock, workers > 1 ? { ledger: new IndexRateLedger(index), onFailure } : {});
}

/**
 * A page of the internet whose name was made to lead to this machine (DNS rebinding) is of one origin with us, as its browser sees it; by the
 * name in the request it shows.
 */
function isNamedAsOurs({ headers }: HttpRequest, { publicUrl }: Config): boolean {
  const name = headers.host?.replace(/:\d+$/, '').toLowerCase();
  return (
    name === undefined || LOOPBACK_NAMES.has(name) || (publicUrl !== undefined && name === new URL(publicUrl).hostname)
  );
}

const LOOPBACK_NAMES = new Set(['127.0.0.1', '[::1]', 'localhost']);
