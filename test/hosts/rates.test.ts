import '#test/fixtures/quiet-powertools.ts';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { systemClock } from '#adapters/system-clock.ts';
import { TokenStore } from '#core/tokens.ts';
import { createApp } from '#embedded/app.ts';
import { openArchive } from '#embedded/archive.ts';
import { readConfig } from '#embedded/config.ts';
import { createHttpHost } from '#embedded/http-host.ts';
import { createLog } from '#embedded/log.ts';
import { startService } from '#fargate/service.ts';
import { cloudArchive } from '#lambda/archive.ts';
import { readLambdaConfig } from '#lambda/config.ts';
import { buildDicom } from '#test/fixtures/dicom-builder.ts';
import { startLambdaFront } from '#test/fixtures/lambda-front.ts';
import { memoryServices, noPixels } from '#test/fixtures/services.ts';
import { multipart } from './client.ts';

// Rates through running hosts, at a time that stands still until told: one server process, and several sandboxes of the cloud on one table.
interface Doors {
  /** each a process, or a sandbox, of its own */
  readonly origins: readonly string[];
  readonly tokens: TokenStore;
  advance(ms: number): void;
}
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const TENANTS = ['clinic', 'north'];
const quiet = createLog('error', () => {});

async function embedded(rates: Record<string, string>): Promise<Doors> {
  const dataDir = await mkdtemp(join(tmpdir(), 'nephos-rates-'));
  const config = readConfig({ NEPHOS_DATA_DIR: dataDir, NEPHOS_TENANT: TENANTS[0]!, ...rates });
  const archive = await openArchive(config);
  const start = Date.now();
  let passed = 0;
  const clock = { ...systemClock, now: () => start + passed };
  const { answer } = createApp({
    archive: { ...archive, services: { ...archive.services, clock } },
    config,
    log: quiet,
  });
  const server = createHttpHost({ answer, publicUrl: undefined }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    server.closeAllConnections();
    server.close();
    await archive.close();
    await rm(dataDir, { recursive: true });
  });
  return {
    origins: [`http://127.0.0.1:${(server.address() as AddressInfo).port}`],
    tokens: archive.tokens,
    advance(ms) {
      passed += ms;
    },
  };
}

async function cloud(rates: Record<string, string>, sandboxes = 4, tasks = 0): Promise<Doors> {
  const config = readLambdaConfig({ NEPHOS_TENANTS: TENANTS.join(','), ...rates }, false);
  const memory = memoryServices();
  const origins: string[] = [];
  for (let i = 0; i < sandboxes; i++) {
    const front = await startLambdaFront(cloudArchive(config, memory, false));
    closing.push(() => front.close());
    origins.push(front.origin);
  }
  for (let i = 0; i < tasks; i++) {
    const ports = { ...memory, pixels: { ...noPixels, close: async () => {} } };
    const service = await startService({ config, ports, port: 0, bind: '127.0.0.1', log: quiet });
    closing.push(() => service.close());
    origins.push(`http://127.0.0.1:${service.port}`);
  }
  return { origins, tokens: new TokenStore(memory), advance: (ms) => memory.clock.advance(ms) };
}

const PATH = '/dicomweb/studies';
async function ask(origin: string, token: string, headers: Record<string, string> = {}): Promise<Response> {
  const answer = await fetch(origin + PATH, { headers: { authorization: `Bearer ${token}`, ...headers } });
  await answer.arrayBuffer();
  return answer;
}

/** One request after another, each to the next door, until every door refuses. @returns how many passed */
async function exhausted({ origins }: Doors, token: string): Promise<number> {
  let passed = 0;
  for (let refused = 0; refused < 2 * origins.length; ) {
    const answer = await ask(origins[(passed + refused) % origins.length]!, token);
    if (answer.status === 429) {
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      refused++;
    } else {
      expect(answer.status).toBe(200);
      passed++;
    }
  }
  return passed;
}

const THREE = { NEPHOS_RATE_REQUESTS: '3' };

describe.each([
  ['one server process', () => embedded({ ...THREE, NEPHOS_WORKERS: '1' })],
  ['one server process of several', () => embedded({ ...THREE, NEPHOS_WORKERS: '3' })],
  ['four sandboxes of the functions', () => cloud(THREE)],
  ['functions, and two tasks of the service beside them', () => cloud(THREE, 2, 2)],
])('a principal who asks more than the rate, at %s', (name, open) => {
  test('is refused at the same total, and let in again as time passes; nobody else is', async () => {
    const doors = await open();
    const greedy = await doors.tokens.renewGateway(TENANTS[0]!, 'ct');
    const colleague = await doors.tokens.renewGateway(TENANTS[0]!, 'mr');
    const namesake = await doors.tokens.renewGateway(TENANTS[1]!, 'ct');
    expect(await exhausted(doors, greedy)).toBe(15); // five seconds of it
    for (const origin of doors.origins) {
      expect((await ask(origin, greedy)).status).toBe(429);
      expect((await ask(origin, colleague)).status).toBe(200);
      if (!name.startsWith('one')) expect((await ask(origin, namesake)).status).toBe(200);
    }
    doors.advance(2_000);
    expect(await exhausted(doors, greedy)).toBe(6);
    doors.advance(3_600_000);
    expect(await exhausted(doors, greedy)).toBe(15);
  });
});

test('requests that meet at all sandboxes at once pass no oftener', async () => {
  const doors = await cloud({ NEPHOS_RATE_REQUESTS: '10' }, 8);
  const greedy = await doors.tokens.renewGateway(TENANTS[0]!, 'ct');
  const answers = await Promise.all(Array.from({ length: 160 }, (_, i) => ask(doors.origins[i % 8]!, greedy)));
  const passed = answers.filter(({ status }) => status === 200).length;
  expect(passed).toBeLessThanOrEqual(50);
  expect(passed).toBeGreaterThan(40);
  expect(answers.filter(({ status }) => status === 429)).toHaveLength(160 - passed);
});

describe('tokens that are not valid, at several sandboxes', () => {
  const RATES = { NEPHOS_RATE_FAILURES: '3' };
  // CloudFront adds the address of whoever asked, API Gateway that of CloudFront.
  const from = (viewer: string) => ({ 'x-forwarded-for': `${viewer}, 130.176.1.1` });

  test('are answered 401 as often as the rate says, then 429 and when to come again, whichever sandbox is asked', async () => {
    const { origins, advance } = await cloud(RATES);
    const guess = async (i: number) => ask(origins[i % 4]!, `nephos_guess${i}`, from('203.0.113.9'));
    const seen: number[] = [];
    for (let i = 0; i < 8; i++) seen.push((await guess(i)).status);
    expect(seen).toEqual([401, 401, 401, 429, 429, 429, 429, 429]);
    expect((await guess(9)).headers.get('retry-after')).toBe('20');
    advance(20_000);
    expect((await guess(10)).status).toBe(401);
    expect((await guess(11)).status).toBe(429);
  });

  test('do not shut out neighbours at work, at sandboxes neither, nor anybody elsewhere', async () => {
    const { origins, tokens, advance } = await cloud(RATES);
    const atWork = await tokens.renewGateway(TENANTS[0]!, 'ct');
    const newcomer = await tokens.renewGateway(TENANTS[0]!, 'mr');
    expect((await ask(origins[0]!, atWork, from('203.0.113.9'))).status).toBe(200);
    for (let i = 0; i < 4; i++) await ask(origins[1]!, 'nephos_guess', from('203.0.113.9'));
    advance(5_000); // so long a sandbox believes that nobody has failed
    for (const origin of origins) {
      // It may be a guess as well; he who was let in before is known to all.
      expect((await ask(origin, newcomer, from('203.0.113.9'))).status).toBe(429);
      expect((await ask(origin, atWork, from('203.0.113.9'))).status).toBe(200);
    }
    for (const origin of origins) expect((await ask(origin, newcomer, from('203.0.113.10'))).status).toBe(200);
  });

  test('count for the address that the claim comes from, too: who writes the header himself gets little further', async () => {
    const { origins } = await cloud(RATES);
    const seen: number[] = [];
    for (let i = 0; i < 70; i++)
      seen.push((await ask(origins[i % 4]!, 'nephos_guess', from(`198.51.100.${i}`))).status);
    // Twenty clients behind one address of CloudFront may each fail three times.
    expect(seen.filter((status) => status === 401)).toHaveLength(60);
    expect(seen.slice(60).every((status) => status === 429)).toBe(true);
  });
});

test('whoever has sent more bytes than the rate gives is refused at every sandbox until they are paid', async () => {
  const { origins, tokens, advance } = await cloud({ NEPHOS_RATE_BYTES: '65536' });
  const sender = await tokens.renewGateway(TENANTS[0]!, 'ct');
  const object = multipart([buildDicom({}, { frames: [Buffer.alloc(655_360)] })]);
  const headers = { ...object.headers, authorization: `Bearer ${sender}` };
  const body = Buffer.from(object.body);
  expect((await fetch(origins[0]! + PATH, { method: 'POST', headers, body })).status).toBe(200);
  for (const origin of origins) {
    const { status, headers: answered } = await fetch(origin + PATH, { method: 'POST', headers, body });
    expect(status).toBe(429);
    expect(Number(answered.get('retry-after'))).toBeGreaterThanOrEqual(5);
  }
  advance(7_000);
  expect((await ask(origins[2]!, sender)).status).toBe(200);
});
