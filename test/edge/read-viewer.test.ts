import { afterAll, beforeAll, expect, test } from 'vitest';
import type { HttpRequest } from '#dicomweb/http.ts';
import { gatewayHttp } from '#edge/status/http.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { cStore, forwarded, localInstances, putUpstream, type Site, startSite } from './read-site.ts';

let site: Site;
const slices = (study: number, count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) =>
    buildDicom({
      StudyInstanceUID: uid(study),
      SeriesInstanceUID: uid(study * 10),
      SOPInstanceUID: uid(study * 1000 + i + 1),
    }),
  );

async function* nothing(): AsyncGenerator<Uint8Array> {}

async function ask(
  path: string,
  { token = 'viewers-token', method = 'GET', at = site }: { token?: string; method?: string; at?: Site } = {},
): Promise<{ status: number; text: string }> {
  const [name = '', query] = path.split('?');
  const request: HttpRequest = {
    method,
    path: name,
    query: new URLSearchParams(query),
    headers: { authorization: `Bearer ${token}`, accept: 'application/dicom+json' },
    body: nothing(),
    origin: 'http://gateway.hospital:8081',
  };
  const { response } = await gatewayHttp(at.gateway)(request);
  const { body = '' } = response;
  if (typeof body === 'string') return { status: response.status, text: body };
  const chunks = body instanceof Uint8Array ? [body] : await Array.fromAsync(body);
  return { status: response.status, text: Buffer.concat(chunks).toString() };
}

beforeAll(async () => {
  site = await startSite({ viewers: { enabled: true, token: 'viewers-token' } });
  await cStore(site, slices(901, 2));
  await forwarded(site, uid(901));
  await putUpstream(site, slices(902, 5));
});
afterAll(() => site?.close());

test('the search for studies tells what is here', async () => {
  const { status, text } = await ask('/dicomweb/studies');
  expect(status).toBe(200);
  expect((JSON.parse(text) as object[]).length).toBe(1);
});

test('below a study what is missing is fetched first', async () => {
  const { status, text } = await ask(`/dicomweb/studies/${uid(902)}/metadata`);
  expect(status).toBe(200);
  expect((JSON.parse(text) as object[]).length).toBe(5);
  expect(await localInstances(site, uid(902))).toHaveLength(5);
  // What upstream gets later is seen when it has been looked for again; here nothing was asked twice.
  expect((await ask(`/dicomweb/studies/${uid(902)}/series`)).status).toBe(200);
});

test('one instance is fetched alone', async () => {
  await putUpstream(site, slices(903, 3));
  const path = `/dicomweb/studies/${uid(903)}/series/${uid(9030)}/instances/${uid(903_002)}/metadata`;
  expect((await ask(path)).status).toBe(200);
  expect((await localInstances(site, uid(903))).map(({ SOPInstanceUID }) => SOPInstanceUID)).toEqual([uid(903_002)]);
});

test('while the line is down, what is here is served', async () => {
  await site.line.set('refused');
  expect((await ask(`/dicomweb/studies/${uid(901)}/metadata`)).status).toBe(200);
  expect((await ask(`/dicomweb/studies/${uid(999)}/metadata`)).status).toBe(404);
  await site.line.set('up');
});

test('viewers need their own token, and only read', async () => {
  expect((await ask('/dicomweb/studies', { token: 'another' })).status).toBe(401);
  expect((await ask('/dicomweb/studies', { method: 'POST' })).status).toBe(405);
  expect((await ask(`/dicomweb/studies/${uid(901)}`, { method: 'DELETE' })).status).toBe(405);
});

test('it is off unless it was asked for', async () => {
  const other = await startSite();
  try {
    expect((await ask('/dicomweb/studies', { at: other })).status).toBe(404);
  } finally {
    await other.close();
  }
});
