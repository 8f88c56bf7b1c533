import { expect, test } from 'vitest';
import { getEvents } from '#api/events.ts';
import type { HttpResponse } from '#dicomweb/http.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

/** It was answered with no events and itself as the next cursor, for as long as the reader cared to ask: what happened was told to nobody. */
test('a cursor that the feed has not come to is refused, to pages and to streams', async () => {
  const services = memoryServices();
  await store(services, buildDicom({ SOPInstanceUID: uid(310) }));
  await store(services, buildDicom({ SOPInstanceUID: uid(311) }));
  const get = async (query: string, headers: Record<string, string> = {}): Promise<HttpResponse> =>
    getEvents({
      services,
      params: {},
      root: 'http://pacs.test/api',
      facts: {},
      principal: { tenant: TENANT, subject: 'follower', roles: ['admin'] },
      request: {
        method: 'GET',
        path: '/api/events',
        query: new URLSearchParams(query),
        headers,
        origin: 'http://pacs.test',
        body: (async function* () {})(),
      },
    });
  const pageOf = ({ body }: HttpResponse) => JSON.parse(body as string) as { events: unknown[]; next: string };
  const { events, next } = pageOf(await get(''));
  expect(events).toHaveLength(2);
  // Whoever has read all keeps his place.
  expect(pageOf(await get(`after=${next}`))).toEqual({ events: [], next });

  const stream = { accept: 'text/event-stream' };
  for (const cursor of [`${next.slice(0, -1)}9`, 'nonsense']) {
    await expect(get(`after=${cursor}`)).rejects.toMatchObject({ code: 'GONE' });
    await expect(get(`after=${cursor}`, stream)).rejects.toMatchObject({ code: 'GONE' });
    await expect(get('', { ...stream, 'last-event-id': cursor })).rejects.toMatchObject({ code: 'GONE' });
  }
  expect((await get('', { ...stream, 'last-event-id': next })).status).toBe(200);
  expect((await get('after=', stream)).status).toBe(200);
});
