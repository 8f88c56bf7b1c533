import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { TARGET_NAMES } from './targets.ts';

const SECONDS_EACH = 1;

/** A look, with inputs that are the same in every run: npm run fuzz takes its time, and others. */
test('what strangers send is read or refused', async () => {
  const args = ['test/fuzz/run.ts', '--fresh', '--seed', '1', '--seconds', String(SECONDS_EACH)];
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    cwd: join(import.meta.dirname, '../..'),
  }).catch((failed: { stdout: string; stderr: string }) => ({ stdout: failed.stdout + failed.stderr }));
  for (const name of TARGET_NAMES)
    expect(stdout).toMatch(new RegExp(`^${name}: [1-9]\\d* inputs in .*, 0 findings$`, 'm'));
}, 600_000);
