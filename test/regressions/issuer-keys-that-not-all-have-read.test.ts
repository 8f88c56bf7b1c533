import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { rotateIssuerKeys } from '#adapters/local/issuer-keys.ts';
import { systemClock } from '#adapters/system-clock.ts';
import type { HttpResponse } from '#dicomweb/http.ts';
import { type Login, openLogin } from '#embedded/issuer/login.ts';
import { chunked, memoryServices } from '#test/fixtures/services.ts';

// For some seconds after a rotation of the issuer's keys a process that had read them signed what the others did not know: a sign-in that
// was begun at the one had run out at the other.

const ORIGIN = 'http://127.0.0.1:8080';
let dataDir: string;
let ahead = 0;
let one: Login;
let other: Login;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'nephos-issuer-'));
  ahead = 0;
  const services = memoryServices({ ports: { clock: { ...systemClock, now: () => Date.now() + ahead } } });
  const config = { auth: 'on', dataDir, tenant: 'main', oidc: undefined } as const;
  const thrown = (error: unknown): never => {
    throw error;
  };
  one = (await openLogin({ services }, config, thrown))!;
  other = (await openLogin({ services }, config, thrown))!;
});
afterEach(() => rm(dataDir, { recursive: true }));

async function ask(process: Login, target: string, cookie = ''): Promise<HttpResponse> {
  const { pathname, searchParams } = new URL(target, ORIGIN);
  const request = { method: 'GET', path: pathname, query: searchParams, origin: ORIGIN };
  return (await process.answer({ ...request, headers: { cookie }, body: chunked(new Uint8Array()) }))!;
}
const signingKey = async (process: Login): Promise<string> =>
  JSON.parse(String((await ask(process, '/oidc/jwks')).body)).keys[0].kid;

const SIGN_IN = new URLSearchParams({
  client_id: 'console',
  response_type: 'code',
  scope: 'openid',
  redirect_uri: `${ORIGIN}/api/session/callback`,
  code_challenge: 'a'.repeat(43),
  code_challenge_method: 'S256',
});
/** Begins a sign-in at one process, and opens its page at another. @returns the status of the page */
async function acrossProcesses(begunAt: Login, openedAt: Login): Promise<number> {
  const begun = await ask(begunAt, `/oidc/auth?${SIGN_IN}`);
  const cookie = begun.cookies!.map((line) => line.split(';')[0]).join('; ');
  return (await ask(openedAt, begun.headers.location!, cookie)).status;
}

test('keys sign when every process has read them', async () => {
  const before = await signingKey(one);
  ahead += 3_000;
  expect(await signingKey(other)).toBe(before);
  await rotateIssuerKeys(dataDir);
  // The one looks at the file every five seconds, and has the new keys by now; the other has looked a moment ago.
  ahead += 3_000;
  expect(await acrossProcesses(one, other)).toBe(200);
  expect(await acrossProcesses(other, one)).toBe(200);
  ahead += 30_000;
  const after = await signingKey(one);
  expect(after).not.toBe(before);
  expect(await acrossProcesses(one, other)).toBe(200);
  expect(await signingKey(other)).toBe(after);
});
