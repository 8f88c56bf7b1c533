import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

/** Hundreds of archives and gateways are started: without this each compiles the same sources anew, which takes it longer than starting. */
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, 'node_modules/.cache/compiled');

/** Suites with peers that measure memory: they have the machine to themselves. */
const alone = ['dimse-large', 'edge-image', 'large', 'store-transaction'].map((name) => `test/peers/${name}.test.ts`);

/** What is waited for comes when the machine has come to it; how soon is not what a test is about. */
const waiting = { poll: { timeout: 60_000 } };

/** `default` needs npm packages alone; `peers` and `cloud` need what scripts/install-peers brings. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'default',
          include: ['test/**/*.test.ts'],
          exclude: ['test/peers/**', 'test/cloud/**'],
          expect: waiting,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          // Much of it waits: for processes to start, for a line to be given up.
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
          maxWorkers: 2,
        },
      },
    ],
  },
});
