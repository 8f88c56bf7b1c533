import type { Principal } from '#core/access.ts';
import type { AuditSource } from '#core/audit/dicom-message.ts';
import { clientByCertificate, clientPrincipal } from '#core/clients.ts';
import { PacsError } from '#core/errors.ts';
import { LOGIN_PREFIX } from '#core/logins.ts';
import type { RecordSystem } from '#core/ports/record-system.ts';
import type { TokenVerifier } from '#core/ports/token-verifier.ts';
import type { Services } from '#core/services.ts';
import { TOKEN_PREFIX, type TokenStore } from '#core/tokens.ts';
import { whereFrom } from '#dicomweb/audit.ts';
import { corsHeaders, preflight } from '#dicomweb/cors.ts';
import { errorResponse } from '#dicomweb/error-response.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import { Router } from '#dicomweb/router.ts';
import { DICOMWEB_ROUTES, WADO_URI_ROUTES } from '#dicomweb/routes.ts';
import { safeHeaders } from '#dicomweb/safe-headers.ts';
import type { Alarm } from './access.ts';
import { bareOrigin, GuestDoor, guestRequest } from './guest-door.ts';
import type { LoginDoor } from './login.ts';
import { apiRoutes } from './routes.ts';
import { isCrossSite, tokenOf } from './session.ts';
import { type Throttle, tooMany } from './throttle.ts';

export interface ArchiveAppOptions {
  readonly services: Services;
  readonly tokens: TokenStore;
  /** takes the tokens that are not our own */
  readonly issuer?: TokenVerifier | undefined;
  /** where people sign in; absent: by access token alone */
  readonly login?: LoginDoor | undefined;
  /** with access control off: who everybody is */
  readonly everybody?: Principal | undefined;
  /** origins whose pages may read our answers; `*` for any */
  readonly corsOrigins: readonly string[];
  /** in whose audit trail the requests of nobody are recorded */
  readonly tenant: string;
  /** that may open us for whom they have on their screens */
  readonly recordSystems?: readonly RecordSystem[] | undefined;
  /** limits of rate; absent: none */
  readonly throttle?: Throttle | undefined;
  /** how the archive presents itself in audit messages */
  readonly auditSource?: AuditSource | undefined;
  /** somebody took emergency access: a person is to hear of it */
  readonly onAlarm?: ((alarm: Alarm) => void) | undefined;
  /** what the client sees as a 5xx */
  readonly onFailure: (error: PacsError, route: string | undefined, tenant?: string) => void;
}

export interface Answered {
  readonly response: HttpResponse;
  /** name of the route that answered, for metrics */
  readonly route: string | undefined;
  /** of who asked, where that is known: for what is counted of a tenant */
  readonly tenant?: string | undefined;
}

export interface Identified {
  readonly principal?: Principal | undefined;
  /** the answer to a request whose token or origin is not acceptable */
  readonly refused?: HttpResponse;
}

export interface ArchiveApp {
  /** The answer, or undefined for a path that is none of the archive's. Never rejects but for defects. */
  answer(request: HttpRequest): Promise<Answered | undefined>;
  /** Who asks. */
  identify(
    request: Pick<
      HttpRequest,
      'clientCertificate' | 'headers' | 'method' | 'origin' | 'principal' | 'remoteAddress' | 'viewerAddress'
    >,
  ): Promise<Identified>;
}

/** What every host answers: DICOMweb, WADO-URI, our own API and health, with access control and CORS. */
export function createArchiveApp(options: ArchiveAppOptions): ArchiveApp {
  const { services, tokens, corsOrigins, tenant, throttle, onFailure } = options;
  const verifier = verifierOf(options);
  const routers = [
    new Router(services, '/dicomweb', DICOMWEB_ROUTES, tenant),
    new Router(services, '/wado', WADO_URI_ROUTES, tenant),
    new Router(
      services,
      '/api',
      apiRoutes(tokens, verifier, options.auditSource, options.login, options.onAlarm, options.recordSystems),
      tenant,
    ),
  ];
  const guests = new GuestDoor(services);
  const whileSame = (response: HttpResponse, principal: Principal, request: HttpRequest): HttpResponse =>
    whileSignedIn(response, services, async () => {
      const { principal: now, refused } = await identify(request);
      // An issuer that does not answer, or too many requests, say nothing of who he is.
      return refused !== undefined && refused.status !== 401 && refused.status !== 403
        ? true
        : JSON.stringify(now) === JSON.stringify(principal);
    });
  const identify: ArchiveApp['identify'] = async (asked) => {
    const request = guestRequest(asked);
    return request ? identifiedGuest(request, guests) : identified(asked, verifier, options);
  };

  return {
    identify,
    async answer(asked) {
      const guest = guestRequest(asked);
      const request: HttpRequest = guest ?? asked;
      const router = routers.find((candidate) => candidate.matches(request.path));
      if (!router) return request.path === '/healthz' ? health(services, onFailure) : undefined;
      // No page of another origin acts by a share link.
      const cors = guest ? {} : corsHeaders(request, corsOrigins);
      if (request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined) {
        return { response: withHeaders(preflight(request, corsOrigins), {}), route: 'Preflight' };
      }
      try {
        if (request.refusedSeconds !== undefined) throw tooMany(request.refusedSeconds);
        await throttle?.admitAddress(request);
        if (bringsSecret(request)) await throttle?.admitToken(request, undefined);
      } catch (error) {
        return { response: withHeaders(refusal(error), cors), route: 'Throttled' };
      }
      const { principal, refused } = await (guest ? identifiedGuest(guest, guests) : identify(request));
      if (refused?.status === 429) return { response: withHeaders(refused, cors), route: 'Throttled' };
      if (refused) {
        await recordRefusal(services, tenant, request, refused.status);
        return { response: withHeaders(refused, cors), route: undefined };
      }
      let admitted = request;
      try {
        if (throttle && principal) admitted = await throttle.admit(request, principal);
        if (guest && principal) admitted = await guests.admit(admitted, principal);
      } catch (error) {
        return { response: withHeaders(refusal(error), cors), route: 'Throttled', tenant: principal?.tenant };
      }
      const { response: made, route, error } = await router.handle({ ...admitted, principal });
      const response = guest ? await guests.answer(guest, principal, route, made) : made;
      if (error && error.row.http >= 500) onFailure(error, route, principal?.tenant);
      if (bringsSecret(request) && isRefusedSecret(response)) await throttle?.tokenFailed(request);
      const kept = guest || request.principal || !principal ? response : whileSame(response, principal, request);
      const answer = throttle && principal ? await throttle.answer(kept, principal) : kept;
      return { response: withHeaders(answer, cors), route, tenant: principal?.tenant };
    },
  };
}

/**
 * A stream of events lasts for days: it ends when who asked for it is signed out, revoked or somebody else by now. Its reader asks again, and is judged
 * as he is then.
 */
function whileSignedIn(
  response: HttpResponse,
  { clock, limits }: Services,
  isSame: () => Promise<boolean>,
): HttpResponse {
  const { body, headers } = response;
  if (headers['content-type'] !== 'text/event-stream' || body === undefined) return response;
  if (typeof body === 'string' || body instanceof Uint8Array) return response;
  async function* told(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    let lookedAt = clock.now();
    for await (const chunk of chunks) {
      if (clock.now() - lookedAt >= limits.reachStaleMs) {
        lookedAt = clock.now();
        if (!(await isSame())) return;
      }
      yield chunk;
    }
  }
  return { ...response, body: told(body) };
}

/** Requests that hold a secret elsewhere than where tokens are carried. */
const BRINGS_SECRET: ReadonlySet<string> = new Set([
  '/api/session',
  '/api/token',
  '/api/enrolments/exchange',
  '/api/guest/look',
  '/api/guest/opening',
]);
/** By whatever path the router takes for one of these: a slash at its end is none of its segments. */
const bringsSecret = ({ method, path }: HttpRequest): boolean =>
  method === 'POST' && BRINGS_SECRET.has(path.replace(/\/$/, ''));

/** A link that nobody has made is a guess as well. */
const isRefusedSecret = ({ status }: HttpResponse): boolean => status === 401 || status === 404;

/** Below the address of a share link there is nobody but who has opened it, whatever else his browser or an authorizer says of him. */
async function identifiedGuest(
  request: Parameters<ArchiveApp['identify']>[0] & { readonly link: string },
  guests: GuestDoor,
): Promise<Identified> {
  if (isCrossSite({ ...request, origin: bareOrigin(request) }, []))
    return { refused: refusal(new PacsError('FORBIDDEN', 'the request comes from another site')) };
  return { principal: await guests.identify(request) };
}

/** Our own tokens are opaque and say so at their head; whatever else comes is for the issuer to judge. */
function verifierOf({ tokens, issuer }: ArchiveAppOptions): TokenVerifier {
  if (!issuer) return tokens;
  return { verify: (token) => (token.startsWith(TOKEN_PREFIX) ? tokens : issuer).verify(token) };
}

async function identified(
  request: Parameters<ArchiveApp['identify']>[0],
  verifier: TokenVerifier,
  { services, everybody, corsOrigins, throttle, login }: ArchiveAppOptions,
): Promise<Identified> {
  const carried = tokenOf(request);
  // A page of another site must not reach in through the browser of whoever has signed in, or runs an archive without access control.
  if ((everybody || carried?.from === 'cookie') && isCrossSite(request, corsOrigins)) {
    return { refused: refusal(new PacsError('FORBIDDEN', 'the request comes from another site')) };
  }
  // A host's authorizer may have looked at the token before.
  if (everybody || request.principal) return { principal: everybody ?? request.principal };
  if (!carried) return identifiedByCertificate(request, services, corsOrigins);
  try {
    await throttle?.admitToken(request, carried.token);
    // The number of such a session is good in its cookie alone.
    const isLogin = carried.from === 'cookie' && carried.token.startsWith(LOGIN_PREFIX);
    const principal = await (isLogin ? login?.logins : verifier)?.verify(carried.token);
    if (principal) await throttle?.tokenHeld(carried.token);
    // A session that has ended is no guess: pages ask on with its cookie.
    if (principal || carried.from === 'cookie') return { principal };
    await throttle?.tokenFailed(request);
    return { refused: refusal(new PacsError('UNAUTHENTICATED', 'the access token is not valid')) };
  } catch (error) {
    if (error instanceof PacsError && error.code === 'UNAUTHENTICATED') await throttle?.tokenFailed(request);
    return { refused: refusal(error) };
  }
}

/** A machine client by the certificate on its connection. A browser shows one whatever page made it ask: as with a cookie. */
async function identifiedByCertificate(
  request: Parameters<ArchiveApp['identify']>[0],
  services: Services,
  corsOrigins: readonly string[],
): Promise<Identified> {
  if (request.clientCertificate === undefined) return {};
  if (isCrossSite(request, corsOrigins))
    return { refused: refusal(new PacsError('FORBIDDEN', 'the request comes from another site')) };
  const known = await clientByCertificate(services, request.clientCertificate);
  if (known?.client.method !== 'certificate') return {};
  return { principal: clientPrincipal(known.tenant, known.client) };
}

/** Whoever comes with a token that is not valid, or through another site's page, leaves a trace; often repeated, a count. */
async function recordRefusal(
  { audit, clock }: Services,
  tenant: string,
  request: HttpRequest,
  status: number,
): Promise<void> {
  const error = status === 401 ? ('UNAUTHENTICATED' as const) : ('FORBIDDEN' as const);
  const where = whereFrom(request);
  const entry = { event: 'Login', action: 'E', outcome: 4, subject: 'nobody', roles: [], door: 'http', error } as const;
  await audit.recordOnce(tenant, `refused ${error} ${where.from} ${where.via}`, {
    at: clock.now(),
    ...entry,
    ...where,
  });
}

const refusal = (error: unknown): HttpResponse => errorResponse(error).response;

function withHeaders(response: HttpResponse, headers: Readonly<Record<string, string>>): HttpResponse {
  if (headers.vary === undefined)
    return { ...response, headers: { ...safeHeaders(response), ...headers, ...response.headers } };
  // What the answer depends on adds up: a cache that left out the origin would give one page's permission to another.
  const named = [response.headers.vary, headers.vary].flatMap((one) => one?.split(/, */) ?? []);
  const vary = [...new Set(named)].join(', ');
  return {
    ...response,
    headers: { ...safeHeaders(response), ...headers, ...response.headers, ...(vary !== '' && { vary }) },
  };
}

/** 200 when the index answers; the body says what was asked. */
async function health({ index }: Services, onFailure: ArchiveAppOptions['onFailure']): Promise<Answered> {
  const route = 'Health';
  try {
    await index.get({ partition: '_system|health', sort: 'health' });
    const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' };
    const response = { status: 200, headers, body: JSON.stringify({ status: 'ok', index: 'ok' }) };
    return { response: withHeaders(response, {}), route };
  } catch (thrown) {
    const { response, error } = errorResponse(thrown);
    if (error.row.http >= 500) onFailure(error, route);
    return { response, route };
  }
}
