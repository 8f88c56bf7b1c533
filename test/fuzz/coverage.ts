import { type Profiler, Session } from 'node:inspector';

/** Which blocks of the sources have run, as V8 counts them for the thread that asks. */
export class Coverage {
  readonly #session = new Session();
  readonly #covers: readonly string[];
  readonly #seen = new Set<string>();

  /** @param covers parts of the paths of the sources that count */
  constructor(covers: readonly string[]) {
    this.#covers = covers;
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** how many were seen */
  get blocks(): number {
    return this.#seen.size;
  }

  /** The blocks that ran since the last call and were not `seen` yet. */
  fresh(): Set<string> {
    let result: Profiler.ScriptCoverage[] = [];
    // The session is this thread's own: it answers before it returns.
    this.#session.post('Profiler.takePreciseCoverage', (error, taken) => {
      if (error) throw error;
      result = taken.result;
    });
    const blocks = new Set<string>();
    for (const { url, functions } of result) {
      if (!this.#covers.some((part) => url.includes(part)) || url.includes('/test/')) continue;
      const file = url.slice(url.lastIndexOf('/') + 1);
      for (const { ranges } of functions)
        for (const { startOffset, endOffset, count } of ranges) {
          if (count === 0) continue;
          const key = `${file}:${startOffset}-${endOffset}`;
          if (!this.#seen.has(key)) blocks.add(key);
        }
    }
    return blocks;
  }

  seen(blocks: Iterable<string>): void {
    for (const block of blocks) this.#seen.add(block);
  }

  close(): void {
    this.#session.disconnect();
  }
}
