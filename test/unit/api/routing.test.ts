import { beforeEach, describe, expect, test } from 'vitest';
import { apiRoutes } from '#api/routes.ts';
import type { Principal } from '#core/access.ts';
import { sendStudy } from '#core/routing/deliveries.ts';
import { TokenStore } from '#core/tokens.ts';
import { Router } from '#dicomweb/router.ts';
import { auditEvents } from '#test/fixtures/audit-events.ts';
import { uid } from '#test/fixtures/dicom-builder.ts';
import { routingServices, slice, workOff } from '#test/fixtures/routing.ts';
import { store, TENANT } from '#test/fixtures/services.ts';

const ADMIN: Principal = { tenant: TENANT, subject: 'ana', roles: ['admin'] };
const TECHNOLOGIST: Principal = { tenant: TENANT, subject: 'tom', roles: ['technologist'] };
const STUDY = uid(1);
const URL_NORTH = 'https://north.pacs.example/dicom-web';

let services: ReturnType<typeof routingServices>;
let router: Router;
const anArchive = (options: Parameters<typeof routingServices>[0] = {}): void => {
  services = routingServices(options);
  router = new Router(services, '/api', apiRoutes(new TokenStore(services)));
};
beforeEach(() => anArchive());

async function ask(
  principal: Principal,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
) {
  const [pathname = '', query = ''] = path.split('?');
  const { response } = await router.handle({
    method,
    path: `/api/routing${pathname}`,
    query: new URLSearchParams(query),
    headers,
    body: (async function* () {
      if (body !== undefined) yield Buffer.from(JSON.stringify(body));
    })(),
    origin: 'https://archive.test',
    principal,
    signal: new AbortController().signal,
  });
  const text = String(response.body ?? '');
  return { status: response.status, headers: response.headers, json: text === '' ? undefined : JSON.parse(text) };
}

const RULE = { when: 'quiet', condition: { Modality: ['CT'] }, destinations: ['north'] };
const setUp = async () => {
  expect((await ask(ADMIN, 'PUT', '/destinations/north', { url: `${URL_NORTH}/` })).status).toBe(200);
  expect((await ask(ADMIN, 'PUT', '/rules/ct', RULE)).status).toBe(200);
};

describe('rules and destinations', () => {
  test('are an administrator’s to change, and shown to who works with studies', async () => {
    await setUp();
    const shown = await ask(TECHNOLOGIST, 'GET', '');
    expect(shown.json).toMatchObject({
      hosts: ['https://pacs.example', 'https://*.pacs.example'],
      destinations: [{ name: 'north', url: URL_NORTH, enabled: true, waiting: 0, held: 0, changedBy: 'ana' }],
      rules: [{ name: 'ct', ...RULE, enabled: true, scope: 'instances', order: 100, final: false }],
    });
    for (const [method, path] of [
      ['PUT', '/rules/ct'],
      ['DELETE', '/rules/ct'],
      ['PUT', '/destinations/north'],
      ['POST', '/destinations/north'],
      ['POST', `/deliveries/${STUDY}/north`],
    ] as const)
      expect((await ask(TECHNOLOGIST, method, path, RULE)).status, path).toBe(403);
    const finance: Principal = { tenant: TENANT, subject: 'fay', roles: ['finance'] };
    expect((await ask(finance, 'GET', '')).status).toBe(403);
  });

  test('are not overwritten by who has not seen what they have become', async () => {
    await setUp();
    const anew = { 'if-none-match': '*' };
    expect((await ask(ADMIN, 'PUT', '/rules/ct', RULE, anew)).status).toBe(412);
    const first = await ask(ADMIN, 'PUT', '/rules/ct', { ...RULE, order: 5 }, { 'if-match': '"1"' });
    expect([first.status, first.headers.etag]).toEqual([200, '"2"']);
    expect((await ask(ADMIN, 'PUT', '/rules/ct', RULE, { 'if-match': '"1"' })).status).toBe(412);
    expect((await ask(ADMIN, 'DELETE', '/destinations/north', undefined, { 'if-match': '"9"' })).status).toBe(412);
    expect((await ask(ADMIN, 'PUT', '/rules/ct', RULE, { 'if-match': 'one' })).status).toBe(400);
  });

  test.each([
    ['/destinations/north', { url: 'https://somewhere.else/' }, 403],
    ['/destinations/north', { url: 'nonsense' }, 400],
    ['/destinations/north', { url: URL_NORTH, authentication: '../etc/passwd' }, 400],
    ['/destinations/north', { url: URL_NORTH, timeoutMs: 5 }, 400],
    ['/destinations/No', { url: URL_NORTH }, 400],
    ['/rules/a', { ...RULE, destinations: ['nowhere'] }, 400],
    ['/rules/a', { ...RULE, destinations: [] }, 400],
    ['/rules/a', { ...RULE, when: 'always' }, 400],
    ['/rules/a', { ...RULE, when: 'stored', scope: 'study' }, 400],
    ['/rules/a', { ...RULE, condition: { PatientName: ['*'] } }, 400],
    ['/rules/a', { ...RULE, condition: { Modality: 'CT' } }, 400],
    ['/rules/a', { ...RULE, condition: { all: [{ not: { any: [{ not: { not: { not: {} } } }] } }] } }, 400],
    ['/rules/a', { ...RULE, order: -1 }, 400],
    ['/rules/a', { ...RULE, colour: 'red' }, 400],
  ])('%s %o: %i', async (path, body, status) => {
    await setUp();
    expect((await ask(ADMIN, 'PUT', path, body)).status).toBe(status);
  });

  test('may be tried on a study before they are kept, and nothing is sent by that', async () => {
    await setUp();
    for (let n = 0; n < 3; n++) await store(services, slice(n, n === 0 ? { Modality: 'SR' } : {}));
    const found = await ask(TECHNOLOGIST, 'POST', '/test', { study: STUDY });
    expect(found.json).toEqual({
      instances: 3,
      whole: true,
      rules: [{ name: 'ct', enabled: true, when: 'quiet', destinations: ['north'], matched: 2 }],
    });
    const rule = { ...RULE, scope: 'study', enabled: false, condition: { StudyDescription: ['ct thor*'] } };
    expect((await ask(TECHNOLOGIST, 'POST', '/test', { study: STUDY, rule })).json.rules).toMatchObject([
      { matched: 3 },
    ]);
    expect((await ask(TECHNOLOGIST, 'POST', '/test', { study: uid(99) })).status).toBe(404);
    for (const wrong of [null, 'all', 5, []])
      expect((await ask(TECHNOLOGIST, 'POST', '/test', { study: STUDY, rule: wrong })).status).toBe(400);
    expect(services.sender.requests).toEqual([]);
  });
});

describe('what is on its way', () => {
  test('is listed, looked into, tried again and given up; every decision is in the trail', async () => {
    await setUp();
    services.sender.always = { ofInstance: () => 0x0122 };
    await store(services, slice(1));
    await workOff(services);
    const held = await ask(TECHNOLOGIST, 'GET', '/deliveries?state=held');
    expect(held.json.items).toMatchObject([{ StudyInstanceUID: STUDY, destination: 'north', held: 1 }]);
    const path = `/deliveries/${STUDY}/north`;
    const { json } = await ask(TECHNOLOGIST, 'GET', path);
    expect(json.items).toMatchObject([{ state: 'held', reason: 'it refused it: 0122H' }]);
    services.sender.always = 'takes';
    expect((await ask(ADMIN, 'POST', path, { action: 'retry' })).json).toMatchObject({ state: 'waiting', waiting: 1 });
    await workOff(services);
    expect((await ask(ADMIN, 'POST', path, { action: 'send' })).json).toMatchObject({ state: 'waiting', waiting: 1 });
    expect((await ask(ADMIN, 'POST', path, { action: 'discard' })).json).toMatchObject({ state: 'done', discarded: 1 });
    expect((await ask(ADMIN, 'POST', path, { action: 'burn' })).status).toBe(400);
    expect((await ask(ADMIN, 'POST', `/deliveries/${STUDY}/nowhere`, { action: 'retry' })).status).toBe(404);
    const decided = (await auditEvents(services, TENANT)).filter(({ transaction }) => transaction === 'DecideDelivery');
    expect(decided.filter(({ outcome }) => outcome === 0)).toMatchObject(
      ['ana', 'ana', 'ana'].map((subject) => ({
        event: 'DataExport',
        subject,
        studies: [STUDY],
        destination: 'route:north',
      })),
    );
  });

  test('what was decided is answered as it was decided, and not what a worker has made of it since', async () => {
    anArchive({ limits: { routingGiveUpMs: 1_000 } });
    await setUp();
    services.sender.always = { status: 401 };
    await store(services, slice(1));
    await workOff(services);
    expect((await ask(TECHNOLOGIST, 'GET', '/deliveries?state=held')).json.items).toHaveLength(1);
    services.sender.always = 'takes';
    services.clock.advance(services.limits.routingMostRetryMs);
    const { enqueue } = services.jobs;
    services.jobs.enqueue = async (...job) => {
      services.jobs.enqueue = enqueue;
      await enqueue.apply(services.jobs, job);
      await workOff(services);
    };
    const { json } = await ask(ADMIN, 'POST', `/deliveries/${STUDY}/north`, { action: 'retry' });
    expect(services.sender.kept.size).toBe(1);
    expect(json).toMatchObject({ state: 'waiting', waiting: 1, sent: 0 });
    const { items } = (await ask(TECHNOLOGIST, 'GET', `/deliveries?study=${STUDY}`)).json;
    expect(items).toMatchObject([{ state: 'done', waiting: 0, sent: 1 }]);
  });

  test('who is confined sees of his own studies only, and sends no others', async () => {
    await setUp();
    const other = { StudyInstanceUID: uid(50), SeriesInstanceUID: uid(51), SOPInstanceUID: uid(52) };
    await store(services, slice(1));
    await store(services, slice(2, other));
    for (const study of [STUDY, uid(50)]) await sendStudy(services, TENANT, study, 'north');
    const reach = [{ studies: [STUDY] }];
    const listed = await ask({ ...TECHNOLOGIST, reach }, 'GET', '/deliveries');
    expect(listed.json.items.map((one: { StudyInstanceUID: string }) => one.StudyInstanceUID)).toEqual([STUDY]);
    expect((await ask({ ...TECHNOLOGIST, reach }, 'GET', `/deliveries?study=${uid(50)}`)).json.items).toEqual([]);
    expect((await ask({ ...TECHNOLOGIST, reach }, 'GET', `/deliveries/${uid(50)}/north`)).status).toBe(404);
    expect((await ask({ ...TECHNOLOGIST, reach }, 'POST', '/test', { study: uid(50) })).status).toBe(404);
    for (const action of ['send', 'retry', 'discard'])
      expect((await ask({ ...ADMIN, reach }, 'POST', `/deliveries/${uid(50)}/north`, { action })).status).toBe(404);
  });

  test('a destination that has been put right is tried at once', async () => {
    await setUp();
    services.sender.always = 'unreachable';
    await store(services, slice(1));
    await workOff(services, 60_000);
    expect((await ask(TECHNOLOGIST, 'GET', '')).json.destinations).toMatchObject([
      { waiting: 1, problem: { class: 'unreachable' } },
    ]);
    services.sender.always = 'takes';
    expect((await ask(ADMIN, 'POST', '/destinations/north', {})).json).toEqual({ deliveries: 1 });
    await workOff(services, 20_000);
    expect(services.sender.kept.size).toBe(1);
    expect((await ask(ADMIN, 'POST', '/destinations/nowhere', {})).status).toBe(404);
  });
});
