import { createHash, timingSafeEqual } from 'node:crypto';
import { isCrossSite, tokenOf } from '#api/session.ts';
import { asPacsError, PacsError } from '#core/errors.ts';
import { TokenStore } from '#core/tokens.ts';
import { errorResponse } from '#dicomweb/error-response.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import type { Answer } from '#embedded/http-host.ts';
import type { EdgeContext } from '../context.ts';
import { secretOf } from '../credentials.ts';
import { isDicomweb, viewerDicomweb } from '../read/dicomweb.ts';
import { perform, readAction } from './actions.ts';
import { gatewayMetrics } from './metrics.ts';
import { PAGE_POLICY, signInPage, statusPage } from './page.ts';
import { gatewayStatus } from './snapshot.ts';

const COOKIE = 'nephos_gateway';
const SESSION_SECONDS = 12 * 60 * 60;
const FORM_BYTES = 16 * 1024;
/** Names of this machine: another name that leads to loopback is a page that wants to read what is ours. */
const LOCAL_HOST = /^https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?$/;

/**
 * The gateway's own HTTP: /healthz for all; /status, /status.json and /metrics for whoever has the token, or, where the configuration
 * has none (on loopback alone), for this machine.
 */
export function gatewayHttp(context: EdgeContext): Answer {
  const sessions = new TokenStore({ index: context.services.index, clock: context.clock });

  const dicomweb = viewerDicomweb(context);

  const isKnown = async (request: HttpRequest): Promise<boolean> => {
    const token = context.config.http.token;
    if (token === undefined) return LOCAL_HOST.test(request.origin);
    const carried = tokenOf(request);
    if (carried?.from === 'bearer') return isSame(carried.token, secretOf(token));
    const session = cookieOf(request);
    return session !== undefined && (await sessions.verify(session))?.subject === 'status';
  };

  const signIn = async (request: HttpRequest): Promise<HttpResponse> => {
    const { token } = context.config.http;
    const given = (await readForm(request)).get('token') ?? '';
    if (token === undefined || !isSame(given.trim(), secretOf(token))) return page(401, signInPage(true));
    const session = await sessions.openSession({ tenant: context.tenant, subject: 'status', roles: [] });
    const secure = request.origin.startsWith('https:') ? '; Secure' : '';
    const cookie = `${COOKIE}=${session}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${SESSION_SECONDS}${secure}`;
    return seeOther('/status', { 'set-cookie': cookie });
  };

  const route = async (request: HttpRequest): Promise<HttpResponse> => {
    const { method, path } = request;
    const isRead = method === 'GET' || method === 'HEAD';
    if (path === '/healthz' && isRead) return health(context);
    if (isCrossSite(request, [])) throw new PacsError('FORBIDDEN', 'the request comes from another site');
    if (path === '/sign-in' && method === 'POST') return signIn(request);
    if (isDicomweb(path)) return dicomweb(request);
    if (!(await isKnown(request))) {
      const wantsPage = isRead && (path === '/' || path === '/status');
      if (wantsPage && context.config.http.token !== undefined) return page(401, signInPage(false));
      throw new PacsError('UNAUTHENTICATED', 'authentication is required');
    }
    if (path === '/' && isRead) return seeOther('/status');
    if (path === '/status' && isRead) {
      const options = {
        said: request.query.get('said')?.slice(0, 200),
        refresh: request.query.get('refresh') !== 'off',
      };
      return page(200, statusPage(await gatewayStatus(context), options));
    }
    if (path === '/status.json' && isRead) return json(200, await gatewayStatus(context));
    if (path === '/metrics' && isRead) {
      const headers = { 'content-type': 'text/plain; version=0.0.4; charset=utf-8', 'cache-control': 'no-store' };
      return { status: 200, headers, body: await gatewayMetrics(await gatewayStatus(context)) };
    }
    if (path === '/status/actions' && method === 'POST') {
      const said = await perform(context, await readAction(context, await readForm(request)));
      if (request.headers.accept?.includes('application/json')) return json(200, { said });
      return seeOther(`/status?${new URLSearchParams({ said, ...(isStopped(request) && { refresh: 'off' }) })}`);
    }
    throw new PacsError('NOT_FOUND', 'there is no such page');
  };

  return async (request) => {
    try {
      return { response: await route(request), route: 'Status' };
    } catch (error) {
      const failure = asPacsError(error);
      if (failure.row.http >= 500) context.log.error('status-failed', { code: failure.code, message: failure.message });
      return { response: errorResponse(failure).response, route: undefined };
    }
  };
}

/** Well when its index answers: what is wrong upstream is no reason to start it anew. */
async function health({ services, tenant }: EdgeContext): Promise<HttpResponse> {
  await services.index.get({ partition: `${tenant}|health`, sort: 'health' });
  return json(200, { status: 'ok', index: 'ok' });
}

async function readForm(request: HttpRequest): Promise<URLSearchParams> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body) {
    size += chunk.byteLength;
    if (size > FORM_BYTES)
      throw new PacsError('TOO_LARGE', 'the form is too large', { details: { limitBytes: FORM_BYTES } });
    chunks.push(chunk);
  }
  return new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
}

/** Whether the reader of the page that was acted on has stopped it from loading itself anew: he need not stop it again. */
const isStopped = ({ headers }: HttpRequest): boolean => /[?&]refresh=off(?:&|$)/.test(headers.referer ?? '');

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
/** In a time that tells nothing of where they differ. */
const isSame = (given: string, wanted: string): boolean => timingSafeEqual(digest(given), digest(wanted));

function cookieOf({ headers }: HttpRequest): string | undefined {
  for (const pair of (headers.cookie ?? '').split(';')) {
    const [name, value] = pair.trim().split('=', 2);
    if (name === COOKIE && value) return value;
  }
  return undefined;
}

const SECURITY = {
  'cache-control': 'no-store',
  'content-security-policy': PAGE_POLICY,
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
};
const page = (status: number, body: string): HttpResponse => ({
  status,
  headers: { 'content-type': 'text/html; charset=utf-8', ...SECURITY },
  body,
});
const json = (status: number, value: unknown): HttpResponse => ({
  status,
  headers: { 'content-type': 'application/json', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' },
  body: JSON.stringify(value),
});
const seeOther = (location: string, headers: Readonly<Record<string, string>> = {}): HttpResponse => ({
  status: 303,
  headers: { location, 'cache-control': 'no-store', ...headers },
});
