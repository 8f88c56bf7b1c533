import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { build } from 'esbuild';
import { BUNDLE_FILE, BUNDLE_HANDLER, BUNDLING } from '#lambda/bundling.ts';
import { CODEC_FILE, FUNCTIONS, type FunctionName } from '#lambda/functions.ts';

const ROOT = join(import.meta.dirname, '../../..');
const PEERS = process.env.NEPHOS_PEERS_DIR ?? '/var/tmp/nephos-peers';
const RUNTIME = join(PEERS, 'lambda-ric/node_modules/aws-lambda-ric/index.mjs');
const API = '/2018-06-01/runtime';

/** What the function answered: a value, a stream with its metadata, or an error in the runtime's shape. */
export interface Invocation {
  /** ms from the event's being handed out to the first byte of the answer, and to its end */
  readonly firstByteMs: number;
  readonly totalMs: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly trailers: Readonly<Record<string, string | undefined>>;
  /** of a streamed HTTP answer, what stands before its body */
  readonly metadata?: { readonly statusCode: number; readonly headers: Record<string, string> };
  readonly body: Buffer;
  readonly isError: boolean;
}

export interface RunningFunction {
  /** ms from the start of the process to its first asking for work */
  readonly coldStartMs: number;
  /** `beforeReading`: nothing of the answer is read before it resolves */
  invoke(event: unknown, options?: { beforeReading?: (answer: IncomingMessage) => Promise<void> }): Promise<Invocation>;
  /** the most resident memory of the process so far (bytes) */
  peakMemoryBytes(): Promise<number>;
  readonly log: () => string;
  stop(): Promise<void>;
}

/** Bundles a function as the deployment does; the folder holds what its archive would. */
export async function bundle(name: FunctionName): Promise<{ folder: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'nephos-bundle-'));
  const { banner, mainFields, ...options } = BUNDLING;
  await build({
    ...options,
    mainFields: [...mainFields],
    banner: { js: banner },
    entryPoints: [join(ROOT, FUNCTIONS[name].entry)],
    outfile: join(folder, BUNDLE_FILE),
    absWorkingDir: ROOT,
    logLevel: 'error',
  });
  if (FUNCTIONS[name].codecs) {
    const entry = createRequire(import.meta.url).resolve('dcmjs-codecs');
    await copyFile(join(dirname(entry), CODEC_FILE), join(folder, CODEC_FILE));
  }
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

interface Pending {
  readonly event: unknown;
  readonly resolve: (invocation: Invocation) => void;
  readonly beforeReading?: ((answer: IncomingMessage) => Promise<void>) | undefined;
  at: number;
}

/** Runs a bundle in Lambda's own runtime for Node (aws-lambda-ric), against a Runtime API of ours. */
export async function startFunction(
  name: FunctionName,
  folder: string,
  env: Readonly<Record<string, string>>,
): Promise<RunningFunction> {
  const waiting: Pending[] = [];
  const running = new Map<string, Pending>();
  const asking: ServerResponse[] = [];
  let firstAsked: (() => void) | undefined;
  const asked = new Promise<void>((resolve) => {
    firstAsked = resolve;
  });
  let initError: string | undefined;
  let count = 0;

  const handOut = (): void => {
    while (waiting.length > 0 && asking.length > 0) {
      const pending = waiting.shift()!;
      const id = `00000000-0000-4000-8000-${String(++count).padStart(12, '0')}`;
      running.set(id, pending);
      pending.at = performance.now();
      asking
        .shift()!
        .writeHead(200, {
          'content-type': 'application/json',
          'lambda-runtime-aws-request-id': id,
          'lambda-runtime-deadline-ms': String(Date.now() + FUNCTIONS[name].timeoutSeconds * 1_000),
          'lambda-runtime-invoked-function-arn': `arn:aws:lambda:us-east-1:000000000000:function:${name}`,
          'lambda-runtime-trace-id': 'Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0',
        })
        .end(JSON.stringify(pending.event));
    }
  };

  const server = createServer(async (request, response) => {
    const [, id = '', action = ''] = /invocation\/([^/]+)\/?(\w*)$/.exec(request.url ?? '') ?? [];
    if (request.url === `${API}/invocation/next`) {
      firstAsked?.();
      asking.push(response);
      return handOut();
    }
    if (request.url === `${API}/init/error`) {
      initError = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>)).toString();
      firstAsked?.();
    } else {
      const pending = running.get(id)!;
      running.delete(id);
      pending.resolve(await received(request, pending, action === 'error'));
    }
    response.writeHead(202, { 'content-type': 'application/json' }).end('{"status":"OK"}');
  });
  // The runtime keeps its connections for as long as it likes.
  server.keepAliveTimeout = 0;
  server.requestTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const { memoryMiB } = FUNCTIONS[name];
  const startedAt = performance.now();
  const child = spawn(
    join(ROOT, 'node_modules/node/bin/node'),
    [`--max-old-space-size=${Math.floor(memoryMiB * 0.9)}`, RUNTIME, BUNDLE_HANDLER],
    {
      cwd: folder,
      env: {
        PATH: process.env.PATH ?? '',
        AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${(server.address() as AddressInfo).port}`,
        AWS_LAMBDA_FUNCTION_NAME: `nephos-${name}`,
        AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(memoryMiB),
        AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${name}`,
        AWS_LAMBDA_LOG_STREAM_NAME: '2026/11/22/[$LATEST]0',
        LAMBDA_TASK_ROOT: folder,
        _HANDLER: BUNDLE_HANDLER,
        AWS_REGION: 'us-east-1',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let log = '';
  child.stdout.on('data', (data) => (log += data));
  child.stderr.on('data', (data) => (log += data));
  await Promise.race([asked, once(child, 'exit')]);
  const coldStartMs = performance.now() - startedAt;
  const stop = async (): Promise<void> => {
    await end(child);
    server.close();
    server.closeAllConnections();
  };
  if (initError !== undefined || child.exitCode !== null) {
    await stop();
    throw new Error(`the function did not start: ${initError ?? log}`);
  }
  return {
    coldStartMs,
    stop,
    log: () => log,
    invoke: (event, { beforeReading } = {}) =>
      new Promise((resolve, reject) => {
        const died = () => reject(new Error(`the function died: ${log.slice(-2_000)}`));
        child.once('exit', died);
        const done = (invocation: Invocation) => {
          child.off('exit', died);
          resolve(invocation);
        };
        waiting.push({ event, resolve: done, beforeReading, at: 0 });
        handOut();
      }),
    async peakMemoryBytes() {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
      return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)![1]) * 1024;
    },
  };
}

async function received(request: IncomingMessage, pending: Pending, isError: boolean): Promise<Invocation> {
  await pending.beforeReading?.(request);
  const stream = request.pipe(new PassThrough());
  const chunks: Buffer[] = [];
  let firstByteMs = Number.NaN;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (chunks.length === 0) firstByteMs = performance.now() - pending.at;
    chunks.push(chunk);
  }
  const whole = Buffer.concat(chunks);
  const isHttp = request.headers['content-type'] === 'application/vnd.awslambda.http-integration-response';
  const at = isHttp ? whole.indexOf(Buffer.alloc(8)) : -1;
  return {
    firstByteMs,
    totalMs: performance.now() - pending.at,
    headers: request.headers,
    trailers: request.trailers,
    ...(at > 0 && { metadata: JSON.parse(whole.toString('utf8', 0, at)) }),
    body: at > 0 ? whole.subarray(at + 8) : whole,
    isError,
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** A module in place of a bundle, to see what the runtime itself does. */
export async function inlineFunction(source: string): Promise<{ folder: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'nephos-bundle-'));
  await writeFile(join(folder, BUNDLE_FILE), source);
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}
