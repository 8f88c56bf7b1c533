import { PacsError } from '#core/errors.ts';
import { type Display, findDisplayed, launchedRequest, readDisplayRequest } from '#core/image-display.ts';
import { beginLaunch, challengeOf, endLaunch, keepContext, randomText, takeContext } from '#core/launches.ts';
import type { RecordSystem } from '#core/ports/record-system.ts';
import { SESSION_MS, type TokenStore } from '#core/tokens.ts';
import type { Context, Handler } from '#dicomweb/handler.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import type { Route } from '#dicomweb/router.ts';
import { hostCookie, hostCookieOf } from './cookies.ts';
import { json, readJson } from './json.ts';
import { isCrossSite, withCookie } from './session.ts';

const COOKIE = 'nephos_launch';
const COOKIE_SECONDS = 15 * 60;
const TEXT_CHARACTERS = 8_192;

/** Where the record system sends the browser back to: a page of the console (docs/launch.md). */
const redirectUri = (origin: string): string => `${origin}/launch`;

/** Invoke Image Display (IHE RAD-106), brought by the page that was invoked: ids of patients stay out of further addresses. */
const display: Handler = async (context) => {
  const request = readDisplayRequest(await readJson(context.request));
  return shown(context, await findDisplayed(context.services, context.principal.tenant, request));
};

/** SMART App Launch: an EHR has opened us. The answer says where the browser goes next. @throws PacsError FORBIDDEN; BAD_REQUEST; BUSY */
const begin =
  (systems: readonly RecordSystem[]): Handler =>
  async ({ request, services }) => {
    sameSite(request);
    const { iss, launch } = await readJson(request);
    const issuer = textOf('iss', iss).replace(/\/+$/, '');
    const system = systems.find((one) => one.issuer === issuer);
    if (system === undefined) throw new PacsError('FORBIDDEN', 'this record system is not registered here');
    const { clock } = services;
    const [verifier, nonce, binding] = [randomText(clock), randomText(clock), randomText(clock)];
    const back = redirectUri(request.origin);
    const state = await beginLaunch(services, { issuer, redirectUri: back, verifier, nonce }, binding);
    const next = await system.authorizationUrl({
      launch: textOf('launch', launch),
      redirectUri: back,
      state,
      nonce,
      challenge: challengeOf(verifier),
    });
    return { ...json(200, { next }), cookies: [cookieOf(request, binding, COOKIE_SECONDS)] };
  };

/** Back from its login. Where it signs people in, that is done now. @throws PacsError UNAUTHENTICATED; NOT_FOUND; BUSY */
const end =
  (systems: readonly RecordSystem[], tokens: TokenStore): Handler =>
  async ({ request, services, facts }) => {
    sameSite(request);
    const { code, state } = await readJson(request);
    const binding = bindingOf(request);
    const pending = await endLaunch(services, textOf('state', state), binding);
    const system = systems.find((one) => one.issuer === pending.issuer);
    if (system === undefined) throw new PacsError('FORBIDDEN', 'this record system is not registered here');
    const { subject, ...context } = await system.exchange({ ...pending, code: textOf('code', code) });
    const id = await keepContext(services, system.tenant, context, binding);
    if (subject === undefined) return json(200, { id, signedIn: false });
    const principal = { tenant: system.tenant, subject: nameOf(subject, system), roles: system.signIn };
    facts.principal = principal;
    const session = await tokens.openSession(principal);
    return withCookie(json(200, { id, signedIn: true }), request, session, SESSION_MS / 1000);
  };

/** By the record system, too: what one calls a person another may call somebody else. */
const nameOf = (subject: string, { issuer }: Pick<RecordSystem, 'issuer'>): string =>
  `ehr:${subject}@${issuer.replace(/^https?:\/\//, '')}`;

/** What the launch was for, for whoever has signed in by now, as far as he may see it. @throws PacsError UNAUTHENTICATED; FORBIDDEN */
const open: Handler = async (context) => {
  const { request, services, principal } = context;
  const { id } = await readJson(request);
  const launched = await takeContext(services, principal.tenant, textOf('id', id), bindingOf(request));
  const answer = await shown(context, await findDisplayed(services, principal.tenant, launchedRequest(launched)));
  return { ...answer, cookies: [cookieOf(request, '', 0)] };
};

async function shown({ facts }: Context, display: Display): Promise<HttpResponse> {
  facts.studies = display.studies.map(({ StudyInstanceUID }) => StudyInstanceUID);
  return json(200, display);
}

/** Nobody has signed in here yet, so that it is not looked at before. @throws PacsError FORBIDDEN */
function sameSite(request: HttpRequest): void {
  if (isCrossSite(request, [])) throw new PacsError('FORBIDDEN', 'the request comes from another site');
}

function textOf(name: string, value: unknown): string {
  if (typeof value !== 'string' || value === '' || value.length > TEXT_CHARACTERS)
    throw new PacsError('BAD_REQUEST', `${name} must be a text`, { details: { parameter: name } });
  return value;
}

const bindingOf = (request: HttpRequest): string => hostCookieOf(request, COOKIE) ?? '';
const cookieOf = (request: HttpRequest, value: string, maxAgeSeconds: number): string =>
  hostCookie(request, { name: COOKIE, value, sameSite: 'Strict', maxAgeSeconds });

export const imageDisplayRoutes = (tokens: TokenStore, systems: readonly RecordSystem[]): Route[] => [
  { method: 'POST', path: '/image-display', action: 'search', name: 'InvokeImageDisplay', handler: display },
  // Public: whoever comes from a record system may sign in afterwards, or by it.
  { method: 'POST', path: '/launches', action: 'public', name: 'BeginLaunch', handler: begin(systems) },
  {
    method: 'POST',
    path: '/launches/return',
    action: 'public',
    name: 'EndLaunch',
    handler: end(systems, tokens),
    recordedAs: ['Login', 'E'],
  },
  { method: 'POST', path: '/launches/open', action: 'search', name: 'OpenLaunched', handler: open },
];
