import { beforeAll, describe, expect, test } from 'vitest';
import { apiRoutes } from '#api/routes.ts';
import type { Role } from '#core/access.ts';
import { TokenStore } from '#core/tokens.ts';
import type { HttpRequest } from '#dicomweb/http.ts';
import { Router } from '#dicomweb/router.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';
import { dataSet, ended, scheduled, started } from '#test/fixtures/worklist.ts';

const services = memoryServices();
const router = new Router(services, '/api', apiRoutes(new TokenStore(services)));

async function ask(
  method: HttpRequest['method'],
  target: string,
  body?: unknown,
  options: { headers?: Record<string, string>; roles?: readonly Role[] } = {},
  // biome-ignore lint/suspicious/noExplicitAny: what the API answers, as a client sees it
): Promise<{ status: number; headers: Readonly<Record<string, string>>; body: any }> {
  const [path = '', query = ''] = target.split('?');
  async function* bytes() {
    if (body !== undefined) yield Buffer.from(JSON.stringify(body));
  }
  const { response } = await router.handle({
    method,
    path: `/api${path}`,
    query: new URLSearchParams(query),
    headers: options.headers ?? {},
    body: bytes(),
    origin: 'http://localhost',
    principal: { tenant: TENANT, subject: 'someone', roles: options.roles ?? ['admin'] },
  });
  const text = typeof response.body === 'string' ? response.body : '';
  return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) };
}

let id: string;
beforeAll(async () => {
  ({ id } = (await ask('POST', '/worklist', scheduled())).body);
});

describe('/api/worklist', () => {
  test('an item is added, read, moved by its version, and told to a copy', async () => {
    const { body, headers } = await ask('GET', `/worklist/${id}`);
    expect(body).toMatchObject({ id, version: 1, state: 'SCHEDULED', startsAt: '20240131103000' });
    expect(headers.etag).toBe('"1"');
    const { cursor } = (await ask('GET', '/worklist')).body;
    const later = scheduled({}, { ScheduledProcedureStepStartTime: '111500' });
    const put = (version: string) => ask('PUT', `/worklist/${id}`, later, { headers: { 'if-match': version } });
    expect((await put('"1"')).body).toMatchObject({ version: 2, startsAt: '20240131111500' });
    expect((await put('"1"')).status).toBe(412);
    expect((await put('two')).status).toBe(400);
    const changes = (await ask('GET', `/worklist?changedSince=${cursor}`)).body;
    expect(changes).toMatchObject({ items: [{ id, version: 2 }], removed: [], more: false });
    expect((await ask('GET', `/worklist?changedSince=${changes.next}`)).body.items).toEqual([]);
  });

  test.each([
    ['Modality=CT', 1],
    ['Modality=MR', 0],
    ['ScheduledProcedureStepSequence.Modality=CT&PatientName=doe*', 1],
    ['00400100.00400002=20240131', 1],
    ['ScheduledProcedureStepStartDate=20240201-', 0],
    ['state=COMPLETED', 0],
    ['state=all', 1],
    ['state=SCHEDULED,IN PROGRESS', 1],
  ])('%s finds %i', async (query, count) => {
    expect((await ask('GET', `/worklist?${query}`)).body.items).toHaveLength(count);
  });

  test.each([
    'Colour=red',
    'state=LOST',
    'ScheduledProcedureStepStartDate=soon',
    'limit=0',
    'RequestAttributesSequence.Modality=CT',
  ])('%s is refused', async (query) => {
    expect((await ask('GET', `/worklist?${query}`)).status).toBe(400);
  });

  test('a person takes it off the list and puts it back', async () => {
    expect((await ask('POST', `/worklist/${id}`, { action: 'cancel' })).body.state).toBe('CANCELED');
    expect((await ask('GET', '/worklist')).body.items).toEqual([]);
    expect((await ask('POST', `/worklist/${id}`, { action: 'reschedule' })).body.state).toBe('SCHEDULED');
    expect((await ask('POST', `/worklist/${id}`, { action: 'forget' })).status).toBe(400);
  });

  test('what is wrong with an item is said by its tag; a second one of the step is refused', async () => {
    const wrong = await ask('POST', '/worklist', scheduled({ PatientID: '' }));
    expect([wrong.status, wrong.body.details.tag]).toEqual([400, '00100020']);
    expect((await ask('POST', '/worklist', scheduled())).status).toBe(409);
    expect((await ask('POST', '/worklist', [])).status).toBe(400);
  });

  test('modalities read it, only schedulers change it', async () => {
    const as = (role: Role) => ({ roles: [role] });
    expect((await ask('GET', '/worklist', undefined, as('modality'))).status).toBe(200);
    expect((await ask('POST', '/worklist', scheduled(), as('modality'))).status).toBe(403);
    expect((await ask('GET', '/worklist', undefined, as('sender'))).status).toBe(403);
    expect((await ask('PUT', '/procedure-steps/1.2.9', started(), as('worklistReader'))).status).toBe(403);
  });

  test('an item is removed', async () => {
    const other = (await ask('POST', '/worklist', scheduled({}, { ScheduledProcedureStepID: 'S9' }))).body;
    expect((await ask('DELETE', `/worklist/${other.id}`)).status).toBe(204);
    expect((await ask('GET', `/worklist/${other.id}`)).status).toBe(404);
  });
});

describe('/api/procedure-steps', () => {
  const sop = '1.2.3.4.5';

  test('a gateway forwards what it queued, exactly once though answers are lost', async () => {
    const keyed = (key: string) => ({ headers: { 'idempotency-key': key } });
    const first = await ask('PUT', `/procedure-steps/${sop}?source=CT1`, started());
    expect(first.body).toMatchObject({ state: 'IN PROGRESS', source: 'CT1', repeated: false, worklistItems: [id] });
    expect((await ask('PUT', `/procedure-steps/${sop}?source=CT1`, started())).body.repeated).toBe(true);
    const other = await ask('PUT', `/procedure-steps/${sop}`, started({ PatientID: 'P2' }), keyed('x'));
    expect([other.status, other.body.details.status]).toEqual([409, 0x0111]);
    expect((await ask('GET', `/worklist/${id}`)).body.state).toBe('IN PROGRESS');
    const set = () => ask('POST', `/procedure-steps/${sop}`, ended(['1.2.3.1.1']), keyed('m-2'));
    expect((await set()).body).toMatchObject({ state: 'COMPLETED', repeated: false, made: 1 });
    expect((await set()).body).toMatchObject({ state: 'COMPLETED', repeated: true, version: 2 });
    const late = await ask('POST', `/procedure-steps/${sop}`, dataSet({ PerformedProcedureStepDescription: 'x' }));
    expect([late.status, late.body.details]).toEqual([409, { status: 0x0110, errorID: 0xa710 }]);
  });

  test('are listed, by study as well, with what has not arrived', async () => {
    expect((await ask('GET', '/procedure-steps')).body.items).toMatchObject([{ SOPInstanceUID: sop, made: 1 }]);
    expect((await ask('GET', '/procedure-steps?StudyInstanceUID=1.2.3')).body.items).toHaveLength(1);
    expect((await ask('GET', '/procedure-steps?StudyInstanceUID=1.2.4')).body.items).toEqual([]);
    const one = (await ask('GET', `/procedure-steps/${sop}`)).body;
    expect(one).toMatchObject({ missing: 1, missingInstances: [{ SOPInstanceUID: '1.2.3.1.1' }] });
    expect(one.item['00400252'].Value).toEqual(['COMPLETED']);
    expect((await ask('GET', '/procedure-steps/1.2.99')).status).toBe(404);
  });

  test.each([
    ['no attributes', {}, {}],
    ['no data set', { PatientID: 'P1' }, {}],
    ['a key that is none', started(), { 'idempotency-key': 'a b' }],
  ])('%s: refused', async (_what, body, headers) => {
    expect((await ask('PUT', '/procedure-steps/1.2.3.4.9', body, { headers })).status).toBe(400);
  });
});
