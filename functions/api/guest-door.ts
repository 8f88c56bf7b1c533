import type { Principal } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import { type Guest, guestPrincipal } from '#core/share-links/guest.ts';
import { sessionOf } from '#core/share-links/opening.ts';
import { type ShareAct, shareKeys } from '#core/share-links/records.ts';
import { GuestActs } from '#core/share-links/trail.ts';
import { whereFrom } from '#dicomweb/audit.ts';
import { GUEST_ROUTES } from '#dicomweb/guest.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import { cookieOf, setCookie } from './cookies.ts';

/** `/s/{link}` is the receiver's page; below it stand the doors that a guest uses, and the viewer. */
const GUEST_PATH = /^\/s\/([0-9A-Z]{26})(\/(?:dicomweb|api)(?:\/.*)?)$/;
/** Where a host in front of us has taken the link out of the path (CloudFront): its id. It opens nothing: the session's cookie does. */
const LINK_HEADER = 'x-nephos-link';
const LINK = /^[0-9A-Z]{26}$/;
const COOKIE = 'nephos_guest';
/** What is sent in by a link is written down in steps of this size (bytes). */
const UPLOAD_STEP_BYTES = 8 * 1024 * 1024;

/** The request as the doors know it, where it came below the address of a share link. */
export function guestRequest<T extends Pick<HttpRequest, 'headers' | 'origin'> & { readonly path?: string }>(
  request: T,
): (T & { readonly link: string }) | undefined {
  const [, inPath, path] = GUEST_PATH.exec(request.path ?? '') ?? [];
  const named = request.headers[LINK_HEADER];
  const link = inPath ?? (named !== undefined && LINK.test(named) ? named : undefined);
  if (link === undefined) return undefined;
  // Whoever a session of staff, a token or an authorizer says it is counts for nothing here.
  return {
    ...request,
    ...(path !== undefined && { path }),
    link,
    origin: `${request.origin}/s/${link}`,
    principal: undefined,
  };
}

/** Scheme and authority alone: what a browser calls an origin. */
export const bareOrigin = ({ origin, link }: Pick<HttpRequest, 'origin' | 'link'>): string =>
  link === undefined ? origin : origin.slice(0, -`/s/${link}`.length);

/** The token of the guest's session; the browser sends it below the link's address alone. */
export const guestTokenOf = (request: Pick<HttpRequest, 'headers'>): string | undefined => cookieOf(request, COOKIE);

/**
 * The session's cookie. Its path is the link's address: a session of staff in the same browser and the guest's never meet, nor do those
 * of two links.
 */
export const guestCookie = (request: HttpRequest, value: string, maxAgeSeconds: number): string =>
  setCookie(request, { name: COOKIE, value, path: `/s/${request.link}`, sameSite: 'Strict', maxAgeSeconds });

/** What guests do, beside what everybody does: who they are, what is noted of it, and that it ends when the link does. */
export class GuestDoor {
  readonly #services: Services;
  readonly #acts: GuestActs;

  constructor(services: Services) {
    this.#services = services;
    this.#acts = new GuestActs(services);
  }

  /** Who asks, by the cookie alone; undefined: nobody, or a session that is over. */
  async identify(request: Pick<HttpRequest, 'headers'> & { readonly link: string }): Promise<Principal | undefined> {
    const token = guestTokenOf(request);
    const session = token === undefined ? undefined : await sessionOf(this.#services, request.link, token);
    return session && guestPrincipal(session.tenant, session.link, session.endsAt);
  }

  /** The request, with as much of its body as the link may still send in. @throws PacsError TOO_LARGE */
  async admit(request: HttpRequest, { tenant, guest }: Principal): Promise<HttpRequest> {
    if (guest?.upload === undefined || request.method !== 'POST') return request;
    const announced = Number(request.headers['content-length'] ?? 0);
    if ((await this.#sentBy(tenant, guest.link)) + announced > this.#services.limits.shareUploadBytes)
      throw this.#tooLarge();
    return { ...request, body: this.#counted(request.body, tenant, guest.link) };
  }

  /** Bytes are written down before they are passed on, a step at a time: however many come at once by one link, they count together. */
  async *#counted(body: AsyncIterable<Uint8Array>, tenant: string, link: string) {
    const { index, limits } = this.#services;
    let noted = 0;
    let bytes = 0;
    const note = async (more: number): Promise<void> => {
      noted += more;
      await index.write([{ kind: 'add', key: shareKeys.use(tenant, link), increments: { bytes: more } }], {
        durability: 'deferred',
      });
    };
    try {
      for await (const chunk of body) {
        bytes += chunk.byteLength;
        if (bytes > noted) {
          await note(Math.max(bytes - noted, UPLOAD_STEP_BYTES));
          const ofTheOthers = (await this.#sentBy(tenant, link)) - noted;
          if (ofTheOthers + bytes > limits.shareUploadBytes) throw this.#tooLarge();
        }
        yield chunk;
      }
    } finally {
      // Of the last step there was less.
      if (noted !== bytes) await note(bytes - noted);
    }
  }

  async #sentBy(tenant: string, link: string): Promise<number> {
    const use = await this.#services.index.get(shareKeys.use(tenant, link));
    return (use?.bytes as number | undefined) ?? 0;
  }

  #tooLarge(): PacsError {
    const { shareUploadBytes: limitBytes } = this.#services.limits;
    return new PacsError('TOO_LARGE', 'more has been sent in by this link than it takes', { details: { limitBytes } });
  }

  /** The answer as a guest gets it: kept by no cache, noted in the trail of the link, and broken off when the link is revoked. */
  async answer(
    request: HttpRequest & { readonly link: string },
    principal: Principal | undefined,
    route: string | undefined,
    response: HttpResponse,
  ): Promise<HttpResponse> {
    const headers = { ...response.headers, 'cache-control': 'private, no-store', 'referrer-policy': 'no-referrer' };
    const guest = principal?.guest;
    if (guest === undefined || response.status >= 400) return { ...response, headers };
    const act = actOf(route, request, guest);
    if (act !== undefined) {
      const { from } = whereFrom(request);
      const study = act === 'uploaded' ? undefined : studyOf(request, guest);
      await this.#acts.note(principal!.tenant, guest.link, { act, ...(from && { from }), ...(study && { study }) });
    }
    const { body } = response;
    if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) return { ...response, headers };
    return { ...response, headers, body: this.#whileOpen(body, request) };
  }

  /** A long answer looks from time to time whether the link still holds. */
  async *#whileOpen(
    body: AsyncIterable<Uint8Array>,
    request: HttpRequest & { readonly link: string },
  ): AsyncGenerator<Uint8Array> {
    const { clock, limits } = this.#services;
    let lookedAt = clock.now();
    for await (const chunk of body) {
      if (clock.now() - lookedAt >= limits.shareCheckMs) {
        lookedAt = clock.now();
        if ((await this.identify(request)) === undefined) throw new PacsError('GONE', 'the link has ended');
      }
      yield chunk;
    }
  }
}

/** What a use of a route is called in the trail of a link. */
function actOf(
  route: string | undefined,
  { method }: Pick<HttpRequest, 'method'>,
  { scopes }: Guest,
): ShareAct['act'] | undefined {
  switch (route === undefined || method === 'HEAD' ? undefined : GUEST_ROUTES.get(route)) {
    case 'download':
      return scopes.includes('download') ? 'downloaded' : 'viewed';
    case 'upload':
      return 'uploaded';
    case 'view':
      return route!.startsWith('Search') ? undefined : 'viewed';
    default:
      return undefined;
  }
}

const studyOf = ({ path }: Pick<HttpRequest, 'path'>, { studies }: Guest): string | undefined => {
  const study = /^\/dicomweb\/studies\/([0-9.]+)/.exec(path)?.[1];
  return study !== undefined && studies.includes(study) ? study : undefined;
};
