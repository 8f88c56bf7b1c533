import { beforeEach, describe, expect, test } from 'vitest';
import type { Alarm } from '#api/access.ts';
import { createArchiveApp } from '#api/app.ts';
import { getEvents } from '#api/events.ts';
import { EMERGENCIES_OF_ONE } from '#core/access/changes.ts';
import { grantedReach, NO_POLICY, POLICY_LIMITS, policyKeys } from '#core/access/policy.ts';
import type { Principal, Role } from '#core/access.ts';
import { storeObject } from '#core/archive/store.ts';
import { parseEntry } from '#core/audit/entry.ts';
import { auditPartition } from '#core/audit/trail.ts';
import { asItem } from '#core/ports/index-table.ts';
import { TokenStore } from '#core/tokens.ts';
import type { Context } from '#dicomweb/handler.ts';
import type { HttpRequest } from '#dicomweb/http.ts';
import { type BuilderDataSet, buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

type Body = Record<string, unknown>;
/** An answer's JSON, of whatever shape. */
// biome-ignore lint/suspicious/noExplicitAny: a test looks at what it knows to be there
type Told = any;
type Answer = { status: number; headers: Readonly<Record<string, string>>; body: Told };

let services: ReturnType<typeof memoryServices>;
let alarms: Alarm[];
let ask: (who: Principal, method: string, path: string, body?: Body) => Promise<Answer>;

const person = (subject: string, ...roles: Role[]): Principal => ({ tenant: 'clinic', subject, roles });
const admin = person('admin', 'admin');
const radiologist = person('rita', 'radiologist');

const object = (n: number, attributes: BuilderDataSet = {}): Uint8Array =>
  buildDicom({
    StudyInstanceUID: uid(n),
    SeriesInstanceUID: uid(n * 10),
    SOPInstanceUID: uid(n * 100),
    PatientID: `P${n}`,
    ReferringPhysicianName: 'House^Gregory',
    ...attributes,
  });

async function store(n: number, attributes: BuilderDataSet = {}): Promise<void> {
  const context = { tenant: 'clinic', source: 'CT1' };
  expect(await storeObject(services, context, chunked(object(n, attributes))).outcome).toMatchObject({
    kind: 'stored',
  });
}

/** The studies that somebody finds, and those that he can fetch: the same, always. */
async function reached(who: Principal): Promise<number[]> {
  const found = (await ask(who, 'GET', '/dicomweb/studies')).body.map((one: Told) => one['0020000D'].Value[0]);
  const all = [1, 2, 3, 4];
  const fetched: string[] = [];
  for (const n of all) {
    const { status } = await ask(who, 'GET', `/dicomweb/studies/${uid(n)}/metadata`);
    expect([200, 404]).toContain(status);
    if (status === 200) fetched.push(uid(n));
  }
  expect(found.toSorted()).toEqual(fetched.toSorted());
  return all.filter((n) => fetched.includes(uid(n)));
}

beforeEach(() => {
  services = memoryServices();
  alarms = [];
  const app = createArchiveApp({
    services,
    tokens: new TokenStore(services),
    corsOrigins: [],
    tenant: 'clinic',
    onAlarm: (alarm) => alarms.push(alarm),
    onFailure: (error) => {
      throw error;
    },
  });
  ask = async (principal, method, path, body) => {
    const { pathname, searchParams } = new URL(path, 'http://pacs.test');
    const answered = await app.answer({
      method,
      path: pathname,
      query: searchParams,
      headers: {},
      body: chunked(Buffer.from(body === undefined ? '' : JSON.stringify(body))),
      principal,
      origin: 'http://pacs.test',
    });
    const { status, headers, body: told = '' } = answered!.response;
    const text =
      typeof told === 'string' || told instanceof Uint8Array
        ? Buffer.from(told as string).toString()
        : Buffer.concat(await Array.fromAsync(told)).toString();
    const isJson = /json/.test(headers['content-type'] ?? '');
    return { status, headers, body: isJson ? JSON.parse(text) : text };
  };
});

describe('grants', () => {
  beforeEach(async () => {
    await store(1, { InstitutionName: 'Klinik Süd' });
    await store(2, { Modality: 'MR', ReferringPhysicianName: 'Wilson^James' });
    await store(3, { PatientID: 'P2', PatientIdentityRemoved: 'YES' });
  });

  test('a referrer reaches nothing until something is granted to him, then that, then nothing again', async () => {
    const house = person('house', 'referrer');
    expect(await reached(house)).toEqual([]);
    const rules = [{ referringPhysicians: ['HOUSE^GREGORY'] }];
    const given = await ask(admin, 'POST', '/api/grants', { to: { subject: 'house' }, rules, note: 'own patients' });
    expect(given).toMatchObject({ status: 201, body: { createdBy: 'admin', rules } });
    expect(await reached(house)).toEqual([1, 3]);
    expect(await reached(person('wilson', 'referrer'))).toEqual([]);
    expect((await ask(admin, 'DELETE', `/api/grants/${given.body.id}`)).status).toBe(204);
    expect(await reached(house)).toEqual([]);
  });

  test('a researcher reaches de-identified studies alone, whatever is granted', async () => {
    const researcher = person('rosa', 'researcher');
    expect(await reached(researcher)).toEqual([3]);
    await ask(admin, 'POST', '/api/grants', { to: { role: 'researcher' }, rules: [{ modalities: ['MR', 'CT'] }] });
    expect(await reached(researcher)).toEqual([3]);
    // One more instance that is not, and the study is none.
    await storeObject(
      services,
      { tenant: 'clinic', source: 'CT1' },
      chunked(object(3, { PatientID: 'P2', SOPInstanceUID: uid(301) })),
    ).outcome;
    expect(await reached(researcher)).toEqual([]);
    expect(
      (await ask(admin, 'DELETE', `/dicomweb/studies/${uid(3)}/series/${uid(30)}/instances/${uid(301)}`)).status,
    ).toBe(204);
    expect(await reached(researcher)).toEqual([3]);
  });

  test.each([
    ['a site, as it is written or not', { sites: ['KLINIK SUD'] }, [1]],
    ['a modality', { modalities: ['MR'] }, [2]],
    ['a patient', { patients: [{ id: 'P2' }] }, [2, 3]],
    ['a patient of another issuer', { patients: [{ id: 'P2', issuer: 'X' }] }, []],
    ['a study', { studies: [uid(2)] }, [2]],
    ['two conditions of one rule', { modalities: ['MR'], referringPhysicians: ['House*'] }, []],
    ['nothing in particular', {}, [1, 2, 3]],
  ])('%s', async (_, rule, expected) => {
    expect((await ask(admin, 'POST', '/api/grants', { to: { subject: 'rita' }, rules: [rule] })).status).toBe(201);
    expect(await reached(radiologist)).toEqual(expected);
  });

  test('of several, to subject, role or claim, any suffices; who has none keeps all that his role reaches', async () => {
    await ask(admin, 'POST', '/api/grants', { to: { subject: 'rita' }, rules: [{ studies: [uid(1)] }] });
    await ask(admin, 'POST', '/api/grants', { to: { claim: 'dept=mr' }, rules: [{ modalities: ['MR'] }] });
    expect(await reached(radiologist)).toEqual([1]);
    expect(await reached({ ...radiologist, claims: ['dept=mr', 'other=x'] })).toEqual([1, 2]);
    expect(await reached(person('otto', 'radiologist'))).toEqual([1, 2, 3]);
    expect(await reached(person('rita', 'radiologist', 'viewer'))).toEqual([1]);
  });

  test('a token goes no further than its own reach', async () => {
    const issued = await ask(admin, 'POST', '/api/tokens', {
      name: 'AI',
      subject: 'ai',
      roles: ['viewer'],
      reach: [{ modalities: ['MR'] }],
    });
    expect(issued.status).toBe(201);
    const principal = await new TokenStore(services).verify(issued.body.token);
    expect(principal?.reach).toEqual([{ modalities: ['MR'] }]);
    expect(await reached(principal!)).toEqual([2]);
  });

  test('who is confined stores into his reach alone', async () => {
    await ask(admin, 'POST', '/api/grants', {
      to: { subject: 'tim' },
      rules: [{ patients: [{ id: 'P2' }, { id: 'P4' }] }],
    });
    const principal = person('tim', 'technologist');
    const { StudyReach } = await import('#core/access/reach.ts');
    const send = async (n: number, attributes: BuilderDataSet) => {
      const confined = { ...services, reach: await StudyReach.open(services, principal, 'store') };
      const outcome = await storeObject(confined, { tenant: 'clinic', source: 'STOW' }, chunked(object(n, attributes)))
        .outcome;
      return outcome.kind === 'failed' ? outcome.error.code : outcome.kind;
    };
    expect(await send(4, {})).toBe('stored');
    expect(await send(5, {})).toBe('FORBIDDEN');
    // Into a study that is another's, in the name of his own patient, or under the UID of an object that he does not see.
    expect(await send(1, { SOPInstanceUID: uid(999), PatientID: 'P2' })).toBe('FORBIDDEN');
    expect(await send(6, { SOPInstanceUID: uid(100), PatientID: 'P2' })).toBe('FORBIDDEN');
    expect(await send(1, {})).toBe('FORBIDDEN');
    expect(await send(2, { SOPInstanceUID: uid(201), Modality: 'MR' })).toBe('stored');
    expect(await reached(principal)).toEqual([2, 3, 4]);
  });

  test('rules that say nothing, or too much, are refused by name', async () => {
    for (const rules of [
      'all',
      [{ studies: [] }],
      [{ studies: ['not a uid'] }],
      [{ referringPhysicians: ['*'] }],
      [{ patients: [{ issuer: 'X' }] }],
      [{ departments: ['x'] }],
      [{ deidentified: false }],
      [{ sites: [1] }],
      Array.from({ length: 51 }, () => ({})),
    ]) {
      const answer = await ask(admin, 'POST', '/api/grants', { to: { subject: 'rita' }, rules });
      expect(answer.status, JSON.stringify(rules)).toBe(400);
    }
    for (const to of [{}, { subject: 'a', role: 'viewer' }, { role: 'emperor' }, { role: 'guest' }, { claim: 'x' }])
      expect((await ask(admin, 'POST', '/api/grants', { to, rules: [] })).status, JSON.stringify(to)).toBe(400);
  });

  test('every change is recorded: who, which', async () => {
    const { body } = await ask(admin, 'POST', '/api/grants', { to: { subject: 'rita' }, rules: [] });
    await ask(admin, 'DELETE', `/api/grants/${body.id}`);
    const about = (await trail()).filter(({ about }) => about === `grant ${body.id}`);
    expect(about.map(({ event, subject, outcome }) => [event, subject, outcome])).toEqual([
      ['SecurityConfiguration', 'admin', 0],
      ['SecurityConfiguration', 'admin', 0],
    ]);
  });
});

describe('restrictions', () => {
  beforeEach(async () => {
    await store(1);
    await store(2);
  });
  const restrict = (body: Body = {}) =>
    ask(admin, 'POST', '/api/restrictions', {
      patient: { id: 'P2' },
      reason: 'public figure',
      roles: [],
      subjects: [],
      ...body,
    });

  test('hide a patient’s studies from all but who is listed, at once, also those to come, and show them again', async () => {
    expect(await reached(radiologist)).toEqual([1, 2]);
    const { body } = await restrict({ subjects: ['rita'], roles: ['technologist'] });
    await store(3, { PatientID: 'P2' });
    expect(await reached(admin)).toEqual([1]);
    expect(await reached(person('otto', 'radiologist'))).toEqual([1]);
    expect(await reached(radiologist)).toEqual([1, 2, 3]);
    expect(await reached(person('tim', 'technologist'))).toEqual([1, 2, 3]);
    expect((await ask(admin, 'DELETE', `/api/restrictions/${body.id}`)).status).toBe(204);
    expect(await reached(admin)).toEqual([1, 2, 3]);
  });

  test('with an issuer concern that one’s patient alone', async () => {
    await store(3, { PatientID: 'P2', IssuerOfPatientID: 'NORTH' });
    await restrict({ patient: { id: 'P2', issuer: 'NORTH' } });
    expect(await reached(radiologist)).toEqual([1, 2]);
  });

  test('are made once, with a reason', async () => {
    expect((await restrict({ reason: '' })).status).toBe(400);
    expect((await restrict({ patient: { id: '' } })).status).toBe(400);
    expect((await restrict()).status).toBe(201);
    expect((await restrict()).status).toBe(409);
  });

  test('do not keep images from coming in', async () => {
    await restrict();
    const { StudyReach } = await import('#core/access/reach.ts');
    expect(await StudyReach.open(services, person('CT1', 'modality'), 'store')).toBeUndefined();
    expect(await StudyReach.open(services, person('CT1', 'modality'), 'commit')).toBeUndefined();
  });

  test('are not shown to exist, unless they are to be', async () => {
    await restrict();
    const asked = () => ask(radiologist, 'GET', '/api/restricted?PatientID=P2');
    expect((await asked()).body).toEqual({ items: [], more: false });
    expect((await ask(admin, 'PUT', '/api/access', { showRestricted: true })).body).toEqual({ showRestricted: true });
    expect((await asked()).body).toEqual({ items: [{ StudyInstanceUID: uid(2) }], more: false });
    expect((await ask(radiologist, 'GET', '/api/restricted?PatientID=P1')).body.items).toEqual([]);
    // Who reaches less is not shown more: only what the restriction alone keeps from him.
    await ask(admin, 'POST', '/api/grants', { to: { subject: 'rita' }, rules: [{ studies: [uid(1)] }] });
    expect((await asked()).body.items).toEqual([]);
    expect((await ask(person('v', 'viewer'), 'GET', '/api/restricted')).status).toBe(403);
  });
});

describe('emergency access', () => {
  beforeEach(async () => {
    await store(1);
    await store(2);
    await store(3, { PatientID: 'P2' });
    await ask(admin, 'POST', '/api/restrictions', { patient: { id: 'P2' }, reason: 'public figure' });
  });
  const begin = (who: Principal, body: Body = {}) =>
    ask(who, 'POST', '/api/emergencies', { reasonCode: 'ETREAT', reason: 'found unconscious', ...body });

  test('opens one study for an hour, with a reason, and raises an alarm', async () => {
    expect(await reached(radiologist)).toEqual([1]);
    const { status, body } = await begin(radiologist, { StudyInstanceUID: uid(2) });
    expect(status).toBe(201);
    expect(body.until - body.startedAt).toBe(60 * 60 * 1000);
    expect(await reached(radiologist)).toEqual([1, 2]);
    expect(await reached(person('otto', 'radiologist'))).toEqual([1]);
    expect(alarms).toEqual([{ tenant: 'clinic', id: body.id }]);
    const events = (await ask(admin, 'GET', '/api/events')).body.events;
    expect(events.at(-1)).toMatchObject({ type: 'EmergencyAccess', id: body.id, StudyInstanceUID: '' });
    const recorded = (await trail()).find(({ event }) => event === 'EmergencyOverrideStarted');
    expect(recorded).toMatchObject({
      subject: 'rita',
      outcome: 0,
      studies: [uid(2)],
      purpose: 'ETREAT: found unconscious',
    });
    services.clock.advance(60 * 60 * 1000);
    expect(await reached(radiologist)).toEqual([1]);
  });

  test('or all studies of a patient, whether or not there are any', async () => {
    expect((await begin(radiologist, { patient: { id: 'P2' } })).status).toBe(201);
    expect(await reached(radiologist)).toEqual([1, 2, 3]);
    const there = await begin(radiologist, { StudyInstanceUID: uid(2) });
    const notThere = await begin(radiologist, { StudyInstanceUID: uid(77) });
    expect(Object.keys(notThere.body)).toEqual(Object.keys(there.body));
    expect(notThere.status).toBe(there.status);
  });

  test('beyond what was granted as well', async () => {
    await ask(admin, 'POST', '/api/grants', { to: { subject: 'house' }, rules: [{ studies: [uid(1)] }] });
    const house = person('house', 'referrer');
    await begin(house, { StudyInstanceUID: uid(3) });
    expect(await reached(house)).toEqual([1, 3]);
  });

  test('never beyond the reach of a link or token', async () => {
    const held: Principal = { ...radiologist, reach: [{ studies: [uid(1)] }] };
    await begin(held, { StudyInstanceUID: uid(2) });
    expect(await reached(held)).toEqual([1]);
  });

  test('asks for the right, a code and a reason', async () => {
    expect((await begin(person('v', 'viewer'), { StudyInstanceUID: uid(2) })).status).toBe(403);
    expect((await begin(person('x', 'researcher'), { StudyInstanceUID: uid(2) })).status).toBe(403);
    for (const body of [
      {},
      { StudyInstanceUID: 'x' },
      { StudyInstanceUID: uid(2), patient: { id: 'P2' } },
      { StudyInstanceUID: uid(2), reasonCode: 'CURIOSITY' },
      { StudyInstanceUID: uid(2), reason: '   ' },
      { StudyInstanceUID: uid(2), reason: 'x'.repeat(201) },
    ])
      expect((await begin(radiologist, body)).status, JSON.stringify(body)).toBe(400);
    expect(alarms).toEqual([]);
  });

  test('is ended by who took it, and by an administrator; by nobody else', async () => {
    const first = (await begin(radiologist, { StudyInstanceUID: uid(2) })).body;
    const second = (await begin(radiologist, { StudyInstanceUID: uid(3) })).body;
    const otto = person('otto', 'radiologist');
    expect((await ask(otto, 'DELETE', `/api/emergencies/${first.id}`)).status).toBe(404);
    expect((await ask(otto, 'GET', '/api/emergencies')).status).toBe(403);
    expect(
      (await ask(radiologist, 'GET', '/api/emergencies/own')).body.items.map(({ id }: Told) => id).toSorted(),
    ).toEqual([first.id, second.id].toSorted());
    expect((await ask(radiologist, 'DELETE', `/api/emergencies/${first.id}`)).body).toMatchObject({ active: false });
    expect(await reached(radiologist)).toEqual([1, 3]);
    expect((await ask(admin, 'DELETE', `/api/emergencies/${second.id}`)).body).toMatchObject({ revokedBy: 'admin' });
    expect(await reached(radiologist)).toEqual([1]);
    expect((await ask(admin, 'GET', '/api/emergencies')).body.items).toHaveLength(2);
    expect((await trail()).filter(({ event }) => event === 'EmergencyOverrideStopped')).toHaveLength(3);
  });

  test('one person has so many at a time', async () => {
    for (let n = 0; n < EMERGENCIES_OF_ONE; n++)
      expect((await begin(radiologist, { StudyInstanceUID: uid(50 + n) })).status).toBe(201);
    expect((await begin(radiologist, { StudyInstanceUID: uid(2) })).status).toBe(413);
  });
});

test('a stream of events follows what its reader reaches, also while it is open', async () => {
  const ended = new AbortController();
  const request = standIn<HttpRequest>({
    query: new URLSearchParams(),
    headers: { accept: 'text/event-stream' },
    signal: ended.signal,
  });
  const { body } = await getEvents(standIn<Context>({ request, services, principal: radiologist }));
  const stream = (body as AsyncGenerator<Uint8Array>)[Symbol.asyncIterator]();
  const next = async () => Buffer.from((await stream.next()).value as Uint8Array).toString();
  expect(await next()).toMatch(/^: open\n/);
  await store(1);
  expect(await next()).toContain(uid(1));
  await ask(admin, 'POST', '/api/restrictions', { patient: { id: 'P2' }, reason: 'public figure' });
  await store(2);
  await store(3);
  const said = await next();
  expect(said).toContain(uid(3));
  expect(said).not.toContain(uid(2));
  // The same page by page: what is not for him is passed over.
  const { events } = (await ask(radiologist, 'GET', '/api/events')).body;
  expect(events.map((one: Told) => one.StudyInstanceUID)).toEqual([uid(1), uid(3)]);
  ended.abort();
});

test('a tenant has so many grants and restrictions', async () => {
  const items = (kind: 'grant' | 'restriction', limit: number) =>
    Promise.all(
      Array.from({ length: limit }, (_, i) =>
        services.index.write([
          {
            kind: 'put',
            key: policyKeys[kind]('clinic', `x${i}`),
            item: asItem({
              id: `x${i}`,
              to: { subject: 'x' },
              rules: [],
              patient: { id: `Q${i}` },
              subjects: [],
              roles: [],
            }),
          },
        ]),
      ),
    );
  await items('grant', POLICY_LIMITS.grants);
  await items('restriction', POLICY_LIMITS.restrictions);
  expect((await ask(admin, 'POST', '/api/grants', { to: { subject: 'rita' }, rules: [] })).status).toBe(413);
  expect((await ask(admin, 'POST', '/api/restrictions', { patient: { id: 'P1' }, reason: 'why' })).status).toBe(413);
});

test('a guest without a link’s reach reaches nothing; roles that reach everything do so whatever else one has', () => {
  const granted = (...roles: Role[]) => grantedReach(NO_POLICY, person('x', ...roles), 'search');
  expect(granted('guest')).toEqual([]);
  expect(granted('researcher')).toEqual([{ deidentified: true }]);
  expect(granted('referrer', 'researcher')).toEqual([{ deidentified: true }]);
  expect(granted('referrer', 'viewer')).toBe('all');
  // Finance permits no search: what it would reach does not count.
  expect(granted('finance', 'researcher')).toEqual([{ deidentified: true }]);
});

async function trail() {
  const { records } = await services.index.query({ partition: auditPartition('clinic'), log: true, limit: 1_000 });
  return records.map(({ item }) => parseEntry(item.line as string)!);
}
