import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import { newEnrolmentCode, readEnrolmentCode } from '#core/enrolment-code.ts';
import { TokenStore } from '#core/tokens.ts';
import { chunked, memoryServices, TENANT, TestClock } from '#test/fixtures/services.ts';

interface Answer {
  readonly items: { readonly id: string }[];
  readonly code: string;
  readonly clientId: string;
  readonly configurationKey?: string;
}

let services: ReturnType<typeof memoryServices>;
let tokens: TokenStore;
let admin: string;
let ask: (
  method: string,
  path: string,
  body?: object,
  options?: { token?: string; from?: string },
) => Promise<{
  status: number;
  retryAfter: string | undefined;
  json: Answer;
}>;

beforeEach(async () => {
  services = memoryServices();
  tokens = new TokenStore(services);
  const app = createArchiveApp({ services, tokens, corsOrigins: [], tenant: TENANT, onFailure: () => {} });
  admin = (await tokens.bootstrap(TENANT))!;
  ask = async (method, path, body, { token = admin, from = '203.0.113.7' } = {}) => {
    const answered = await app.answer({
      method,
      path: `/api${path}`,
      query: new URLSearchParams(),
      headers: token === '' ? {} : { authorization: `Bearer ${token}` },
      body: chunked(Buffer.from(body === undefined ? '' : JSON.stringify(body))),
      origin: 'https://pacs.test',
      remoteAddress: from,
    });
    const { status, headers, body: text } = answered!.response;
    return { status, retryAfter: headers['retry-after'], json: text ? JSON.parse(String(text)) : {} };
  };
});

const newKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
const invite = async (body: object = {}) =>
  (await ask('POST', '/enrolments', { gateway: 'north-clinic', ...body })).json as unknown as {
    id: string;
    code: string;
  };
const bring = (code: string, from?: string) =>
  ask('POST', '/enrolments/exchange', { code, key: newKey() }, { token: '', ...(from && { from }) });

describe('an enrolment code', () => {
  test('is read however a person types it, and not with a character wrong or two exchanged', () => {
    const LETTERS = [...'0123456789ABCDEFGHJKMNPQRSTVWXYZ'];
    const clock = new TestClock();
    /** Drawn, not taken from the clock: what fails can be shown again. */
    const code = fc
      .uint8Array({ minLength: 11, maxLength: 11 })
      .map((bytes) => newEnrolmentCode({ ...clock, randomBytes: () => bytes }));
    const read = (code: string) => {
      expect(code).toMatch(/^([0-9A-HJKMNP-TV-Z]{4}-){2}[0-9A-HJKMNP-TV-Z]{4}$/);
      expect(readEnrolmentCode(` ${code.toLowerCase().replaceAll('-', ' ')}`)).toBe(code);
      expect(readEnrolmentCode(code.replaceAll('0', 'O').replaceAll('1', 'l'))).toBe(code);
    };
    for (let i = 0; i < 200; i++) read(newEnrolmentCode(clock));
    fc.assert(fc.property(code, read));
    fc.assert(
      fc.property(code, fc.nat(11), fc.constantFrom(...LETTERS), (right, at, wrong) => {
        const plain = right.replaceAll('-', '');
        if (plain[at] === wrong) return;
        expect(readEnrolmentCode(plain.slice(0, at) + wrong + plain.slice(at + 1))).toBeUndefined();
      }),
    );
    fc.assert(
      fc.property(code, fc.nat(10), (right, at) => {
        const plain = right.replaceAll('-', '');
        const pair = plain.slice(at, at + 2);
        // Equal ones change nothing; the first and the last letter are the pair that Luhn's check does not tell.
        if (pair[0] === pair[1] || pair === '0Z' || pair === 'Z0') return;
        const exchanged = `${pair[1]}${pair[0]}`;
        expect(readEnrolmentCode(plain.slice(0, at) + exchanged + plain.slice(at + 2))).toBeUndefined();
      }),
    );
    for (const text of ['', 'ABCD', 'ABCD-EFGH-JKM', '!!!!-!!!!-!!!!', 'UUUU-UUUU-UUUU'])
      expect(readEnrolmentCode(text)).toBeUndefined();
  });

  test('makes its gateway a client of its tenant, once', async () => {
    const { code } = await invite();
    const made = await bring(code.toLowerCase());
    expect(made).toMatchObject({ status: 201, json: { gateway: 'north-clinic', tenant: TENANT } });
    expect((await ask('GET', '/clients')).json.items).toMatchObject([
      { id: made.json.clientId, roles: ['gateway'], method: 'private_key_jwt', gateway: 'north-clinic', secrets: [] },
    ]);
    expect((await bring(code)).status).toBe(401);
    expect((await ask('GET', '/enrolments')).json.items).toEqual([]);
  });

  test('brought by two at once makes one of them the gateway', async () => {
    const { code } = await invite();
    const answers = await Promise.all(Array.from({ length: 5 }, (_, i) => bring(code, `203.0.113.${i}`)));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect((await ask('GET', '/clients')).json.items).toHaveLength(1);
  });

  test('is kept as a hash alone, and shown once', async () => {
    const { code } = await invite();
    const { json } = await ask('GET', '/enrolments');
    expect(json.items).toMatchObject([{ gateway: 'north-clinic', createdBy: 'admin' }]);
    expect(JSON.stringify(json)).not.toMatch(/hash|code/);
    const { records } = await services.index.query({ partition: `${TENANT}|enrolments`, limit: 10 });
    expect(records).toHaveLength(1);
    expect(JSON.stringify(records)).not.toContain(code);
  });

  test('opens nothing once it is over, withdrawn, or mistyped', async () => {
    const late = await invite({ expiresInMinutes: 5 });
    const withdrawn = await invite();
    expect((await ask('DELETE', `/enrolments/${withdrawn.id}`)).status).toBe(204);
    expect((await bring(withdrawn.code)).status).toBe(401);
    services.clock.advance(5 * 60_000);
    expect((await bring(late.code)).status).toBe(401);
    const typo = late.code.slice(0, -1) + (late.code.endsWith('7') ? '8' : '7');
    expect((await bring(typo)).status).toBe(400);
    expect((await ask('GET', '/clients')).json.items).toEqual([]);
  });

  test('cannot be guessed: one address has twenty attempts in ten minutes, others theirs', async () => {
    const { code } = await invite();
    const statuses = [];
    for (let i = 0; i < 25; i++) statuses.push((await bring(newEnrolmentCode(services.clock))).status);
    expect(statuses.filter((status) => status === 401)).toHaveLength(20);
    expect(statuses.slice(20)).toEqual([429, 429, 429, 429, 429]);
    const stopped = await bring(code);
    expect(stopped.status).toBe(429);
    expect(Number(stopped.retryAfter)).toBeGreaterThan(0);
    expect((await bring(code, '198.51.100.4')).status).toBe(201);
  });

  test('guessed many at a time gets nobody further', async () => {
    await invite();
    const all = await Promise.all(Array.from({ length: 60 }, () => bring(newEnrolmentCode(services.clock))));
    expect(all.filter(({ status }) => status === 401).length).toBeLessThanOrEqual(20);
    expect(all.every(({ status }) => status === 401 || status === 429)).toBe(true);
  });

  test('of another tenant makes a gateway of that tenant, whatever the archive’s own is', async () => {
    const { token } = await tokens.issue('other', {
      name: 'a',
      subject: 'admin.other',
      roles: ['admin'],
      createdBy: 'x',
      expiresAt: null,
    });
    const { json } = await ask('POST', '/enrolments', { gateway: 'north-clinic' }, { token });
    expect((await bring(json.code)).json).toMatchObject({ tenant: 'other' });
    expect((await ask('GET', '/clients')).json.items).toEqual([]);
    expect((await ask('GET', '/clients', undefined, { token })).json.items).toHaveLength(1);
  });
});

describe('a gateway that is enrolled again', () => {
  test('has one identity: the one before ends, and so does a token made by hand', async () => {
    const byHand = await tokens.renewGateway(TENANT, 'north-clinic');
    const first = (await bring((await invite()).code)).json;
    expect(await tokens.verify(byHand)).toBeUndefined();
    const second = (await bring((await invite()).code)).json;
    const { items } = (await ask('GET', '/clients')).json;
    expect(items.map(({ id }) => id)).toEqual([second.clientId]);
    expect((await ask('GET', `/clients/${first.clientId}`)).status).toBe(404);
  });

  test('is told whose configurations it may take', async () => {
    const pem = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const { code } = await invite({ configurationKey: pem });
    expect((await bring(code)).json.configurationKey).toBe(pem);
    const wrong = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    for (const configurationKey of [wrong, 'text', 7])
      expect((await ask('POST', '/enrolments', { gateway: 'x', configurationKey })).status).toBe(400);
  });
});

test('only an administrator invites', async () => {
  const { token } = await tokens.issue(TENANT, {
    name: 't',
    subject: 'tech',
    roles: ['technologist'],
    createdBy: 'x',
    expiresAt: null,
  });
  expect((await ask('POST', '/enrolments', { gateway: 'x' }, { token })).status).toBe(403);
  expect((await ask('GET', '/enrolments', undefined, { token })).status).toBe(403);
});
