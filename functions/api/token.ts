import { isRole } from '#core/access.ts';
import { clientBySecret, clientPrincipal, type KnownClient } from '#core/clients.ts';
import { PacsError } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import type { TokenStore } from '#core/tokens.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import type { Route } from '#dicomweb/router.ts';
import { ASSERTION_TYPE, clientByAssertion } from './client-assertion.ts';

const FORM_BYTES = 64 * 1024;

/**
 * POST /token: an access token for a machine client (RFC 6749 §4.4). The client shows who it is by its secret (Basic, or in the form) or by
 * an assertion (RFC 7523). `scope` may ask for fewer roles than it has. Errors have the form of RFC 6749 §5.2.
 */
const token =
  (tokens: TokenStore): Handler =>
  async ({ request, services, facts }) => {
    const form = await readForm(request);
    if (form === undefined) return refuse(400, 'invalid_request');
    if (form.get('grant_type') !== 'client_credentials') return refuse(400, 'unsupported_grant_type');
    const shown = credentialsOf(request, form);
    if (shown === undefined) return refuse(400, 'invalid_request');
    const known = await knownBy(services, shown, `${request.origin}/api/token`);
    if (known === undefined) return refuse(401, 'invalid_client');
    facts.principal = clientPrincipal(known.tenant, known.client);
    const asked = (form.get('scope') ?? '').split(' ').filter((name) => name !== '');
    const roles = asked.length === 0 ? known.client.roles : asked.filter(isRole);
    if (roles.length < asked.length || !roles.every((role) => known.client.roles.includes(role)))
      return refuse(400, 'invalid_scope');
    const lifeMs = services.limits.clientTokenMs;
    return answer(200, {
      access_token: await tokens.openForClient({ tenant: known.tenant, client: { ...known.client, roles } }, lifeMs),
      token_type: 'Bearer',
      expires_in: Math.floor(lifeMs / 1000),
      scope: roles.join(' '),
    });
  };

type Shown = { readonly id: string; readonly secret: string } | { readonly assertion: string };

const knownBy = (services: Services, shown: Shown, endpoint: string): Promise<KnownClient | undefined> =>
  'assertion' in shown
    ? clientByAssertion(services, shown.assertion, endpoint)
    : clientBySecret(services, shown.id, shown.secret);

/** By one way and no more (RFC 6749 §2.3); undefined otherwise. */
function credentialsOf({ headers }: HttpRequest, form: URLSearchParams): Shown | undefined {
  const ways: Shown[] = [];
  const basic = /^Basic +([A-Za-z0-9+/]+=*) *$/i.exec(headers.authorization ?? '')?.[1];
  if (basic !== undefined) {
    const [, id, secret] = /^([^:]*):(.*)$/s.exec(Buffer.from(basic, 'base64').toString('utf8')) ?? [];
    if (id !== undefined && secret !== undefined) ways.push({ id: plain(id), secret: plain(secret) });
  }
  const secret = form.get('client_secret');
  if (secret !== null) ways.push({ id: form.get('client_id') ?? '', secret });
  const assertion = form.get('client_assertion');
  if (assertion !== null && form.get('client_assertion_type') === ASSERTION_TYPE) ways.push({ assertion });
  return ways.length === 1 ? ways[0] : undefined;
}

/** RFC 6749 §2.3.1: both halves of Basic are form-encoded first. */
function plain(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
}

/** @throws PacsError TOO_LARGE */
async function readForm(request: HttpRequest): Promise<URLSearchParams | undefined> {
  if (!/^application\/x-www-form-urlencoded\b/i.test(request.headers['content-type'] ?? '')) return undefined;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body) {
    size += chunk.byteLength;
    if (size > FORM_BYTES)
      throw new PacsError('TOO_LARGE', 'the form is too large', { details: { limitBytes: FORM_BYTES } });
    chunks.push(chunk);
  }
  const form = new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
  const names = [...form.keys()];
  return new Set(names).size === names.length ? form : undefined;
}

const answer = (status: number, body: object): HttpResponse => ({
  status,
  headers: {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    pragma: 'no-cache',
    ...(status === 401 && { 'www-authenticate': 'Basic realm="nephos"' }),
  },
  body: JSON.stringify(body),
});
const refuse = (status: 400 | 401, error: string): HttpResponse => answer(status, { error });

export const clientTokenRoutes = (tokens: TokenStore): Route[] => [
  // Public: the client shows who it is in the request itself.
  {
    method: 'POST',
    path: '/token',
    action: 'public',
    name: 'RequestToken',
    handler: token(tokens),
    recordedAs: ['Login', 'E'],
  },
];
