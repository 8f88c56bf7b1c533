import { expect, test } from 'vitest';
import { getEvents } from '#api/events.ts';
import type { Context } from '#dicomweb/handler.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const contextOf = (
  services: Context['services'],
  query: string,
  headers: Record<string, string>,
  signal?: AbortSignal,
): Context => ({
  services,
  params: {},
  root: 'http://pacs.test/api',
  facts: {},
  principal: { tenant: TENANT, subject: 'test', roles: ['admin'] },
  request: {
    method: 'GET',
    path: '/api/events',
    query: new URLSearchParams(query),
    headers,
    origin: 'http://pacs.test',
    signal,
    body: (async function* () {})(),
  },
});
const object = (n: number): Uint8Array => buildDicom({ SOPInstanceUID: uid(300 + n) });

test('a reader that passes its cursor on sees every event once, in order', async () => {
  const services = memoryServices();
  for (let n = 0; n < 5; n++) await store(services, object(n));
  const seen: string[] = [];
  for (let after = ''; ; ) {
    const { body } = await getEvents(contextOf(services, `after=${after}&limit=2`, {}));
    const page = JSON.parse(body as string) as { events: { SOPInstanceUID: string }[]; next: string };
    if (page.events.length === 0) break;
    seen.push(...page.events.map(({ SOPInstanceUID }) => SOPInstanceUID));
    after = page.next;
  }
  expect(seen).toEqual([0, 1, 2, 3, 4].map((n) => uid(300 + n)));
});

test('a stream starts with what comes, tells it as it comes, and resumes behind Last-Event-ID', async () => {
  const services = memoryServices();
  await store(services, object(0));
  const read = async (headers: Record<string, string>, until: string): Promise<string> => {
    const gone = new AbortController();
    const { body } = await getEvents(contextOf(services, '', { accept: 'text/event-stream', ...headers }, gone.signal));
    let text = '';
    let stored = false;
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      text += Buffer.from(chunk).toString();
      if (!stored) await store(services, object(1));
      stored = true;
      if (text.includes(until)) break;
    }
    gone.abort();
    return text;
  };
  const live = await read({}, uid(301));
  expect(live).not.toContain(uid(300));
  expect(live).toMatch(/^: open\nid: \S+\n\nid: \S+\nevent: InstanceStored\ndata: \{.*\}\n\n$/s);
  const [beginning, id] = [...live.matchAll(/id: (\S+)/g)].map((found) => found[1]!) as [string, string];
  await store(services, object(2));
  const resumed = await read({ 'last-event-id': id }, uid(302));
  expect(resumed).not.toContain(uid(301));
  // Cut off before anything was told: what happened until it is back is told then.
  expect(await read({ 'last-event-id': beginning }, uid(302))).toContain(uid(301));
});
