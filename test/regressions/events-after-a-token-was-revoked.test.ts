import { expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import { TokenStore } from '#core/tokens.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { chunked, memoryServices, store, TENANT } from '#test/fixtures/services.ts';

test('a stream of events ends when the token it was asked for with is revoked', async () => {
  const services = memoryServices();
  const tokens = new TokenStore(services);
  const app = createArchiveApp({ services, tokens, corsOrigins: [], tenant: TENANT, onFailure: () => {} });
  const asked = { name: 'x', subject: 'x', roles: ['admin'] as const, createdBy: 'admin', expiresAt: null };
  const { id, token } = await tokens.issue(TENANT, asked);
  const answered = await app.answer({
    method: 'GET',
    path: '/api/events',
    query: new URLSearchParams(),
    headers: { accept: 'text/event-stream', authorization: `Bearer ${token}` },
    body: chunked(new Uint8Array()),
    origin: 'http://pacs.test',
  });
  const stream = (answered!.response.body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  const next = async (): Promise<string | undefined> => {
    const { value, done } = await stream.next();
    return done ? undefined : Buffer.from(value).toString();
  };
  const slice = (n: number) => store(services, buildDicom({ SOPInstanceUID: uid(400 + n) }));
  expect(await next()).toContain(': open');
  await slice(1);
  expect(await next()).toContain(uid(401));
  // As long as the token holds it goes on.
  services.clock.advance(services.limits.reachStaleMs);
  await slice(2);
  expect(await next()).toContain(uid(402));
  await tokens.revokeIssued(TENANT, id);
  services.clock.advance(services.limits.reachStaleMs);
  await slice(3);
  expect(await next()).toBeUndefined();
});
