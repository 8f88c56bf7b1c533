import { generateKeyPairSync, sign } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import type { Role } from '#core/access.ts';
import type { AuditEntry } from '#core/audit/entry.ts';
import type { AuditEvent } from '#core/audit/event.ts';
import { type AuditSigner, sealAudit } from '#core/audit/seal.ts';
import { AuditTrail } from '#core/audit/trail.ts';
import { TokenStore } from '#core/tokens.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices, store, TENANT } from '#test/fixtures/services.ts';

const MINUTE_MS = 60_000;
const { privateKey } = generateKeyPairSync('ed25519');
const signer: AuditSigner = { keyId: 'test', sign: async (bytes) => sign(null, bytes, privateKey) };

/** A trail of 60 acts, one a minute: every third a query of dr-x, the others accesses of dr-y; every tenth was refused. */
async function aTrail() {
  const services = memoryServices({ limits: { auditSegmentEntries: 10 } });
  const tokens = new TokenStore(services);
  const app = createArchiveApp({ services, tokens, corsOrigins: [], tenant: TENANT, onFailure: () => {} });
  const start = services.clock.now();
  for (let i = 0; i < 60; i++) {
    const isQuery = i % 3 === 0;
    const event: AuditEvent = {
      at: services.clock.now(),
      event: isQuery ? 'Query' : 'InstancesAccessed',
      action: isQuery ? 'E' : 'R',
      outcome: i % 10 === 0 ? 4 : 0,
      subject: isQuery ? 'dr-x' : 'dr-y',
      roles: ['radiologist'],
      door: 'http',
      instances: i,
      ...(!isQuery && { studies: [i % 2 === 0 ? uid(1) : uid(7)] }),
    };
    await services.audit.record(TENANT, event);
    services.clock.advance(MINUTE_MS);
  }
  const principal = (roles: Role[], tenant = TENANT) => ({ tenant, subject: 'auditor', roles });
  const ask = async (query: Record<string, string>, roles: Role[] = ['auditor'], tenant?: string) => {
    const answered = await app.answer({
      method: 'GET',
      path: '/api/audit',
      query: new URLSearchParams(query),
      headers: {},
      body: chunked(Buffer.alloc(0)),
      origin: 'http://pacs.test',
      principal: principal(roles, tenant),
    });
    const { status, headers, body } = answered!.response;
    return { status, headers, text: String(body ?? '') };
  };
  /** numbers of the acts, without the looking itself */
  const find = async (query: Record<string, string>) => {
    const { status, text } = await ask(query);
    expect(status, text).toBe(200);
    const answer = JSON.parse(text) as { entries: AuditEntry[]; next: string; more: boolean };
    const acts = answer.entries.filter(({ event }) => event !== 'AuditLogUsed').map(({ instances }) => instances!);
    return { ...answer, acts };
  };
  const minute = (i: number) => new Date(start + i * MINUTE_MS).toISOString();
  return { services, ask, find, minute };
}

let trail: Awaited<ReturnType<typeof aTrail>>;
beforeEach(async () => {
  trail = await aTrail();
});

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);
const seal = async () => {
  while (await sealAudit(trail.services, TENANT, signer));
};

describe('the audit trail by GET', () => {
  test.each([
    ['asc', upTo(60)],
    ['desc', upTo(60).reverse()],
  ])('is read to its end page by page, order=%s, each entry once', async (order, expected) => {
    const acts: number[] = [];
    let after = '';
    for (let pages = 0, more = true; more; pages++) {
      expect(pages).toBeLessThan(20);
      const page = await trail.find({ order, limit: '7', to: trail.minute(60), ...(after && { after }) });
      expect(page.entries.length).toBeLessThanOrEqual(7);
      acts.push(...page.acts);
      after = page.next;
      more = page.more;
    }
    expect(acts).toEqual(expected);
  });

  test('goes in the order of the trail unless asked otherwise', async () => {
    expect((await trail.find({ limit: '3' })).acts).toEqual([0, 1, 2]);
    expect((await trail.find({ limit: '3', order: 'desc', to: trail.minute(60) })).acts).toEqual([59, 58, 57]);
  });

  test.each(['unsealed', 'sealed'])('is narrowed down by time, in either order, where it is %s', async (state) => {
    if (state === 'sealed') await seal();
    for (const [from, to] of [
      [0, 1],
      [9, 11],
      [20, 30],
      [55, 60],
    ] as const) {
      const range = { from: trail.minute(from), to: trail.minute(to) };
      const expected = upTo(60).slice(from, to);
      expect((await trail.find(range)).acts).toEqual(expected);
      expect((await trail.find({ ...range, order: 'desc' })).acts).toEqual(expected.reverse());
    }
  });

  test('reads what was sealed about the time asked for, and not all of a long trail', async () => {
    await seal();
    const read: number[] = [];
    const { index } = trail.services;
    const query = index.query.bind(index);
    index.query = async (asked, meter) => {
      const page = await query({ ...asked, limit: asked.log ? Math.min(asked.limit, 5) : asked.limit }, meter);
      if (asked.log) read.push(page.records.length);
      return page;
    };
    const range = { from: trail.minute(20), to: trail.minute(22) };
    expect((await trail.find({ ...range, order: 'desc' })).acts).toEqual([21, 20]);
    expect(read.reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(20);
  });

  test.each([
    [{ event: 'Query' }, (i: number) => i % 3 === 0],
    [{ subject: 'dr-y' }, (i: number) => i % 3 !== 0],
    [{ study: uid(7) }, (i: number) => i % 3 !== 0 && i % 2 === 1],
    [{ outcome: '4' }, (i: number) => i % 10 === 0],
    [{ event: 'Query', outcome: '4' }, (i: number) => i % 30 === 0],
    [{ subject: 'nobody' }, () => false],
  ])('is narrowed down by %j', async (filter, wanted) => {
    const expected = upTo(60).filter(wanted);
    expect((await trail.find(filter)).acts).toEqual(expected);
    expect((await trail.find({ ...filter, order: 'desc' })).acts).toEqual(expected.reverse());
  });

  test('comes as DICOM messages and as FHIR, the same entries in the same order', async () => {
    await store(trail.services, buildDicom({ SOPInstanceUID: uid(3), StudyInstanceUID: uid(1), PatientID: 'P-1' }));
    const asked = { study: uid(1), order: 'desc', limit: '2', to: trail.minute(60) };
    const times = [58, 56].map((i) => trail.minute(i));
    const dicom = await trail.ask({ ...asked, format: 'dicom' });
    expect(dicom.headers['content-type']).toMatch(/xml/);
    expect(dicom.headers['x-more']).toBe('true');
    const lines = dicom.text.trimEnd().split('\n');
    expect(lines.map((line) => /EventDateTime="([^"]+)"/.exec(line)?.[1])).toEqual(times);
    expect(lines[0]).toContain('P-1');
    const fhir = JSON.parse((await trail.ask({ ...asked, format: 'fhir' })).text);
    expect(fhir.resourceType).toBe('Bundle');
    expect(fhir.entry.map(({ resource }: { resource: { recorded: string } }) => resource.recorded)).toEqual(times);
    const next = { ...asked, format: 'dicom', after: dicom.headers['x-next']! };
    expect((await trail.ask(next)).text).toContain(trail.minute(52));
  });

  test.each([
    { order: 'sideways' },
    { event: 'Coffee' },
    { limit: '0' },
    { limit: '1001' },
    { from: 'yesterday' },
    { format: 'pdf' },
  ])('refuses %j', async (query: Record<string, string>) => {
    expect((await trail.ask(query)).status).toBe(400);
  });

  test('is read by who may, each tenant its own', async () => {
    expect((await trail.ask({}, ['radiologist'])).status).toBe(403);
    expect((await trail.ask({}, ['admin'])).status).toBe(200);
    expect(JSON.parse((await trail.ask({}, ['admin'], 'other')).text).entries).toEqual([]);
  });
});

test('a look that was answered before its entry was written is found by who reads the trail next', async () => {
  const services = memoryServices();
  const trail = new AuditTrail(services, 'writes', { outlivesAnswers: true });
  const app = createArchiveApp({
    services: { ...services, audit: trail },
    tokens: new TokenStore(services),
    corsOrigins: [],
    tenant: TENANT,
    onFailure: () => {},
  });
  const { write } = services.index;
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  services.index.write = async (...given) => {
    await held;
    return Reflect.apply(write, services.index, given);
  };
  const get = (path: string) =>
    app.answer({
      method: 'GET',
      path,
      query: new URLSearchParams(),
      headers: {},
      body: chunked(Buffer.alloc(0)),
      origin: 'http://pacs.test',
      principal: { tenant: TENANT, subject: 'chief', roles: ['admin'] },
    });
  expect((await get('/dicomweb/studies'))!.response.status).toBe(200);
  const read = get('/api/audit');
  // The disk stands still for as long as anybody could read without it.
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  release();
  expect(String((await read)!.response.body)).toContain('"event":"Query"');
});
