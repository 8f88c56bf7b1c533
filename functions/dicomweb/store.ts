import { authorize, mayReject } from '#core/access.ts';
import type { Identity } from '#core/archive/instance.ts';
import { type StoreOutcome, storeObject } from '#core/archive/store.ts';
import { asPacsError, PacsError } from '#core/errors.ts';
import { isUID } from '#core/ids.ts';
import { archiveId, ROUTE_HEADERS, readWay } from '#core/routing/way.ts';
import type { Services } from '#core/services.ts';
import { subjectOf } from '#core/share-links/guest.ts';
import { admissionOf } from '#core/share-links/uploads.ts';
import { isCoded, withoutCoding } from './content-coding.ts';
import { sha256In } from './digest.ts';
import { errorResponse } from './error-response.ts';
import type { Context, Handler } from './handler.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { type MediaType, parseMediaType } from './media-type.ts';
import { type ReceivedPart, readMultipart } from './multipart.ts';
import { objectsFromMetadata } from './store-metadata.ts';
import { storeResponse, wantsXml } from './store-response.ts';
import { transactionsLink } from './transactions-link.ts';

/**
 * Store transaction (PS3.18 §10.5): POST /studies[/{study}]. One pass over the body in constant memory; each instance has its own
 * outcome, answered only when that would survive losing power.
 */
export const storeInstances: Handler = async (context) => {
  const { request, params } = context;
  const study = params.study;
  if (study !== undefined && !isUID(study)) throw new PacsError('BAD_REQUEST', 'the study of the path is not a UID');
  authorize(context.principal, 'store', study === undefined ? {} : { StudyInstanceUID: study });
  const xml = wantsXml(request);
  try {
    const announced = Number(request.headers['content-length'] ?? 0);
    if (announced > context.services.limits.storeRequestBytes) throw tooLarge(context.services);
    const outcomes = await storeAll(context, study);
    noteFacts(context, outcomes);
    return withWayOut(context, await withName(context, storeResponse(outcomes, { root: context.root, study, xml })));
  } catch (error) {
    if (!(error instanceof PacsError && error.code === 'TOO_LARGE')) throw error;
    return withWayOut(context, errorResponse(error).response);
  }
};

/** Who says by which archives objects have come is told the name of this one, so that they do not go round in circles. */
async function withName({ request, services, principal }: Context, response: HttpResponse): Promise<HttpResponse> {
  if (request.headers[ROUTE_HEADERS.way] === undefined) return response;
  const id = await archiveId(services, principal.tenant);
  return { ...response, headers: { ...response.headers, [ROUTE_HEADERS.archive]: id } };
}

/** What is too large for a request is not too large for the archive. */
const withWayOut = ({ request }: Context, response: HttpResponse): HttpResponse =>
  response.status === 413
    ? { ...response, headers: { ...response.headers, link: transactionsLink(request.origin) } }
    : response;

const tooLarge = ({ limits: { storeRequestBytes: limitBytes } }: Services): PacsError =>
  new PacsError('TOO_LARGE', 'the request is too large: send fewer objects at once, or use a store transaction', {
    details: { limitBytes },
  });

/** For the audit trail: which studies came, and how many instances of them are now kept. */
function noteFacts({ facts }: Context, outcomes: readonly StoreOutcome[]): void {
  const kept = outcomes.filter(({ kind }) => kind !== 'failed');
  facts.studies = [...new Set(kept.flatMap(({ id }) => id.StudyInstanceUID ?? []))];
  facts.instances = kept.length;
}

/** Stands in an outcome's place until it is known. One for all: making an error takes its stack, which costs. */
const UNFINISHED = new PacsError('INTERNAL', 'not finished');

/** One object of a request, with the UIDs it will have where they are known beforehand. */
export interface IncomingObject {
  readonly body: AsyncIterable<Uint8Array>;
  readonly uids?: Partial<Identity>;
  /** what its Repr-Digest says: bytes that the way has changed are refused */
  readonly sha256?: string | undefined;
}

async function storeAll(context: Context, study: string | undefined): Promise<StoreOutcome[]> {
  const { request, principal } = context;
  const { guest } = principal;
  const admit = guest && admissionOf(context.services, principal.tenant, guest);
  // What a guest may send in is for his link to say.
  const services = admit ? { ...context.services, reach: undefined } : context.services;
  const { type, objects } = objectsOf(request, services, principal.tenant);
  const route = readWay(request.headers[ROUTE_HEADERS.way]);
  const { storeConcurrency, storeInFlightBytes } = services.limits;
  /** objects that are being made durable, with the bytes each holds */
  const pending = new Map<Promise<void>, number>();
  let inFlightBytes = 0;
  const outcomes: StoreOutcome[] = [];
  let count = 0;
  try {
    for await (const object of objects) {
      if (++count > services.limits.storeInstances) {
        throw new PacsError('TOO_LARGE', 'the request holds too many instances', {
          details: { limitInstances: services.limits.storeInstances },
        });
      }
      const position = outcomes.length;
      const id = object.uids ?? {};
      outcomes.push({ kind: 'failed', id, error: UNFINISHED });
      const { received, outcome } = storeObject(
        services,
        {
          tenant: principal.tenant,
          source: guest ? subjectOf(guest.link) : 'STOW',
          route,
          StudyInstanceUID: study,
          sha256: object.sha256,
          mayReject: mayReject(principal),
          admit,
        },
        object.body,
      );
      // A source that breaks off fails its own object here; what ends the request is thrown by the next part.
      const settled = outcome
        .catch((error: unknown): StoreOutcome => ({ kind: 'failed', id, error: asPacsError(error) }))
        .then((result) => {
          outcomes[position] = guest ? receivedOf(result) : result;
          inFlightBytes -= pending.get(settled) ?? 0;
          pending.delete(settled);
        });
      pending.set(settled, 0);
      const heldBytes = await received;
      if (pending.has(settled)) {
        pending.set(settled, heldBytes);
        inFlightBytes += heldBytes;
      }
      while (pending.size >= storeConcurrency || (inFlightBytes > storeInFlightBytes && pending.size > 0)) {
        await Promise.race(pending.keys());
      }
    }
  } catch (error) {
    await Promise.all(pending.keys());
    // What has been stored stays stored and must be told: only a request that stored nothing fails as a whole.
    if (!outcomes.some(({ kind }) => kind !== 'failed')) throw error;
    outcomes.push({ kind: 'failed', id: {}, error: asPacsError(error) });
  }
  await Promise.all(pending.keys());
  if (outcomes.length === 0) throw new PacsError('BAD_REQUEST', `the request holds no ${type} part`);
  return outcomes;
}

/** What is held has arrived, and who sent it as a guest learns no more: neither that it waits, nor what else is here under its UID. */
const receivedOf = (outcome: StoreOutcome): StoreOutcome =>
  outcome.kind === 'held'
    ? { kind: 'stored', id: outcome.id, sha256: outcome.held.sha256, warnings: [], supplied: [] }
    : outcome;

/** The Part 10 objects of the request's body, one after the other; each is read to its end before the next is asked for. */
function objectsOf(
  request: HttpRequest,
  services: Services,
  tenant: string,
): { type: string; objects: AsyncIterable<IncomingObject> } {
  const media = parseMediaType(request.headers['content-type'] ?? '');
  const body = withinLimit(withoutCoding(request), services);
  // A digest is of the coded bytes (RFC 9530 §3).
  const sha256 = isCoded(request) ? undefined : sha256Of(request.headers);
  if (media.type === 'application/dicom') return { type: media.type, objects: only(body, sha256) };
  if (media.type !== 'multipart/related') throw unsupported(media.type);
  const { boundary } = media.parameters;
  if (boundary === undefined) throw new PacsError('BAD_REQUEST', 'the Content-Type names no boundary');
  const parts = readMultipart(body, boundary);
  const type = parseMediaType(media.parameters.type ?? 'application/dicom').type;
  switch (type) {
    case 'application/dicom':
      return { type, objects: dicomParts(parts) };
    case 'application/dicom+json':
    case 'application/dicom+xml':
      return { type, objects: objectsFromMetadata(services, tenant, type, parts) };
    default:
      throw unsupported(type);
  }
}

const unsupported = (type: string): PacsError =>
  new PacsError('UNSUPPORTED_MEDIA', 'the media type cannot be stored', {
    details: {
      received: type.slice(0, 100),
      supported: [
        'multipart/related; type="application/dicom"',
        'multipart/related; type="application/dicom+json"',
        'multipart/related; type="application/dicom+xml"',
        'application/dicom',
      ],
    },
  });

async function* only(body: AsyncIterable<Uint8Array>, sha256: string | undefined): AsyncGenerator<IncomingObject> {
  yield { body, sha256 };
}

const sha256Of = (headers: Readonly<Record<string, string | undefined>>): string | undefined =>
  sha256In(headers['repr-digest'] ?? headers['content-digest']);

async function* dicomParts(parts: AsyncIterable<ReceivedPart>): AsyncGenerator<IncomingObject> {
  for await (const { headers, body } of parts) {
    const media: MediaType = parseMediaType(headers['content-type'] ?? 'application/dicom');
    // Some senders label the part octet-stream: the bytes decide.
    if (media.type !== 'application/dicom' && media.type !== 'application/octet-stream') throw unsupported(media.type);
    yield { body, sha256: sha256Of(headers) };
  }
}

async function* withinLimit(body: AsyncIterable<Uint8Array>, services: Services): AsyncGenerator<Uint8Array> {
  let received = 0;
  for await (const chunk of body) {
    received += chunk.byteLength;
    if (received > services.limits.storeRequestBytes) throw tooLarge(services);
    yield chunk;
  }
}
