import { beforeEach, describe, expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import { TokenStore } from '#core/tokens.ts';
import { chunked, memoryServices, TENANT } from '#test/fixtures/services.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

function anArchive() {
  const services = memoryServices();
  const tokens = new TokenStore(services);
  const app = createArchiveApp({ services, tokens, corsOrigins: [], tenant: TENANT, onFailure: () => {} });
  const ask = async (method: string, path: string, token?: string, body?: object, cookie?: string) => {
    const answered = await app.answer({
      method,
      path,
      query: new URLSearchParams(),
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(cookie !== undefined && { cookie }),
      },
      body: chunked(Buffer.from(body === undefined ? '' : JSON.stringify(body))),
      origin: 'http://pacs.test',
    });
    const { status, headers, body: text } = answered!.response;
    return {
      status,
      cookie: headers['set-cookie']?.split(';')[0],
      json: typeof text === 'string' ? JSON.parse(text) : {},
    };
  };
  return { services, tokens, ask };
}

let archive: ReturnType<typeof anArchive>;
let admin: string;
beforeEach(async () => {
  archive = anArchive();
  admin = (await archive.tokens.bootstrap(TENANT))!;
});
const worker = { name: 'AI worker', subject: 'ai.lung', roles: ['finder', 'retriever'] };

describe('an access token', () => {
  test('is shown once, opens what its roles permit, and is listed without itself', async () => {
    const made = await archive.ask('POST', '/api/tokens', admin, { ...worker, expiresInDays: 30 });
    expect(made).toMatchObject({ status: 201, json: { name: 'AI worker', createdBy: 'admin' } });
    const { token } = made.json;
    expect((await archive.ask('GET', '/dicomweb/studies', token)).status).toBe(200);
    expect((await archive.ask('GET', '/api/trash', token)).status).toBe(403);
    const { json } = await archive.ask('GET', '/api/tokens', admin);
    expect(json.items).toMatchObject([{ id: made.json.id, subject: 'ai.lung', roles: worker.roles }]);
    expect(JSON.stringify(json)).not.toContain(token);
    expect(JSON.stringify(json)).not.toContain('hash');
  });

  test('may carry the roles that the list names, with what each permits; the session says what its own permit', async () => {
    const { roles } = (await archive.ask('GET', '/api/tokens', admin)).json;
    expect(roles).toContainEqual({ role: 'viewer', permits: ['retrieve', 'search'] });
    expect(roles.map(({ role }: { role: string }) => role)).not.toContain('anonymous');
    const { token } = (await archive.ask('POST', '/api/tokens', admin, worker)).json;
    expect((await archive.ask('GET', '/api/session', token)).json).toMatchObject({
      subject: 'ai.lung',
      permits: ['retrieve', 'search'],
    });
  });

  test('ends when its days are over', async () => {
    const { token } = (await archive.ask('POST', '/api/tokens', admin, { ...worker, expiresInDays: 1 })).json;
    archive.services.clock.advance(DAY_MS - 1);
    expect((await archive.ask('GET', '/dicomweb/studies', token)).status).toBe(200);
    archive.services.clock.advance(1);
    expect((await archive.ask('GET', '/dicomweb/studies', token)).status).toBe(401);
  });

  test('ends when it is revoked, and every session opened with it', async () => {
    const { id, token } = (await archive.ask('POST', '/api/tokens', admin, worker)).json;
    const { cookie } = await archive.ask('POST', '/api/session', undefined, { token });
    expect((await archive.ask('GET', '/dicomweb/studies', undefined, undefined, cookie)).status).toBe(200);
    expect((await archive.ask('DELETE', `/api/tokens/${id}`, admin)).status).toBe(204);
    expect((await archive.ask('GET', '/dicomweb/studies', token)).status).toBe(401);
    expect((await archive.ask('GET', '/dicomweb/studies', undefined, undefined, cookie)).status).toBe(401);
    expect((await archive.ask('DELETE', `/api/tokens/${id}`, admin)).status).toBe(404);
  });

  test('of another tenant is neither seen nor revoked', async () => {
    const other = await archive.tokens.issue('other', { ...worker, roles: ['admin'], createdBy: 'x', expiresAt: null });
    const { id } = (await archive.ask('POST', '/api/tokens', admin, worker)).json;
    expect((await archive.ask('GET', '/api/tokens', other.token)).json.items).toMatchObject([{ id: other.id }]);
    expect((await archive.ask('DELETE', `/api/tokens/${id}`, other.token)).status).toBe(404);
  });

  test.each([
    [{ ...worker, name: '' }],
    [{ ...worker, subject: '<script>' }],
    [{ ...worker, roles: [] }],
    [{ ...worker, roles: ['emperor'] }],
    [{ ...worker, roles: ['anonymous'] }],
    [{ ...worker, expiresInDays: 0 }],
    [{ ...worker, expiresInDays: 1.5 }],
    [{}],
  ])('is refused when it is asked for as %j', async (asked) => {
    expect((await archive.ask('POST', '/api/tokens', admin, asked)).status).toBe(400);
  });
});
