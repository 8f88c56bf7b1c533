import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BODY_END, PART_END, PART_HEAD, STOW_TYPE } from '#test/bench/client.ts';
import { bodyOf } from '#test/bench/large.ts';
import { largeObject } from '#test/bench/large-data.ts';
import { bareEnvironment } from '#test/fixtures/bare-environment.ts';
import { dicomwebSuite } from '#test/hosts/dicomweb-suite.ts';
import { httpHost } from '#test/hosts/service-host.ts';
import { type Engine, startDynamoDb, startMiniStack } from './helpers/engines.ts';
import { prepareService } from './helpers/service-environment.ts';

/** The service as its container runs it: its bundle, started as a process, told by its environment alone. */
const ROOT = join(import.meta.dirname, '../..');
const BIG_BYTES = Number(process.env.NEPHOS_CLOUD_BIG_BYTES ?? 200e6);
const FRAME_BYTES = 512 * 512 * 2;
const RSS_LIMIT_BYTES = 450e6;
const START_MS = 240_000;

let folder: string;
let database: Engine;
let stack: Engine;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nephos-service-'));
  await promisify(execFile)(process.execPath, ['edge-gateway/build.ts', folder, 'service'], { cwd: ROOT });
  [database, stack] = await Promise.all([startDynamoDb(), startMiniStack()]);
});
afterAll(async () => {
  await Promise.all([database?.stop(), stack?.stop(), rm(folder, { recursive: true })]);
});

interface Running {
  readonly port: number;
  readonly token: string;
  peakRssBytes(): Promise<number>;
  healthCheck(): Promise<number | null>;
  /** SIGTERM, and the exit code */
  stop(): Promise<number | null>;
}

/** The service on a table, a bucket and queues of its own, told of no more than it is granted. */
async function startService(): Promise<Running> {
  const prepared = await prepareService(database, stack);
  const { token } = prepared;
  const env = { ...bareEnvironment, NODE_ENV: 'production', ...prepared.env, NEPHOS_HTTP_PORT: '0' };
  const child = spawn(process.execPath, [join(folder, 'service.js')], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes: Buffer) => {
      said = (said + bytes.toString()).slice(-20_000);
    });
  const exited = once(child, 'exit');
  const giveUpAt = Date.now() + START_MS;
  let port: number | undefined;
  while (port === undefined) {
    const listening = /"event":"listening".*?"port":(\d+)/.exec(said);
    if (listening) port = Number(listening[1]);
    else if (child.exitCode !== null || Date.now() > giveUpAt) throw new Error(`the service did not start: ${said}`);
    else await sleep(20);
  }
  return {
    port,
    token,
    async peakRssBytes() {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
      return Number(/VmHWM:\s+(\d+) kB/.exec(status)![1]) * 1024;
    },
    async healthCheck() {
      const check = spawn(process.execPath, [join(folder, 'healthcheck.js')], {
        env: { NEPHOS_HTTP_PORT: String(port) },
        stdio: 'ignore',
      });
      const [code] = await once(check, 'exit');
      return code as number | null;
    },
    async stop() {
      child.kill('SIGTERM');
      await exited;
      return child.exitCode;
    },
  };
}

dicomwebSuite(
  'the service of the cloud on DynamoDB Local and MiniStack',
  async () => {
    const service = await startService();
    return httpHost(service.port, service.token, async () => {
      await service.stop();
    });
  },
  { uploadsElsewhere: 'store transactions are for the functions: the service has no landing bucket' },
);

test(`an object of ${BIG_BYTES} bytes goes in and out with the grants of the service alone, in constant memory`, async () => {
  const service = await startService();
  // It gives up after four seconds, and the container's engine looks again.
  await expect.poll(() => service.healthCheck()).toBe(0);
  const object = largeObject(7, Math.floor(BIG_BYTES / FRAME_BYTES), { encapsulated: true });
  const root = `http://127.0.0.1:${service.port}/dicomweb/studies`;
  const authorization = `Bearer ${service.token}`;
  const length = PART_HEAD.length + object.sizeBytes + PART_END.length + BODY_END.length;
  const stored = await fetch(root, {
    method: 'POST',
    headers: { authorization, 'content-type': STOW_TYPE, 'content-length': String(length) },
    body: ReadableStream.from(bodyOf(object)) as never,
    duplex: 'half',
  } as RequestInit);
  expect(stored.status, await stored.text()).toBe(200);

  const sent = createHash('sha256');
  for (const piece of object.pieces()) sent.update(piece);
  const study = await fetch(`${root}/${object.StudyInstanceUID}`, {
    headers: { authorization, accept: 'multipart/related; type="application/dicom"; transfer-syntax=*' },
  });
  expect(study.status).toBe(200);
  expect(await sha256OfPart(study.body as unknown as AsyncIterable<Uint8Array>, object.sizeBytes)).toBe(
    sent.digest('hex'),
  );
  const peak = await service.peakRssBytes();
  console.log(`${object.sizeBytes} bytes in and out; the service took at most ${Math.round(peak / 2 ** 20)} MiB`);
  expect(peak).toBeLessThan(RSS_LIMIT_BYTES);
  expect(await service.stop()).toBe(0);
}, 1_800_000);

/** SHA-256 of the one part of a multipart answer, never held. */
async function sha256OfPart(body: AsyncIterable<Uint8Array>, sizeBytes: number): Promise<string> {
  const hash = createHash('sha256');
  let head: Buffer<ArrayBufferLike> | undefined = Buffer.alloc(0);
  let left = sizeBytes;
  for await (const chunk of body) {
    let data: Buffer<ArrayBufferLike> = Buffer.from(chunk);
    if (head !== undefined) {
      head = Buffer.concat([head, data]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) continue;
      data = head.subarray(end + 4);
      head = undefined;
    }
    hash.update(data.subarray(0, left));
    left -= Math.min(left, data.length);
  }
  expect(left).toBe(0);
  return hash.digest('hex');
}
