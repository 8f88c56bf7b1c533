import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * The measuring client: node:http with kept connections and bodies made beforehand, so that what it costs itself is about
 * 0.1 ms a request (nginx beside it shows how much). Rates come from wrk.
 */

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly bytes: number;
  readonly firstByteMs: number;
  readonly totalMs: number;
  /** only where asked for */
  readonly body?: Buffer;
}

const agents = new Map<string, Agent>();
function agentOf(origin: string): Agent {
  const agent = agents.get(origin) ?? new Agent({ keepAlive: true, maxSockets: 16, maxFreeSockets: 16 });
  agents.set(origin, agent);
  return agent;
}

export function closeConnections(): void {
  for (const agent of agents.values()) agent.destroy();
  agents.clear();
}

export interface Get {
  readonly accept: string;
  readonly keepBody?: boolean;
  readonly headers?: Record<string, string>;
}

/** @throws Error on any status over 299: a bench of refusals would look very fast. */
export function get(url: string, { accept, keepBody = false, headers = {} }: Get): Promise<Answer> {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const { origin } = new URL(url);
    const outgoing = request(url, { agent: agentOf(origin), headers: { accept, ...headers } }, (response) =>
      collect(response, started, keepBody, url).then(resolve, reject),
    );
    outgoing.on('error', reject);
    outgoing.end();
  });
}

/** POST the pieces as one body of known length. */
export function post(url: string, contentType: string, pieces: readonly Buffer[]): Promise<Answer> {
  const started = performance.now();
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  return new Promise((resolve, reject) => {
    const { origin } = new URL(url);
    const headers = { 'content-type': contentType, 'content-length': length, accept: 'application/dicom+json' };
    const outgoing = request(url, { method: 'POST', agent: agentOf(origin), headers }, (response) =>
      collect(response, started, false, url).then(resolve, reject),
    );
    outgoing.on('error', reject);
    outgoing.cork();
    for (const piece of pieces) outgoing.write(piece);
    outgoing.end();
    outgoing.uncork();
  });
}

/** POST a body that is too large to be made beforehand; waits for the connection to drain. */
export function postStream(
  url: string,
  contentType: string,
  length: number,
  pieces: Iterable<Buffer>,
): Promise<Answer> {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': contentType, 'content-length': length, accept: 'application/dicom+json' };
    const outgoing = request(url, { method: 'POST', agent: false, headers }, (response) =>
      collect(response, started, true, url).then(resolve, reject),
    );
    outgoing.on('error', reject);
    const send = async (): Promise<void> => {
      for (const piece of pieces) {
        if (!outgoing.write(piece)) await new Promise<void>((drained) => outgoing.once('drain', drained));
      }
      outgoing.end();
    };
    send().catch(reject);
  });
}

async function collect(response: IncomingMessage, started: number, keepBody: boolean, url: string): Promise<Answer> {
  let bytes = 0;
  let firstByteMs = performance.now() - started;
  const failed = (response.statusCode ?? 0) > 299;
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if (bytes === 0) firstByteMs = performance.now() - started;
    bytes += chunk.length;
    if (keepBody || failed) chunks.push(chunk);
  }
  const totalMs = performance.now() - started;
  if (failed) throw new Error(`${response.statusCode} for ${url}: ${Buffer.concat(chunks).toString('utf8', 0, 300)}`);
  const answer = { status: response.statusCode ?? 0, headers: response.headers, bytes, firstByteMs, totalMs };
  return keepBody ? { ...answer, body: Buffer.concat(chunks) } : answer;
}

const BOUNDARY = 'nephos-bench-boundary';
export const STOW_TYPE = `multipart/related; type="application/dicom"; boundary=${BOUNDARY}`;
export const PART_HEAD = Buffer.from(`--${BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n`);
export const PART_END = Buffer.from('\r\n');
export const BODY_END = Buffer.from(`--${BOUNDARY}--\r\n`);

/** A STOW-RS body of whole files, each given in pieces. */
export function stowPieces(files: readonly (readonly Buffer[])[]): Buffer[] {
  return [...files.flatMap((pieces) => [PART_HEAD, ...pieces, PART_END]), BODY_END];
}

/** Run `work` for every index below `count` by `clients` at once. @returns ms from the first to the last */
export async function inParallel(
  count: number,
  clients: number,
  work: (index: number) => Promise<void>,
): Promise<number> {
  const started = performance.now();
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: clients }, client));
  return performance.now() - started;
}

export interface WrkResult {
  readonly requestsPerSecond: number;
  readonly requests: number;
  readonly failures: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
}

/** wrk with one thread and `connections` kept connections, going round `paths` in order. */
export async function wrk(
  origin: string,
  paths: readonly string[],
  accept: string,
  { connections = 4, seconds = 3 }: { connections?: number; seconds?: number } = {},
): Promise<WrkResult> {
  const dir = mkdtempSync(join(tmpdir(), 'nephos-wrk-'));
  const script = join(dir, 'paths.lua');
  writeFileSync(join(dir, 'paths.txt'), paths.join('\n'));
  writeFileSync(
    script,
    `local requests, at, failures = {}, 0, 0
function init()
  for line in io.lines(${JSON.stringify(join(dir, 'paths.txt'))}) do
    requests[#requests + 1] = wrk.format('GET', line, { ['Accept'] = ${JSON.stringify(accept)}, ['Host'] = wrk.host .. ':' .. wrk.port })
  end
end
function request() at = at % #requests + 1; return requests[at] end
function done(summary, latency)
  local e = summary.errors
  print(string.format('RESULT {"requests":%d,"us":%d,"failures":%d,"p50":%d,"p95":%d}', summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(95)))
end
`,
  );
  try {
    const output = await run('wrk', [
      '-t1',
      `-c${connections}`,
      `-d${seconds}s`,
      '--timeout',
      '30s',
      '-s',
      script,
      origin,
    ]);
    const line = /^RESULT (\{.*\})$/m.exec(output)?.[1];
    if (line === undefined) throw new Error(`wrk said: ${output}`);
    const { requests, us, failures, p50, p95 } = JSON.parse(line) as Record<string, number>;
    return {
      requests: requests!,
      failures: failures!,
      requestsPerSecond: requests! / (us! / 1e6),
      p50Ms: p50! / 1000,
      p95Ms: p95! / 1000,
    };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function run(command: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve(output) : reject(new Error(`${command} exited with ${code}: ${output}`)),
    );
  });
}

export const median = (values: readonly number[]): number => percentile(values, 50);

export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return Number.NaN;
  if (percent === 50 && sorted.length % 2 === 0)
    return (sorted[sorted.length / 2 - 1]! + sorted[sorted.length / 2]!) / 2;
  return sorted[Math.min(sorted.length - 1, Math.floor((percent / 100) * sorted.length))]!;
}
