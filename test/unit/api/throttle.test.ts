import { beforeEach, describe, expect, test } from 'vitest';
import { createArchiveApp } from '#api/app.ts';
import { Throttle, type ThrottleRates } from '#api/throttle.ts';
import type { Principal } from '#core/access.ts';
import { PacsError } from '#core/errors.ts';
import type { RateLedger } from '#core/ports/rate-ledger.ts';
import { IndexRateLedger } from '#core/rate-accounts.ts';
import { TokenStore } from '#core/tokens.ts';
import type { HttpRequest } from '#dicomweb/http.ts';
import { readConfig } from '#embedded/config.ts';
import { chunked, memoryServices, TENANT } from '#test/fixtures/services.ts';
import { standIn } from '#test/fixtures/stand-in.ts';

type Kind = 'of one process' | 'shared';

function anArchive(rates: ThrottleRates, kind: Kind = 'of one process') {
  const services = memoryServices();
  const tokens = new TokenStore(services);
  const ledger = kind === 'shared' ? new IndexRateLedger(services.index) : undefined;
  const throttle = new Throttle(rates, services.clock, { ledger });
  const app = createArchiveApp({ services, tokens, throttle, corsOrigins: [], tenant: TENANT, onFailure: () => {} });
  const ask = async (token: string | undefined, from = '10.0.0.7', more: Partial<HttpRequest> = {}) => {
    const answered = await app.answer({
      method: 'GET',
      path: '/dicomweb/studies',
      query: new URLSearchParams(),
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      body: chunked(Buffer.alloc(0)),
      origin: 'http://pacs.test',
      remoteAddress: from,
      ...more,
    });
    return { status: answered!.response.status, retryAfter: answered!.response.headers['retry-after'] };
  };
  const signIn = (token: string, from?: string) =>
    ask(undefined, from, {
      method: 'POST',
      path: '/api/session',
      body: chunked(Buffer.from(JSON.stringify({ token }))),
    });
  return { services, throttle, tokens, ask, signIn, clock: services.clock };
}

const statuses = async (asked: () => Promise<{ status: number }>, times: number): Promise<string> => {
  const all: number[] = [];
  for (let i = 0; i < times; i++) all.push((await asked()).status);
  return all.join(' ');
};

describe.each<Kind>(['of one process', 'shared'])('requests of one principal, %s', (kind) => {
  let archive: ReturnType<typeof anArchive>;
  let admin = '';
  let gateway = '';
  beforeEach(async () => {
    archive = anArchive({ requestsPerSecond: 1 }, kind);
    admin = (await archive.tokens.bootstrap(TENANT))!;
    gateway = await archive.tokens.renewGateway(TENANT, 'north');
  });

  test('above the rate are answered with 429 and when to come again; the rate comes back with time', async () => {
    expect(await statuses(() => archive.ask(admin), 6)).toBe('200 200 200 200 200 429');
    expect(await archive.ask(admin)).toEqual({ status: 429, retryAfter: '1' });
    archive.clock.advance(2_000);
    expect(await statuses(() => archive.ask(admin), 3)).toBe('200 200 429');
    archive.clock.advance(3_600_000); // an hour away is no more than a burst
    expect(await statuses(() => archive.ask(admin), 6)).toBe('200 200 200 200 200 429');
  });

  test('that come at once are no more than those that come one after another', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => archive.ask(admin)));
    expect(all.filter(({ status }) => status === 200)).toHaveLength(5);
  });

  test('are counted from all addresses together, and do not slow others', async () => {
    for (let i = 0; i < 5; i++) await archive.ask(admin, `10.0.0.${i}`);
    expect((await archive.ask(admin, '10.0.0.9')).status).toBe(429);
    expect((await archive.ask(gateway, '10.0.0.9')).status).toBe(200);
  });

  test('health is answered at any rate', async () => {
    expect(await statuses(() => archive.ask(admin, '10.0.0.1', { path: '/healthz' }), 20)).toBe(
      Array(20).fill(200).join(' '),
    );
  });
});

describe.each<Kind>(['of one process', 'shared'])('requests from one address, %s', (kind) => {
  test.each([
    ['10.0.0.7', '10.0.0.7', 429],
    ['10.0.0.7', '::ffff:10.0.0.7', 429],
    ['10.0.0.7', '10.0.0.8', 401],
    ['2001:db8:1:2::5', '2001:db8:1:2:ffff:1:2:3', 429],
    ['2001:db8:1:2::5', '2001:db8:1:3::5', 401],
    ['2001:db8::1', '2001:db8:0:0:9::', 429],
    ['127.0.0.1', '127.0.0.1', 401],
    ['::1', '::1', 401],
  ])('%s too often, then from %s: %d, with a token or without', async (often, then, status) => {
    const archive = anArchive({ addressRequestsPerSecond: 1 }, kind);
    for (let i = 0; i < 5; i++) await archive.ask(undefined, often);
    expect((await archive.ask(undefined, then)).status).toBe(status);
  });
});

describe.each<Kind>(['of one process', 'shared'])('tokens that are not valid, %s', (kind) => {
  const rates = { failuresPerMinute: 3 };

  test('are slowed, at the login as elsewhere, from that address alone', async () => {
    const archive = anArchive(rates, kind);
    const admin = (await archive.tokens.bootstrap(TENANT))!;
    expect(await statuses(() => archive.ask('nephos_guess'), 2)).toBe('401 401');
    expect(await statuses(() => archive.signIn('nephos_guess'), 2)).toBe('401 429');
    expect(await archive.ask('nephos_guess')).toEqual({ status: 429, retryAfter: '20' });
    expect((await archive.ask(admin)).status).toBe(429); // it may be a guess as well
    expect((await archive.signIn(admin)).status).toBe(429);
    expect((await archive.ask(admin, '10.0.0.8')).status).toBe(200);
    archive.clock.advance(20_000);
    expect((await archive.signIn(admin)).status).toBe(200);
  });

  test('do not shut out who worked from that address before', async () => {
    const archive = anArchive(rates, kind);
    const admin = (await archive.tokens.bootstrap(TENANT))!;
    expect((await archive.ask(admin)).status).toBe(200);
    await statuses(() => archive.ask('nephos_guess'), 5);
    expect((await archive.ask('nephos_guess')).status).toBe(429);
    expect((await archive.ask(admin)).status).toBe(200);
  });

  test('from more addresses than are remembered take no more memory: a process forgets the oldest', async () => {
    const archive = anArchive(rates, kind);
    await statuses(() => archive.ask('nephos_guess', '192.0.2.1'), 4);
    for (let i = 0; i < 10_000; i++) await archive.throttle.tokenFailed({ remoteAddress: `10.1.${i >> 8}.${i & 255}` });
    expect((await archive.ask('nephos_guess', '192.0.2.1')).status).toBe(kind === 'shared' ? 429 : 401);
  });
});

describe('when the ledger of shared rates fails', () => {
  function aProcess(rates: ThrottleRates, fails: () => boolean) {
    const services = memoryServices();
    const inner = new IndexRateLedger(services.index);
    const failures: unknown[] = [];
    let asked = 0;
    const ask = async <T>(call: () => Promise<T>): Promise<T> => {
      asked++;
      if (fails()) throw new PacsError('BUSY', 'a service of AWS is busy or cannot be reached');
      return call();
    };
    const ledger: RateLedger = {
      advance: (account, name, step) => ask(() => inner.advance(account, name, step)),
      read: (account) => ask(() => inner.read(account)),
    };
    const throttle = new Throttle(rates, services.clock, { ledger, onFailure: (error) => failures.push(error) });
    return { throttle, clock: services.clock, failures, asked: () => asked };
  }
  const reader: Principal = { tenant: TENANT, subject: 'reader', roles: ['viewer'] };
  const request = standIn<HttpRequest>({ body: chunked(Buffer.alloc(0)) });

  test('nobody is refused because of it: each process keeps the rate by itself, says so, and asks again after a while', async () => {
    let fails = true;
    const { throttle, clock, failures, asked } = aProcess({ requestsPerSecond: 10 }, () => fails);
    for (let i = 0; i < 50; i++) await throttle.admit(request, reader);
    await expect(throttle.admit(request, reader)).rejects.toMatchObject({ code: 'TOO_MANY_REQUESTS' });
    expect([failures.length, asked()]).toEqual([1, 1]);
    clock.advance(5_000);
    fails = false;
    await throttle.admit(request, reader);
    expect(asked()).toBe(2);
    expect(failures).toHaveLength(1);
  });

  test('a token is looked at, and a body passes', async () => {
    const { throttle, failures } = aProcess({ failuresPerMinute: 3, bytesPerSecond: 100 }, () => true);
    await throttle.admitToken({ remoteAddress: '192.0.2.1' }, 'nephos_guess');
    await throttle.tokenFailed({ remoteAddress: '192.0.2.1' });
    await throttle.tokenHeld('nephos_held');
    await throttle.answer({ status: 200, headers: {}, body: 'x'.repeat(400) }, reader);
    await throttle.admit(request, reader);
    expect(failures).toHaveLength(1);
  });
});

describe('bytes of one principal', () => {
  const reader: Principal = { tenant: TENANT, subject: 'reader', roles: ['viewer'] };
  const asRequest = (body: AsyncIterable<Uint8Array>) => ({ body }) as unknown as HttpRequest;

  test('above the rate are read, and answered, later: never lost, never out of order', async () => {
    const { clock, services } = anArchive({});
    const slept: number[] = [];
    const throttle = new Throttle(
      { bytesPerSecond: 1_000 },
      {
        ...services.clock,
        now: clock.now,
        randomBytes: clock.randomBytes,
        sleep: async (ms) => {
          slept.push(ms);
          clock.advance(ms);
        },
      },
    );
    const bytes = Buffer.from(Array.from({ length: 20_000 }, (_, i) => i % 251));
    const read = async (body: AsyncIterable<Uint8Array>): Promise<Buffer> => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of body) chunks.push(chunk);
      return Buffer.concat(chunks);
    };
    expect((await read((await throttle.admit(asRequest(chunked(bytes)), reader)).body)).equals(bytes)).toBe(true);
    expect(slept.reduce((sum, ms) => sum + ms, 0)).toBe(15_000); // 5 s of it were free
    const { body } = await throttle.answer({ status: 200, headers: {}, body: chunked(bytes) }, reader);
    expect((await read(body as AsyncIterable<Uint8Array>)).equals(bytes)).toBe(true);
    expect(slept.reduce((sum, ms) => sum + ms, 0)).toBe(35_000);
  });

  test('of answers that were whole are paid by the next request', async () => {
    const { clock, services } = anArchive({});
    const throttle = new Throttle({ bytesPerSecond: 1_000 }, services.clock);
    await throttle.answer({ status: 200, headers: {}, body: Buffer.alloc(8_000) }, reader);
    const request = asRequest(chunked(Buffer.alloc(0)));
    await expect(throttle.admit(request, reader)).rejects.toMatchObject({
      code: 'TOO_MANY_REQUESTS',
      details: { retryAfterSeconds: 3 },
    });
    clock.advance(3_000);
    await throttle.admit(request, reader);
  });

  test('a reader who stops early ends what was read for him', async () => {
    const { throttle } = anArchive({ bytesPerSecond: 1_000_000 });
    let ended = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield Buffer.alloc(10);
      } finally {
        ended = true;
      }
    }
    const { body } = await throttle.answer({ status: 200, headers: {}, body: source() }, reader);
    for await (const _ of body as AsyncIterable<Uint8Array>) break;
    expect(ended).toBe(true);
  });
});

describe('configuration of rates', () => {
  test('on loopback there are none; a network is served with generous ones; each can be set and switched off', () => {
    expect(readConfig({}).rates).toBeUndefined();
    expect(readConfig({ NEPHOS_BIND: '0.0.0.0' }).rates).toStrictEqual({
      requestsPerSecond: 2_000,
      bytesPerSecond: 1024 ** 3,
      addressRequestsPerSecond: 5_000,
      failuresPerMinute: 30,
    });
    expect(readConfig({ NEPHOS_RATE_REQUESTS: '10' }).rates).toMatchObject({ requestsPerSecond: 10 });
    expect(readConfig({ NEPHOS_BIND: '0.0.0.0', NEPHOS_RATE_BYTES: 'off' }).rates?.bytesPerSecond).toBeUndefined();
    expect(() => readConfig({ NEPHOS_RATE_FAILURES: '0' })).toThrow(/NEPHOS_RATE_FAILURES/);
  });
});
