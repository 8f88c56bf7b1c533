import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '#test/fixtures/free-port.ts';

/**
 * The engines that stand in for AWS: DynamoDB Local and MiniStack, as scripts/install-peers cloud has put them there. Each test file
 * starts its own, on a free port of the loopback interface.
 */
const PEERS = process.env.NEPHOS_PEERS_DIR ?? '/var/tmp/nephos-peers';
const DYNAMODB = join(PEERS, 'dynamodb');
const MINISTACK_PYTHON = join(PEERS, 'ministack', 'bin', 'python');

export interface Engine {
  readonly endpoint: string;
  stop(): Promise<void>;
}

const STARTED_WITHIN_MS = 240_000;
/** of one look whether it answers */
const LOOK_MS = 10_000;
const KILL_AFTER_MS = 2_000;

/** Amazon's DynamoDB Local, in memory. It knows no address to bind to and listens on every interface while it runs. */
export async function startDynamoDb(): Promise<Engine> {
  const port = await freePort();
  return start('DynamoDB Local', port, 'java', [
    `-Djava.library.path=${join(DYNAMODB, 'DynamoDBLocal_lib')}`,
    '-Xmx512m',
    '-jar',
    join(DYNAMODB, 'DynamoDBLocal.jar'),
    '-inMemory',
    '-sharedDb',
    '-disableTelemetry',
    '-port',
    String(port),
  ]);
}

/** MiniStack: S3, SQS and the rest of AWS. `env` may name what its Lambda functions need. */
export async function startMiniStack(env: Readonly<Record<string, string>> = {}): Promise<Engine> {
  const port = await freePort();
  return start('MiniStack', port, MINISTACK_PYTHON, ['-m', 'ministack'], {
    BIND_HOST: '127.0.0.1',
    GATEWAY_PORT: String(port),
    IOT_MTLS_ENABLED: '0',
    SFTP_ENABLED: '0',
    ...env,
  });
}

async function start(
  name: string,
  port: number,
  command: string,
  options: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Engine> {
  if (!existsSync(join(DYNAMODB, '.installed')) || !existsSync(MINISTACK_PYTHON))
    throw new Error('the AWS engines are missing: run scripts/install-peers cloud');
  // DynamoDB Local reads a file where it is started, and writes one: another that starts at the same time has its own.
  const cwd = mkdtempSync(join(tmpdir(), 'nephos-engine-'));
  const child = spawn(command, options, {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes: Buffer) => {
      said.push(bytes.toString());
      if (said.length > 200) said.shift();
    });
  const failed = new Promise<never>((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}:\n${said.join('')}`)));
  });
  failed.catch(() => {});
  const end = async (): Promise<void> => {
    await stop(child);
    rmSync(cwd, { recursive: true, force: true });
  };
  const endpoint = `http://127.0.0.1:${port}`;
  try {
    await Promise.race([failed, answering(endpoint)]);
  } catch (error) {
    await end();
    throw error;
  }
  return { endpoint, stop: end };
}

async function answering(endpoint: string): Promise<void> {
  const giveUpAt = Date.now() + STARTED_WITHIN_MS;
  while (Date.now() < giveUpAt) {
    // any answer will do: 400 for a request without a signature is one
    if (
      await fetch(endpoint, { signal: AbortSignal.timeout(LOOK_MS) }).then(
        () => true,
        () => false,
      )
    )
      return;
    await sleep(100);
  }
  throw new Error(`nothing answers at ${endpoint}`);
}

/** By its id, first asked, then forced. */
async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const forced = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
  await ended;
  clearTimeout(forced);
}

/**
 * What every client of an engine needs beside `endpoint`. A call takes as long as it takes on a busy machine: one that were given up, or sent over a
 * connection that the engine is just closing, would be made again, and counted.
 */
export const ENGINE_IDENTITY = {
  region: 'us-east-1',
  credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  requestHandler: {
    connectionTimeout: 120_000,
    requestTimeout: 300_000,
    httpAgent: { maxSockets: 128, keepAlive: false },
  },
} as const;
