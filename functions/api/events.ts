import { confine, wholeOf } from '#core/access/confine.ts';
import type { Principal } from '#core/access.ts';
import { feedTail, readFeed } from '#core/archive/feed.ts';
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
 */
export const getEvents: Handler = async ({ request, services, principal }) => {
  const after = request.query.get('after');
  if (/text\/event-stream/.test(request.headers.accept ?? '')) {
    const cursor = request.headers['last-event-id'] ?? after ?? (await feedTail(services.index, principal.tenant));
    return {
      status: 200,
      headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
      body: stream(wholeOf(services), principal, cursor, request),
    };
  }
  const limit = wholeNumber(request, 'limit', 100, 1_000);
  const { events, next } = await readFeed(services.index, principal.tenant, after ?? '', limit);
  return json(200, { events, next });
};

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
