import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { TARGET_NAMES, targetNamed } from './targets.ts';
import type { Order, Report } from './worker.ts';

/**
 * `npm run fuzz -- --minutes N [--target http,pdu]`: inputs made of the fixtures, of the shared corpus where it is present and of what
 * earlier runs kept, for that long each; one thread at a time. Findings go to build/fuzz/<target>/findings, with the stack; the exit code is 1 where
 * there are any. `--input FILE --target NAME` runs one input again.
 */
const OUT = join(import.meta.dirname, '../../build/fuzz');
/** an input that is not done with in this time is a finding (s) */
const HANG_SECONDS = 60;
const HEAP_MB = 1_024;
const INPUT_BYTES = 256 * 1024;

interface Result {
  readonly target: string;
  executions: number;
  blocks: number;
  corpus: number;
  seconds: number;
  findings: number;
}

const nameOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex').slice(0, 16);

function keptInputs(folder: string): Uint8Array[] {
  mkdirSync(folder, { recursive: true });
  return readdirSync(folder).map((name) => readFileSync(join(folder, name)));
}

/** Runs one target in threads until `until`; a thread that dies, or hangs, is a finding and is followed by another. */
async function fuzz(target: string, until: number, seed: number, isKept: boolean): Promise<Result> {
  const started = Date.now();
  const corpusDir = join(OUT, target, 'corpus');
  const findingsDir = join(OUT, target, 'findings');
  mkdirSync(findingsDir, { recursive: true });
  const result: Result = { target, executions: 0, blocks: 0, corpus: 0, seconds: 0, findings: 0 };
  const known = new Set<string>();
  const found = (input: Uint8Array, stack: string): void => {
    // The same place found again says nothing new.
    const place = stack
      .replace(/\d{2,}/g, 'n')
      .split('\n')
      .slice(0, 4)
      .join('\n');
    if (known.has(place)) return;
    known.add(place);
    result.findings++;
    const name = nameOf(input);
    writeFileSync(join(findingsDir, `${name}.bin`), input);
    writeFileSync(join(findingsDir, `${name}.txt`), `${stack}\n`);
    process.stdout.write(`${target}: FOUND ${name} (${input.length} bytes): ${stack.split('\n')[0]}\n`);
  };
  for (let thread = 0; Date.now() < until; thread++) {
    const state = new Int32Array(new SharedArrayBuffer(12));
    const input = new Uint8Array(new SharedArrayBuffer(INPUT_BYTES));
    const corpus = isKept ? keptInputs(corpusDir) : [];
    const order: Order = { target, seed: seed + thread, until, state, input, started, corpus };
    const worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: order,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    });
    const underWay = (): Uint8Array => input.slice(0, Atomics.load(state, 2));
    await new Promise<void>((resolve) => {
      let executions = -1;
      let quietSeconds = 0;
      const watch = setInterval(() => {
        const now = Atomics.load(state, 0);
        quietSeconds = now === executions ? quietSeconds + 1 : 0;
        executions = now;
        // Before the first input the thread may still be loading; after the end it closes what it opened.
        if (quietSeconds < HANG_SECONDS || (now === 0 && quietSeconds < 3 * HANG_SECONDS)) return;
        found(underWay(), `no answer within ${HANG_SECONDS} s`);
        void worker.terminate();
      }, 1_000);
      worker.on('message', (report: Report) => {
        if (report.kind === 'finding') found(report.input, report.stack);
        else if (report.kind === 'kept') {
          if (isKept) writeFileSync(join(corpusDir, nameOf(report.input)), report.input);
        } else {
          result.blocks = Math.max(result.blocks, report.blocks);
          result.corpus = report.corpus;
        }
      });
      worker.on('error', (error) => found(underWay(), `the thread ended: ${error.stack ?? error}`));
      worker.on('exit', () => {
        clearInterval(watch);
        result.executions += Atomics.load(state, 0);
        resolve();
      });
    });
  }
  result.seconds = Math.round((Date.now() - started) / 1000);
  return result;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '1' },
      seconds: { type: 'string' },
      target: { type: 'string', default: TARGET_NAMES.join(',') },
      seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
      input: { type: 'string' },
      /** start from the seeds alone and keep nothing: the same seed does the same again */
      fresh: { type: 'boolean', default: false },
    },
  });
  const targets = values.target.split(',');
  for (const name of targets) targetNamed(name);
  if (values.input !== undefined) {
    const open = await targetNamed(targets[0]!).open();
    await open.run(new Uint8Array(readFileSync(values.input)));
    await open.close?.();
    process.stdout.write('nothing found\n');
    return;
  }
  const seconds = values.seconds === undefined ? Number(values.minutes) * 60 : Number(values.seconds);
  let findings = 0;
  for (const name of targets) {
    const one = await fuzz(name, Date.now() + seconds * 1000, Number(values.seed), !values.fresh);
    findings += one.findings;
    const { executions, blocks, corpus } = one;
    process.stdout.write(
      `${name}: ${executions} inputs in ${one.seconds} s (seed ${values.seed}), ${blocks} blocks of the sources reached, ${corpus} inputs kept, ${one.findings} findings\n`,
    );
  }
  process.exitCode = findings > 0 ? 1 : 0;
  if (findings > 0 && existsSync(OUT)) process.stdout.write(`findings are in ${OUT}\n`);
}

await main();
