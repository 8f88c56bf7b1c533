import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Hundreds of archives and gateways are started: without this each compiles the same sources anew, which takes it longer than starting. */
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, 'node_modules/.cache/compiled');

/** Suites with peers that measure memory: they have the machine to themselves. */
const alone = ['dimse-large', 'edge-image', 'large', 'store-transaction'].map((name) => `test/peers/${name}.test.ts`);

/**
 * Tests of parts that run in the process of the test share it from file to file: starting one and loading the parts anew took longer
 * than the tests. Whoever mocks a module, turns the clock or replaces what all have has a process of his own.
 */
const CHANGES_WHAT_ALL_HAVE =
  /vi\.(mock|doMock|spyOn|stub\w+|useFakeTimers|setSystemTime)|process\.(env[.\w]* ?=[^=]|chdir|umask|on\()|globalThis\.\w+ ?=[^=]|\.prototype\b/;
const shared = globSync('test/{unit,property,regressions}/**/*.test.ts', { cwd: import.meta.dirname }).filter(
  (file) => !CHANGES_WHAT_ALL_HAVE.test(readFileSync(join(import.meta.dirname, file), 'utf8')),
);

/** The files that take longest, longest first: begun last, one of them would keep a single processor busy behind all others. */
const LONGEST = [
  ...['cloud/deploy', 'peers/edge', 'peers/edge-disk', 'peers/deidentify', 'peers/edge-read', 'cloud/lambda-runtime'],
  ...['peers/dimse', 'peers/query-retrieve', 'peers/web/share', 'peers/web/viewer', 'cloud/sqs-job-queue'],
  ...[
    'hosts/embedded-process',
    'infra/templates',
    'edge/forward',
    'hosts/login',
    'edge/kill',
    'infra/nag',
    'infra/updates',
  ],
].map((name) => `test/${name}.test.ts`);

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const at = LONGEST.findIndex((file) => moduleId.endsWith(file));
      return at === -1 ? LONGEST.length : at;
    };
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}

/** What is waited for comes when the machine has come to it; how soon is not what a test is about. */
const waiting = { poll: { timeout: 60_000 } };

/** `default` and `unit` need npm packages alone; `peers` and `cloud` need what scripts/install-peers brings. */
export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: 'default',
          include: ['test/**/*.test.ts'],
          exclude: ['test/peers/**', 'test/cloud/**', ...shared],
          expect: waiting,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          // Much of it waits: for processes to start, for a line to be given up.
          maxWorkers: 3,
        },
      },
      {
        test: {
          name: 'unit',
          include: shared,
          isolate: false,
          expect: waiting,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          maxWorkers: 3,
        },
      },
      {
        test: {
          name: 'peers',
          include: ['test/peers/**/*.test.ts'],
          exclude: alone,
          setupFiles: ['test/peers/helpers/connections.ts'],
          expect: waiting,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          maxWorkers: 3,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'peers-alone',
          include: alone,
          setupFiles: ['test/peers/helpers/connections.ts'],
          expect: waiting,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          maxWorkers: 1,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'cloud',
          include: ['test/cloud/**/*.test.ts'],
          setupFiles: ['test/peers/helpers/connections.ts'],
          expect: waiting,
          testTimeout: 600_000,
          hookTimeout: 600_000,
          maxWorkers: 3,
          sequence: { groupOrder: 0 },
        },
      },
    ],
  },
});
