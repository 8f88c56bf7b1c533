import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FakeRepository, type Identity, identity } from '#test/fixtures/audit-repository.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { multipart } from './client.ts';
import { type RunningArchive, startArchive } from './process.ts';

let dir: string;
let ours: Identity;
let theirs: Identity;
let archive: RunningArchive | undefined;
let repository: FakeRepository;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-atna-'));
  [ours, theirs] = (await Promise.all(['nephos', 'repository'].map(identity))) as [Identity, Identity];
  await writeFile(join(dir, 'ca.pem'), theirs.cert);
  await writeFile(join(dir, 'cert.pem'), ours.cert);
  await writeFile(join(dir, 'key.pem'), ours.key);
  repository = new FakeRepository(theirs, ours);
});
afterEach(async () => {
  await archive?.kill9();
  await repository.close();
  await rm(dir, { recursive: true, force: true });
});

const start = async (port: number): Promise<RunningArchive> => {
  archive = await startArchive(join(dir, 'data'), {
    NEPHOS_AUDIT_REPOSITORY: `127.0.0.1:${port}`,
    NEPHOS_AUDIT_REPOSITORY_CA: join(dir, 'ca.pem'),
    NEPHOS_AUDIT_REPOSITORY_CERT: join(dir, 'cert.pem'),
    NEPHOS_AUDIT_REPOSITORY_KEY: join(dir, 'key.pem'),
  });
  return archive;
};
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  // Each attempt that fails doubles the time to the next.
  const deadline = performance.now() + 120_000;
  while (!(await isSo()) && performance.now() < deadline) await sleep(100);
  expect(await isSo()).toBe(true);
}
/** What all processes say at one time; NaN: nothing yet. */
const metrics = async ({ origin }: RunningArchive): Promise<{ failures: number; lagSeconds: number }> => {
  const text = await (await fetch(`${origin}/metrics`)).text();
  const value = (name: string): number =>
    Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
  return {
    failures: value('nephos_audit_export_failures_total'),
    lagSeconds: value('nephos_audit_export_lag_seconds'),
  };
};

test('what is done while the repository is away, and before a restart, is handed over when it is back, each act in its order', async () => {
  // A port that is free, and nobody listens.
  const port = await repository.listen();
  await repository.close();
  const first = await start(port);
  await fetch(`${first.origin}/dicomweb/studies`, multipart([buildDicom()]) as RequestInit);
  await until(async () => {
    const { failures, lagSeconds } = await metrics(first);
    return failures > 0 && lagSeconds > 0;
  });
  expect(await first.stop()).toBe(0);

  const second = await start(port);
  await fetch(`${second.origin}/dicomweb/studies/${uid(1)}/metadata`);
  await repository.listen(port);
  const has = (text: string) => repository.lines.findIndex((line) => line.includes(text));
  await until(() => has('csd-code="110103"') >= 0);
  expect(repository.clients[0]).toBe('nephos');
  // Started, stored, stopped, looked at: PS3.15 A.5.3.1, .7, .1, .6.
  const order = ['csd-code="110120"', 'csd-code="110104"', 'csd-code="110121"', 'csd-code="110103"'].map(has);
  expect(order).toEqual(order.toSorted((a, b) => a - b));
  expect(Math.min(...order)).toBeGreaterThanOrEqual(0);
  expect(repository.lines[has('csd-code="110103"')]).toContain('ParticipantObjectID="P-1"');
  expect(repository.lines.join()).not.toMatch(/Doe|Jane/);
  await until(async () => (await metrics(second)).lagSeconds === 0);
  expect(await second.stop()).toBe(0);
}, 600_000);
