import { beforeEach, describe, expect, test } from 'vitest';
import { apiRoutes } from '#api/routes.ts';
import type { Principal } from '#core/access.ts';
import { TokenStore } from '#core/tokens.ts';
import { Router } from '#dicomweb/router.ts';
import { memoryServices, TENANT } from '#test/fixtures/services.ts';

const ORIGIN = 'https://archive.test';
const ADMIN: Principal = { tenant: TENANT, subject: 'admin', roles: ['admin'] };
const EDGE: Principal = { tenant: TENANT, subject: 'gateway:radiology-1', roles: ['gateway'] };
const SIGNATURE = `${'A'.repeat(86)}==`;

const REPORT = {
  version: '0.1.0',
  startedAt: 1_700_000_000_000,
  everySeconds: 30,
  aeTitle: 'NEPHOS',
  queues: [
    {
      upstream: 'cloud',
      link: 'offline',
      paused: false,
      waiting: 12,
      waitingBytes: 6_000_000,
      oldestAt: 1_700_000_100_000,
      held: 1,
    },
  ],
  disk: { freeBytes: 10 ** 11, cacheBytes: 5_000, daysLeft: 3.5 },
  modalities: [{ aeTitle: 'CT1', lastSeenAt: 1_700_000_200_000, objects: 12 }],
  configuration: { number: null },
};

let services: ReturnType<typeof memoryServices>;
let router: Router;
beforeEach(() => {
  services = memoryServices();
  router = new Router(services, '/api', apiRoutes(new TokenStore(services)));
});

async function ask(principal: Principal, method: string, path: string, body?: unknown) {
  const { response } = await router.handle({
    method,
    path: `/api${path}`,
    query: new URLSearchParams(),
    headers: {},
    body: (async function* () {
      if (body !== undefined) yield Buffer.from(JSON.stringify(body));
    })(),
    origin: ORIGIN,
    principal,
  });
  return { status: response.status, body: response.body === undefined ? undefined : JSON.parse(String(response.body)) };
}

describe('a gateway that reports', () => {
  test('is listed with what it said, and when', async () => {
    expect((await ask(EDGE, 'PUT', '/gateways/radiology-1', REPORT)).status).toBe(200);
    const { body } = await ask(ADMIN, 'GET', '/gateways');
    expect(body.items).toEqual([
      { id: 'radiology-1', report: REPORT, receivedAt: services.clock.now(), isStale: false },
    ]);
  });

  test('is stale when three reports in a row have not come, and well again with the next', async () => {
    await ask(EDGE, 'PUT', '/gateways/radiology-1', REPORT);
    services.clock.advance(90_000);
    expect((await ask(ADMIN, 'GET', '/gateways/radiology-1')).body.isStale).toBe(false);
    services.clock.advance(1);
    expect((await ask(ADMIN, 'GET', '/gateways/radiology-1')).body.isStale).toBe(true);
    await ask(EDGE, 'PUT', '/gateways/radiology-1', REPORT);
    expect((await ask(ADMIN, 'GET', '/gateways/radiology-1')).body.isStale).toBe(false);
  });

  test('reports for itself alone, and sees no other', async () => {
    expect((await ask(EDGE, 'PUT', '/gateways/another', REPORT)).status).toBe(403);
    expect((await ask(EDGE, 'GET', '/gateways')).status).toBe(403);
    expect((await ask({ ...EDGE, roles: ['modality'] }, 'PUT', '/gateways/radiology-1', REPORT)).status).toBe(403);
  });

  test('is gone when it is forgotten', async () => {
    await ask(EDGE, 'PUT', '/gateways/radiology-1', REPORT);
    expect((await ask(EDGE, 'DELETE', '/gateways/radiology-1')).status).toBe(403);
    expect((await ask(ADMIN, 'DELETE', '/gateways/radiology-1')).status).toBe(204);
    expect((await ask(ADMIN, 'DELETE', '/gateways/radiology-1')).status).toBe(404);
    expect((await ask(ADMIN, 'GET', '/gateways')).body.items).toEqual([]);
  });

  test('what a report must not hold is dropped or refused', async () => {
    const told = { ...REPORT, PatientName: 'Doe^Jane', queues: [{ ...REPORT.queues[0], PatientID: '1' }] };
    await ask(EDGE, 'PUT', '/gateways/radiology-1', told);
    expect(JSON.stringify((await ask(ADMIN, 'GET', '/gateways')).body)).not.toMatch(/Patient/);
    for (const wrong of [
      { ...REPORT, everySeconds: 0 },
      { ...REPORT, version: 'x'.repeat(301) },
      { ...REPORT, disk: undefined },
      { ...REPORT, queues: Array.from({ length: 51 }, () => REPORT.queues[0]) },
      { ...REPORT, modalities: [{ aeTitle: 'CT1\n', lastSeenAt: 1, objects: 1 }] },
    ])
      expect((await ask(EDGE, 'PUT', '/gateways/radiology-1', wrong)).status).toBe(400);
    expect((await ask(ADMIN, 'PUT', '/gateways/Über', REPORT)).status).toBe(400);
  });
});

describe('a signed configuration', () => {
  const put = (number: number, principal = ADMIN) =>
    ask(principal, 'PUT', '/gateways/radiology-1/configuration', {
      number,
      document: `{"n":${number}}`,
      signature: SIGNATURE,
    });

  test('comes with the answer to a report until the gateway has it, or has refused it', async () => {
    expect((await put(4)).status).toBe(204);
    const given = { number: 4, document: '{"n":4}', signature: SIGNATURE };
    expect((await ask(EDGE, 'PUT', '/gateways/radiology-1', REPORT)).body).toEqual({ configuration: given });
    const has = (configuration: object) => ask(EDGE, 'PUT', '/gateways/radiology-1', { ...REPORT, configuration });
    expect((await has({ number: 3 })).body.configuration.number).toBe(4);
    expect((await has({ number: 4 })).body).toEqual({});
    expect((await has({ number: 3, refused: { number: 4, reason: 'wrong signature' } })).body).toEqual({});
    expect((await ask(ADMIN, 'GET', '/gateways')).body.items[0]).toMatchObject({
      configurationNumber: 4,
      report: { configuration: { refused: { number: 4, reason: 'wrong signature' } } },
    });
  });

  test('only grows in number, is put by administrators alone, and can be withdrawn', async () => {
    expect((await put(4, EDGE)).status).toBe(403);
    await put(4);
    expect((await put(4)).status).toBe(409);
    expect((await put(3)).status).toBe(409);
    expect((await put(5)).status).toBe(204);
    expect((await ask(EDGE, 'GET', '/gateways/radiology-1/configuration')).status).toBe(403);
    expect((await ask(ADMIN, 'GET', '/gateways/radiology-1/configuration')).body.number).toBe(5);
    expect((await ask(ADMIN, 'DELETE', '/gateways/radiology-1/configuration')).status).toBe(204);
    expect((await ask(EDGE, 'PUT', '/gateways/radiology-1', REPORT)).body).toEqual({});
  });

  test('is refused without the form of a signature', async () => {
    const body = { number: 1, document: '{}', signature: 'nonsense' };
    expect((await ask(ADMIN, 'PUT', '/gateways/radiology-1/configuration', body)).status).toBe(400);
    const large = { number: 1, document: 'x'.repeat(100_001), signature: SIGNATURE };
    expect((await ask(ADMIN, 'PUT', '/gateways/radiology-1/configuration', large)).status).toBe(413);
  });
});

test('a gateway’s token is its own; a new one ends the one before', async () => {
  const tokens = new TokenStore(services);
  const first = await tokens.renewGateway(TENANT, 'radiology-1');
  expect(await tokens.verify(first)).toEqual(EDGE);
  const other = await tokens.renewGateway(TENANT, 'radiology-2');
  const second = await tokens.renewGateway(TENANT, 'radiology-1');
  expect(await tokens.verify(first)).toBeUndefined();
  expect(await tokens.verify(second)).toEqual(EDGE);
  expect((await tokens.verify(other))?.subject).toBe('gateway:radiology-2');
});
