import { confine, wholeOf } from '#core/access/confine.ts';
import type { Principal } from '#core/access.ts';
import { feedTail, readFeed } from '#core/archive/feed.ts';
import { PacsError } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import type { Handler } from '#dicomweb/handler.ts';
import type { HttpRequest } from '#dicomweb/http.ts';
import { json, wholeNumber } from './json.ts';

/** A comment line this often keeps proxies from closing a silent stream (ms). */
const KEEP_ALIVE_MS = 15_000;
const STREAM_PAGE = 500;

/**
 * The feed, oldest first. JSON: one page behind `after`. `text/event-stream`: everything from `after` (or Last-Event-ID) on,
 * then what comes; without either, only what comes.
 * @throws PacsError GONE for a cursor that this feed has not come to
 */
export const getEvents: Handler = async ({ request, services, principal }) => {
  const after = request.query.get('after');
  if (/text\/event-stream/.test(request.headers.accept ?? '')) {
    const asked = request.headers['last-event-id'] ?? after;
    const cursor = asked ?? (await feedTail(services.index, principal.tenant));
    if (asked !== undefined && asked !== null) await checkCursor(services, principal, asked);
    return {
      status: 200,
      headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
      body: stream(wholeOf(services), principal, cursor, request),
    };
  }
  const limit = wholeNumber(request, 'limit', 100, 1_000);
  const { events, next } = await readFeed(services.index, principal.tenant, after ?? '', limit);
  if (events.length === 0 && after !== null) await checkCursor(services, principal, after);
  return json(200, { events, next });
};

/**
 * A cursor of an archive that was lost, or was restored from an older copy, lies behind the end of the feed that there is now: its reader
 * would be told nothing until the feed has come so far, and miss everything before that.
 */
async function checkCursor(services: Services, { tenant }: Principal, cursor: string): Promise<void> {
  // The whole feed: who is shown some of it may have read past the last event that is for him.
  if (cursor === '' || cursor <= (await feedTail(wholeOf(services).index, tenant))) return;
  throw new PacsError('GONE', 'the feed has not come to this cursor: it is of another feed. Begin without one');
}

async function* stream(
  services: Services,
  principal: Principal,
  from: string,
  request: Pick<HttpRequest, 'signal'>,
): AsyncGenerator<Uint8Array> {
  let cursor = from;
  let saidAt = services.clock.now();
  // A client that is cut off before anything happens comes back with this, and misses nothing either.
  yield Buffer.from(from === '' ? ': open\n\n' : `: open\nid: ${from}\n\n`);
  while (!request.signal?.aborted) {
    // A stream may be open for days: what its reader reaches is asked for each time.
    const { index } = await confine(services, principal, 'readEvents');
    const page = await readFeed(index, principal.tenant, cursor, STREAM_PAGE);
    cursor = page.seen;
    if (page.events.length > 0) {
      saidAt = services.clock.now();
      const lines = page.events.map(
        ({ cursor: id, ...event }) => `id: ${id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
      );
      yield Buffer.from(lines.join(''));
      if (page.events.length === STREAM_PAGE) continue;
    } else if (services.clock.now() - saidAt > KEEP_ALIVE_MS) {
      saidAt = services.clock.now();
      yield Buffer.from(': still here\n\n');
    }
    await services.clock.sleep(services.limits.eventPollMs);
  }
}
