import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type RunningArchive, startArchive } from './process.ts';

let dataDir = '';
let archive: RunningArchive | undefined;
afterAll(async () => {
  await archive?.stop();
  await rm(dataDir, { recursive: true, force: true });
});

test('what the server processes have served is counted by the time the archive has ended', async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'nephos-served-'));
  archive = await startArchive(dataDir);
  let bytes = 0;
  for (let request = 0; request < 5; request++) {
    const answer = await fetch(`${archive.origin}/api/openapi.json`);
    bytes += (await answer.arrayBuffer()).byteLength;
  }
  // The page of the console is nobody's.
  await (await fetch(`${archive.origin}/`)).arrayBuffer();
  expect(await archive.stop()).toBe(0);
  archive = await startArchive(dataDir);
  const report = (await (await fetch(`${archive.origin}/api/costs?months=2`)).json()) as {
    months: { served: { requests: number; bytes: number } | null }[];
  };
  // A month may have begun meanwhile.
  const sum = (of: 'requests' | 'bytes') => report.months.reduce((all, { served }) => all + (served?.[of] ?? 0), 0);
  expect({ requests: sum('requests'), bytes: sum('bytes') }).toEqual({ requests: 5, bytes });
});
