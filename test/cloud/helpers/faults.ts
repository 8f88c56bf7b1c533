import type { Readable } from 'node:stream';

/** What a client of the SDK has been asked to do: calls by the name of their command, and by the key they write. */
export interface CallCounts {
  readonly calls: Map<string, number>;
  readonly injected: Map<string, number>;
  /** calls that are under way */
  open(): number;
  total(): number;
  reset(): void;
}

export interface FaultOptions {
  /** of all attempts, 0 to 1 */
  readonly rate: number;
  /** a number in [0, 1), the same sequence in each run */
  readonly random: () => number;
}

/** Anything with the middleware stack that every client of the SDK has. */
interface Client {
  readonly middlewareStack: { add(middleware: never, options: object): void };
}

type Next = (args: unknown) => Promise<{ output: { Body?: Readable } }>;

export const FAULTS = ['throttled', 'failed', 'failedAfter', 'answerLost', 'unreachable'] as const;
export type Fault = (typeof FAULTS)[number];

/**
 * Counts what goes through a client, attempts included, and makes some of it fail as services and networks do: refused before
 * anything was done, failed before or after it was done, the answer lost, the body of an answer torn.
 */
export function watch(client: unknown, faults: FaultOptions = { rate: 0, random: Math.random }): CallCounts {
  const calls = new Map<string, number>();
  const injected = new Map<string, number>();
  let open = 0;
  const count = (counts: Map<string, number>, name: string) => counts.set(name, (counts.get(name) ?? 0) + 1);
  const middleware =
    (next: Next, { commandName }: { commandName: string }) =>
    async (args: unknown) => {
      count(calls, commandName);
      open++;
      try {
        if (faults.random() >= faults.rate) return await next(args);
        const fault = FAULTS[Math.floor(faults.random() * FAULTS.length)]!;
        count(injected, fault);
        return await failing(
          fault,
          () => next(args),
          faults.random,
          () => count(injected, 'torn'),
        );
      } finally {
        open--;
      }
    };
  (client as Client).middlewareStack.add(middleware as never, {
    step: 'finalizeRequest',
    priority: 'low',
    name: 'watch',
  });
  return {
    calls,
    injected,
    open: () => open,
    total: () => [...calls.values()].reduce((sum, n) => sum + n, 0),
    reset: () => calls.clear(),
  };
}

/** One call, as services and networks fail it: before it was carried out, after it, or in the middle of the answer's body. */
async function failing(
  fault: Fault,
  call: () => ReturnType<Next>,
  random: () => number,
  onTorn: () => void,
): ReturnType<Next> {
  if (fault === 'throttled') throw thrown('ThrottlingException', 400);
  if (fault === 'failed') throw thrown('InternalServerError', 500);
  if (fault === 'unreachable') throw Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
  const answer = await call();
  const { Body } = answer.output;
  if (Body !== undefined) {
    onTorn();
    return { ...answer, output: { ...answer.output, Body: torn(Body, Math.floor(random() * 2_000)) } } as never;
  }
  throw fault === 'failedAfter'
    ? thrown('ServiceUnavailable', 503)
    : Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' });
}

/** Fails the first call of a command, whoever of the clients makes it. @returns whether that has happened */
export function failFirst(clients: readonly unknown[], command: string, fault: Fault): () => boolean {
  let failed = false;
  const middleware =
    (next: Next, { commandName }: { commandName: string }) =>
    async (args: unknown) => {
      if (failed || commandName !== command) return next(args);
      failed = true;
      return failing(
        fault,
        () => next(args),
        () => 0.5,
        () => {},
      );
    };
  for (const client of clients)
    (client as Client).middlewareStack.add(middleware as never, {
      step: 'finalizeRequest',
      priority: 'low',
      name: 'failFirst',
    });
  return () => failed;
}

/** Ends what a client can do after so many calls, as a process that is killed: nothing it sends arrives any more. */
export function dieAfter(clients: readonly unknown[], calls: number): void {
  let left = calls;
  const middleware = (next: Next) => async (args: unknown) => {
    if (left-- <= 0) throw new Error('the process is dead');
    return next(args);
  };
  for (const client of clients)
    (client as Client).middlewareStack.add(middleware as never, {
      step: 'finalizeRequest',
      priority: 'low',
      name: 'dies',
    });
}

const thrown = (name: string, httpStatusCode: number): Error =>
  Object.assign(new Error(name), { name, $metadata: { httpStatusCode, attempts: 1 } });

/** The first bytes of a body, then a connection that breaks. */
function torn(body: Readable, afterBytes: number): AsyncIterable<Uint8Array> & { destroy(): void } {
  return {
    destroy: () => body.destroy(),
    async *[Symbol.asyncIterator]() {
      let left = afterBytes;
      for await (const chunk of body as AsyncIterable<Buffer>) {
        if (chunk.length > left) {
          yield chunk.subarray(0, left);
          throw Object.assign(new Error('aborted'), { code: 'ECONNRESET' });
        }
        left -= chunk.length;
        yield chunk;
      }
    },
  };
}

/** A small generator (mulberry32): chaos that can be had again. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
