import { inspect } from 'node:util';
import { getHeapStatistics } from 'node:v8';
import { parentPort, workerData } from 'node:worker_threads';
import { Coverage } from './coverage.ts';
import { mutate } from './mutate.ts';
import { Random } from './random.ts';
import type { OpenTarget } from './target.ts';
import { targetNamed } from './targets.ts';

/** What the runner gives to a thread. */
export interface Order {
  readonly target: string;
  readonly seed: number;
  readonly until: number;
  /** what the thread is at: [0] executions, [1] time at which the input under way began (s since `Order.started`), [2] its length */
  readonly state: Int32Array;
  /** the input under way */
  readonly input: Uint8Array;
  readonly started: number;
  /** inputs of earlier runs */
  readonly corpus: readonly Uint8Array[];
}

export type Report =
  | { readonly kind: 'finding'; readonly input: Uint8Array; readonly stack: string }
  | { readonly kind: 'kept'; readonly input: Uint8Array }
  | { readonly kind: 'done'; readonly executions: number; readonly blocks: number; readonly corpus: number };

/** Inputs between two looks at what has run: a look costs as much as some hundred of them. */
const LOOK_EVERY = 256;
/** inputs are tried for so long at least, however long loading took (ms) */
const LEAST_MS = 300;
const KEPT_INPUTS = 4_000;
/** what one input may make the heap and its buffers grow by, beside what it weighs itself (bytes) */
const MEMORY_BYTES = 192 * 1024 * 1024;

const order = workerData as Order;
const target = targetNamed(order.target);
const limitBytes = Math.min(target.limitBytes ?? 64 * 1024, order.input.length);
const random = new Random(order.seed);
const coverage = new Coverage(target.covers);
const say = (report: Report): void => parentPort!.postMessage(report);

/** on the heap, and in buffers beside it */
function heldBytes(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}

async function executed(open: OpenTarget, input: Uint8Array): Promise<void> {
  order.input.set(input);
  Atomics.store(order.state, 2, input.length);
  Atomics.store(order.state, 1, Math.floor((Date.now() - order.started) / 1000));
  const before = heldBytes();
  try {
    await open.run(input);
    const grown = heldBytes() - before;
    if (grown > MEMORY_BYTES + 400 * input.length) throw new Error(`one input took ${grown} bytes of memory`);
  } catch (error) {
    const stack = inspect(error, { depth: 4 });
    say({ kind: 'finding', input: input.slice(), stack });
  }
  Atomics.add(order.state, 0, 1);
}

const open = await target.open();
// Loading may have taken all of a short time.
const until = Math.max(order.until, Date.now() + LEAST_MS);
// What nobody waits for is a finding as well.
process.on('unhandledRejection', (error) => {
  const input = order.input.slice(0, Atomics.load(order.state, 2));
  say({ kind: 'finding', input, stack: `not waited for: ${(error as Error)?.stack ?? error}` });
});
const inputs: Uint8Array[] = [];
const keep = (input: Uint8Array): void => {
  // The oldest seeds stay; beyond the limit a new input takes the place of any other.
  if (inputs.length < KEPT_INPUTS) inputs.push(input);
  else inputs[random.below(KEPT_INPUTS)] = input;
};
for (const seed of target.seeds()) {
  if (seed.length > limitBytes) continue;
  // One at least, whatever that takes.
  await executed(open, seed);
  inputs.push(seed);
  if (Date.now() >= until) break;
}
for (const kept of order.corpus) {
  if (Date.now() >= until) break;
  await executed(open, kept);
  keep(kept);
}
coverage.seen(coverage.fresh());
while (Date.now() < until) {
  const batch: Uint8Array[] = [];
  while (batch.length < LOOK_EVERY && Date.now() < until) {
    // Half of the time one of the newest: what led somewhere leads further.
    const from = random.once(2) ? Math.max(0, inputs.length - 50) : 0;
    const parent = inputs[from + random.below(inputs.length - from)] ?? new Uint8Array();
    const input = mutate(parent, random.pick(inputs) ?? parent, target.grammar, random, limitBytes);
    batch.push(input);
    await executed(open, input);
  }
  const fresh = coverage.fresh();
  // Some of them went where none had been. Which, is seen when they run one by one.
  for (let i = 0; i < batch.length && fresh.size > 0; i++) {
    await executed(open, batch[i]!);
    const ran = [...coverage.fresh()];
    if (!ran.some((block) => fresh.has(block))) continue;
    coverage.seen(ran);
    for (const block of ran) fresh.delete(block);
    keep(batch[i]!);
    say({ kind: 'kept', input: batch[i]! });
  }
  // What did not happen again (a timer, a collection) is not looked for a second time.
  coverage.seen(fresh);
}
await open.close?.();
say({
  kind: 'done',
  executions: Atomics.load(order.state, 0),
  blocks: coverage.blocks,
  corpus: inputs.length,
});
coverage.close();
parentPort!.close();
