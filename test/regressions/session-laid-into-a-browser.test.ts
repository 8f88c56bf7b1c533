import { describe, expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import { TokenStore } from '#core/tokens.ts';
import { chunked, memoryServices, TENANT } from '#test/fixtures/services.ts';

async function anArchive(origin: string) {
  const services = memoryServices();
  const tokens = new TokenStore(services);
  const app = createArchiveApp({ services, tokens, corsOrigins: [], tenant: TENANT, onFailure: () => {} });
  const token = (await tokens.bootstrap(TENANT))!;
  const ask = async (method: string, headers: Record<string, string>, body = '') => {
    const answered = await app.answer({
      method,
      path: '/api/session',
      query: new URLSearchParams(),
      headers,
      body: chunked(Buffer.from(body)),
      origin,
    });
    return answered!.response;
  };
  return { token, ask };
}

describe('a page of another site', () => {
  test.each([
    { 'sec-fetch-site': 'cross-site', 'content-type': 'text/plain' },
    { 'sec-fetch-site': 'same-site', 'content-type': 'text/plain' },
    { origin: 'https://evil.test', 'content-type': 'text/plain' },
    { origin: 'null', 'content-type': 'application/json' },
  ])('does not sign a browser in as somebody else: %j', async (headers) => {
    const { token, ask } = await anArchive('https://pacs.test');
    // What a form without scripts can send: the rest of the field stands behind the sign of equality.
    const answer = await ask('POST', headers as Record<string, string>, `{"token":"${token}","x":"="}`);
    expect(answer.status).toBe(403);
    expect(answer.headers['set-cookie']).toBeUndefined();
  });
});

describe('the cookie of a session', () => {
  test('has a name over TLS that neighbours below the same domain cannot set', async () => {
    const { token, ask } = await anArchive('https://pacs.test');
    const { headers } = await ask('POST', { 'sec-fetch-site': 'same-origin' }, JSON.stringify({ token }));
    const cookie = headers['set-cookie']!;
    expect(cookie).toMatch(/^__Host-nephos_session=\S+; Path=\/; HttpOnly; SameSite=Strict; Max-Age=\d+; Secure$/);
    const pair = cookie.split(';')[0]!;
    expect((await ask('GET', { cookie: pair })).status).toBe(200);
    expect((await ask('GET', { cookie: pair.replace('__Host-', '') })).status).toBe(401);
    // Whichever stands first.
    expect((await ask('GET', { cookie: `nephos_session=x; ${pair}` })).status).toBe(200);
    expect((await ask('DELETE', { cookie: pair, 'sec-fetch-site': 'same-origin' })).headers['set-cookie']).toMatch(
      /^__Host-nephos_session=; Path=\/; .*Max-Age=0; Secure$/,
    );
    expect((await ask('GET', { cookie: pair })).status).toBe(401);
  });

  test('has no such name without TLS, which browsers would not take', async () => {
    const { token, ask } = await anArchive('http://127.0.0.1:8080');
    const { headers } = await ask('POST', {}, JSON.stringify({ token }));
    expect(headers['set-cookie']).toMatch(/^nephos_session=/);
  });
});

test('signing out has the browser forget the images that it kept', async () => {
  const { token, ask } = await anArchive('https://pacs.test');
  const { headers } = await ask('POST', { 'sec-fetch-site': 'same-origin' }, JSON.stringify({ token }));
  const cookie = headers['set-cookie']!.split(';')[0]!;
  const ended = await ask('DELETE', { cookie, 'sec-fetch-site': 'same-origin' });
  expect(ended.headers['clear-site-data']).toBe('"cache"');
  // Whoever was not signed in has nothing of his taken away.
  expect((await ask('DELETE', { 'sec-fetch-site': 'cross-site' })).headers['clear-site-data']).toBeUndefined();
});
