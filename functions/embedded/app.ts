import { apiRoutes } from '#api/routes.ts';
import { isCrossSite, tokenOf } from '#api/session.ts';
import { authorize, type Principal } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import type { TokenStore } from '#core/tokens.ts';
import { corsHeaders, preflight } from '#dicomweb/cors.ts';
import { errorResponse } from '#dicomweb/error-response.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import type { Archive } from './archive.ts';
import type { Config } from './config.ts';
import type { Answer } from './http-host.ts';
import { describeError, type Log } from './log.ts';
import { metricsText } from './metrics.ts';
import { staticSite } from './static-site.ts';

/** Everything the embedded host answers over HTTP: DICOMweb, WADO-URI, our own API, health, metrics, console and viewer. */
export function createApp({ archive, config, log }: { archive: Archive; config: Config; log: Log }): {
  answer: Answer;
} {
  const { services, tokens } = archive;
  const routers = [
    new Router(services, '/dicomweb', DICOMWEB_ROUTES),
    new Router(services, '/wado', WADO_URI_ROUTES),
    new Router(services, '/api', apiRoutes(tokens)),
  ];
  const site = staticSite({});

  const answer: Answer = async (request) => {
    const router = routers.find((candidate) => candidate.matches(request.path));
    if (!router) return answerOther(request);
    const cors = corsHeaders(request, config.corsOrigins);
    if (request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined) {
      return { response: preflight(request, config.corsOrigins), route: 'Preflight' };
    }
    const identified = await identify(request);
    if (identified.refused) return { response: withHeaders(identified.refused, cors), route: undefined };
    const routed = await router.handle({ ...request, principal: identified.principal });
    if (routed.error && routed.error.row.http >= 500) {
      log.error('request-failed', {
        transaction: routed.route,
        code: routed.error.code,
        ...describeError(routed.error),
      });
    }
    return { response: withHeaders(routed.response, cors), route: routed.route };
  };

  const answerOther: Answer = async (request) => {
    try {
      if (request.path === '/healthz') return { response: await health(archive), route: 'Health' };
      if (request.path === '/metrics') {
        const { principal, refused } = await identify(request);
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

  const identify = identifier(config, tokens);
  return { answer };
}

/** Who asks. With access control off, everybody on loopback is the administrator. */
function identifier(config: Config, tokens: TokenStore) {
  const everybody: Principal = { tenant: config.tenant, subject: 'local', roles: ['admin'] };
  return async (request: HttpRequest): Promise<{ principal?: Principal | undefined; refused?: HttpResponse }> => {
    if (config.auth === 'off') {
      // A page of another site must not reach in through the browser of whoever runs the archive.
      if (isCrossSite(request, config.corsOrigins))
        return { refused: refusal('FORBIDDEN', 'the request comes from another site') };
      return { principal: everybody };
    }
    const carried = tokenOf(request);
    if (!carried) return {};
    if (carried.from === 'cookie' && isCrossSite(request, config.corsOrigins)) {
      return { refused: refusal('FORBIDDEN', 'the request comes from another site') };
    }
    const principal = await tokens.verify(carried.token);
    return principal || carried.from === 'cookie'
      ? { principal }
      : { refused: refusal('UNAUTHENTICATED', 'the access token is not valid') };
  };
}

const refusal = (code: 'FORBIDDEN' | 'UNAUTHENTICATED', message: string): HttpResponse =>
  errorResponse(new PacsError(code, message)).response;

const withHeaders = (response: HttpResponse, headers: Readonly<Record<string, string>>): HttpResponse => ({
  ...response,
  headers: { ...headers, ...response.headers },
});

/** 200 when the index answers; the body says what was asked. */
async function health({ services }: Archive): Promise<HttpResponse> {
  await services.index.get({ partition: '_system|health', sort: 'health' });
  return {
    status: 200,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
    body: JSON.stringify({ status: 'ok', index: 'ok' }),
  };
}
