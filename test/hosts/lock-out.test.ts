import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';
import { FormBrowser } from '#test/fixtures/form-browser.ts';
import { type RunningArchive, startArchive } from './process.ts';

const PASSWORD = 'a lighthouse with nine doors';
let dir: string;
let archive: RunningArchive;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nephos-lock-'));
  archive = await startArchive(dir, { NEPHOS_AUTH: 'on', NEPHOS_WORKERS: '3' });
});
afterEach(async () => {
  await archive?.kill9();
  await rm(dir, { recursive: true, force: true });
});

const guess = async (password: string): Promise<{ status: number; url: string }> => {
  const browser = new FormBrowser();
  const page = await browser.open(`${archive.origin}/api/session/start`);
  return browser.submit(page, { name: 'chief', password });
};

test('thirty guesses at once, by three processes, are five; a kill forgets none of them, and the wait is kept', async () => {
  const link = /http\S+\/oidc\/link\/\S+/.exec(archive.said())![0];
  const browser = new FormBrowser();
  await browser.submit(await browser.open(link), { name: 'chief', password: PASSWORD, repeated: PASSWORD });
  const startedAt = performance.now();
  const answers = await Promise.all(Array.from({ length: 30 }, (_, n) => guess(`wrong guess number ${n}`)));
  const seconds = (performance.now() - startedAt) / 1_000;
  const looked = answers.filter(({ status }) => status === 401).length;
  expect(looked).toBeGreaterThan(0);
  // Each guess behind the fifth waited its time, which doubles: a slow machine lets a few of them in.
  expect(looked).toBeLessThanOrEqual(5 + Math.floor(Math.log2(1 + seconds)));
  expect(answers.every(({ status }) => [401, 429, 503].includes(status))).toBe(true);
  // The machine is pulled from under guesses that are being looked at.
  let counted = looked;
  const underWay = Array.from({ length: 6 }, async (_, n) => {
    await new Promise((resolve) => setTimeout(resolve, n * 300));
    if ((await guess(`again ${n}`)).status === 401) counted++;
  });
  await new Promise((resolve) => setTimeout(resolve, 900));
  // Heard before the kill: what it breaks off must not be nobody's.
  const ended = Promise.allSettled(underWay);
  await archive.kill9();
  await ended;
  const index = await LmdbIndexTable.open(join(dir, 'index'));
  const { records } = await index.query({ partition: 'main|attempts', prefix: 'pair|', limit: 10 });
  await index.close();
  expect(records).toHaveLength(1);
  expect(records[0]!.item.failures).toBeGreaterThanOrEqual(counted);
  const notBefore = Number(records[0]!.item.notBefore);

  archive = await startArchive(dir, { NEPHOS_AUTH: 'on', NEPHOS_WORKERS: '3' });
  const { status } = await guess(PASSWORD);
  // On a slow machine the wait is over by itself by then.
  if (Date.now() < notBefore) expect(status).toBe(429);
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, notBefore - Date.now())));
  expect((await guess(PASSWORD)).url).toBe(`${archive.origin}/`);
  // He is in: nothing of it stands against him any more.
  expect((await guess('one wrong guess')).status).toBe(401);
  expect((await guess(PASSWORD)).url).toBe(`${archive.origin}/`);
}, 600_000);
