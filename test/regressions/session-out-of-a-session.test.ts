import { beforeEach, describe, expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import { createClient, deleteClient, getClient } from '#core/clients.ts';
import { SESSION_MS, TokenStore } from '#core/tokens.ts';
import { chunked, memoryServices, TENANT } from '#test/fixtures/services.ts';

/** An archive that takes `issued` for a token of an issuer, and somebody who asks it. */
function anArchive(issued = '') {
  const services = memoryServices();
  const tokens = new TokenStore(services);
  const principal = { tenant: TENANT, subject: 'somebody', roles: ['viewer'] as const };
  const issuer = { verify: async (token: string) => (token === issued ? principal : undefined) };
  const app = createArchiveApp({ services, tokens, issuer, corsOrigins: [], tenant: TENANT, onFailure: () => {} });
  const ask = async (method: string, path: string, cookie?: string, body?: object) => {
    const answered = await app.answer({
      method,
      path,
      query: new URLSearchParams(),
      headers: { ...(cookie !== undefined && { cookie: `nephos_session=${cookie}` }) },
      body: chunked(Buffer.from(body === undefined ? '' : JSON.stringify(body))),
      origin: 'http://pacs.test',
    });
    return answered!.response;
  };
  /** The token of a session that was opened with this one. */
  const open = async (token: string): Promise<string> => {
    const { headers } = await ask('POST', '/api/session', undefined, { token });
    return /nephos_session=([^;]+)/.exec(headers['set-cookie'] ?? '')![1]!;
  };
  const isIn = async (session: string): Promise<boolean> => (await ask('GET', '/api/session', session)).status === 200;
  return { services, tokens, open, isIn };
}

describe('a session that was opened with the token of a session', () => {
  let archive: ReturnType<typeof anArchive>;
  beforeEach(() => {
    archive = anArchive();
  });

  test('ends when the token is revoked with which the first was opened', async () => {
    const { tokens, open, isIn } = archive;
    const asked = { name: 'x', subject: 'x', roles: ['viewer'] as const, createdBy: 'admin', expiresAt: null };
    const { id, token } = await tokens.issue(TENANT, asked);
    const third = await open(await open(await open(token)));
    expect(await isIn(third)).toBe(true);
    await tokens.revokeIssued(TENANT, id);
    expect(await isIn(third)).toBe(false);
  });

  test('ends with the machine client, and with the token that this one was given', async () => {
    const { services, tokens, open, isIn } = archive;
    const asked = {
      name: 'ai',
      roles: ['viewer'] as const,
      method: 'client_secret' as const,
      keys: [],
      certificates: [],
    };
    const { client } = await createClient(services, TENANT, asked, 'admin', 1_000_000);
    const token = await tokens.openForClient({ tenant: TENANT, client }, 60_000);
    const second = await open(await open(token));
    services.clock.advance(59_000);
    expect(await isIn(second)).toBe(true);
    services.clock.advance(2_000);
    expect(await isIn(second)).toBe(false);
    const again = await open(await open(await tokens.openForClient({ tenant: TENANT, client }, 60_000)));
    expect(await isIn(again)).toBe(true);
    await deleteClient(services, TENANT, (await getClient(services, TENANT, client.id)).id);
    expect(await isIn(again)).toBe(false);
  });

  test('ends with the first one', async () => {
    const { services, tokens, open, isIn } = archive;
    const first = await tokens.openSession({ tenant: TENANT, subject: 'x', roles: ['viewer'] });
    services.clock.advance(SESSION_MS - 1_000);
    const second = await open(first);
    expect(await isIn(second)).toBe(true);
    services.clock.advance(2_000);
    expect(await isIn(second)).toBe(false);
  });
});

test('a session that was opened with the token of an issuer ends when that does', async () => {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Date.UTC(2024, 0, 31, 12, 5) / 1000;
  const token = `${part({ alg: 'ES256' })}.${part({ sub: 'somebody', exp })}.c2lnbmF0dXJl`;
  const { services, open, isIn } = anArchive(token);
  const session = await open(token);
  expect(await isIn(session)).toBe(true);
  services.clock.advance(5 * 60_000);
  expect(await isIn(session)).toBe(false);
});
