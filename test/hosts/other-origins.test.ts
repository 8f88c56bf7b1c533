import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { embeddedHost, type Host, lambdaHost } from './both-hosts.ts';
import { multipart } from './client.ts';

const VIEWER = 'https://viewer.example';
const EVIL = 'https://evil.example';
const ENV = { NEPHOS_CORS_ORIGINS: VIEWER };

/** Pages of other origins, by the configuration and the cookies of running hosts. */
describe.each([
  ['embedded', () => embeddedHost(ENV)],
  ['lambda', () => lambdaHost(ENV)],
] as const)('a page of another origin, at the %s host', (_, open) => {
  let host: Host;
  let cookie: string;
  const ask = (path: string, init: RequestInit & { headers?: Record<string, string> } = {}): Promise<Response> =>
    fetch(host.origin + path, init);
  beforeAll(async () => {
    host = await open();
    const headers = { authorization: `Bearer ${host.admin}` };
    const object = multipart([buildDicom()]);
    const body = Buffer.from(object.body);
    expect(
      (await ask('/dicomweb/studies', { ...object, body, headers: { ...object.headers, ...headers } })).status,
    ).toBe(200);
    const session = await ask('/api/session', { method: 'POST', body: JSON.stringify({ token: host.admin }) });
    const [set = ''] = session.headers.getSetCookie();
    // No script reads it, no other site's request carries it, and over TLS it would say Secure.
    expect(set).toMatch(/; HttpOnly/);
    expect(set).toMatch(/; SameSite=Strict/);
    cookie = set.split(';')[0]!;
  });
  afterAll(() => host?.close());

  test('reads with its token where it is named, and nothing where it is not', async () => {
    for (const [origin, allowed] of [
      [VIEWER, VIEWER],
      [EVIL, null],
      ['null', null],
      [`${VIEWER}.evil.example`, null],
    ] as const) {
      const answer = await ask('/dicomweb/studies', { headers: { origin, authorization: `Bearer ${host.admin}` } });
      expect([origin, answer.headers.get('access-control-allow-origin')]).toEqual([origin, allowed]);
      expect(answer.headers.get('vary')).toMatch(/origin/i);
    }
  });

  test('is not given by a cache what was another’s: each answer that is kept says that it depends on the origin', async () => {
    const instance = `/dicomweb/studies/${uid(1)}/series/${uid(2)}/instances/${uid(3)}`;
    for (const path of [instance, `${instance}/rendered`, `${instance}/frames/1`, `${instance}/metadata`]) {
      const headers = { origin: VIEWER, authorization: `Bearer ${host.admin}` };
      const answer = await ask(path, { headers });
      await answer.arrayBuffer();
      expect([path, answer.status]).toEqual([path, 200]);
      const named = answer.headers.get('vary')!.split(', ');
      expect(named).toEqual(expect.arrayContaining(['accept', 'origin']));
      expect(new Set(named).size).toBe(named.length);
    }
  });

  test('learns before it asks whether it may', async () => {
    for (const [origin, allowed] of [
      [VIEWER, VIEWER],
      [EVIL, null],
    ] as const) {
      const headers = { origin, 'access-control-request-method': 'DELETE' };
      const answer = await ask(`/dicomweb/studies/${uid(1)}`, { method: 'OPTIONS', headers });
      expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([204, allowed]);
    }
  });

  test('changes nothing with the cookie of whoever has signed in', async () => {
    const change = (headers: Record<string, string>) =>
      ask('/api/tokens', {
        method: 'POST',
        headers: { cookie, 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ name: 'robot', subject: 'robot', roles: ['viewer'] }),
      });
    for (const wrong of [{ origin: EVIL }, { 'sec-fetch-site': 'cross-site' }, { origin: 'null' }])
      expect((await change(wrong as Record<string, string>)).status, JSON.stringify(wrong)).toBe(403);
    const removal = await ask(`/dicomweb/studies/${uid(1)}`, { method: 'DELETE', headers: { cookie, origin: EVIL } });
    expect(removal.status).toBe(403);
    expect((await change({ 'sec-fetch-site': 'same-origin', origin: host.origin })).status).toBe(201);
    expect((await ask('/dicomweb/studies', { headers: { cookie } })).status).toBe(200);
  });

  test('is shown nothing that its browser would run, whatever it asks for', async () => {
    for (const path of ['/dicomweb/studies', '/api/session', '/api/nothing', `/dicomweb/studies/${uid(1)}/metadata`]) {
      const answer = await ask(path, { headers: { authorization: `Bearer ${host.admin}` } });
      await answer.arrayBuffer();
      expect([path, answer.headers.get('x-content-type-options')]).toEqual([path, 'nosniff']);
      expect(answer.headers.get('content-security-policy')).toMatch(/default-src 'none'.*sandbox/);
    }
  });
});

describe.each([
  ['embedded', () => embeddedHost()],
  ['lambda', () => lambdaHost()],
] as const)('bodies beyond their limit, at the %s host', (_, open) => {
  test('are refused, not held', async () => {
    const host = await open();
    try {
      const answer = await fetch(`${host.origin}/api/tokens`, {
        method: 'POST',
        headers: { authorization: `Bearer ${host.admin}`, 'content-type': 'application/json' },
        body: JSON.stringify({ name: 'x'.repeat(4_000_000) }),
      });
      expect(answer.status).toBe(413);
    } finally {
      await host.close();
    }
  });
});
