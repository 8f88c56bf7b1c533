import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openArchive } from '#embedded/archive.ts';
import { readConfig } from '#embedded/config.ts';
import { auditEvents } from '#test/fixtures/audit-events.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { multipart } from './client.ts';
import { nephos, type RunningArchive, startArchive } from './process.ts';

const STUDIES = 200;
const LANES = 8;
const study = (n: number): string => uid(10_000 + n);

let data: string;
let archive: RunningArchive | undefined;
beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'nephos-looks-'));
});
afterEach(async () => {
  await archive?.kill9();
  await rm(data, { recursive: true, force: true });
});

async function started(NEPHOS_AUDIT: string): Promise<RunningArchive> {
  archive = await startArchive(data, { NEPHOS_AUDIT });
  const objects = Array.from({ length: STUDIES }, (_, n) =>
    buildDicom({ StudyInstanceUID: study(n), SeriesInstanceUID: uid(20_000 + n), SOPInstanceUID: uid(30_000 + n) }),
  );
  const { method, headers, body } = multipart(objects);
  const stored = await fetch(`${archive.origin}/dicomweb/studies`, { method, headers, body } as RequestInit);
  expect(stored.status).toBe(200);
  await stored.arrayBuffer();
  return archive;
}

/** Looks at one study after the other until `isEnough`, and says which looks were answered; whoever asks twice asks at once. */
async function answeredLooks({ origin }: RunningArchive, isEnough: (answered: number) => void): Promise<Set<string>> {
  const answered = new Set<string>();
  let next = 0;
  const look = async (uidOfStudy: string): Promise<void> => {
    const { status } = await fetch(`${origin}/dicomweb/studies/${uidOfStudy}/series`);
    expect(status).toBe(200);
    answered.add(uidOfStudy);
    isEnough(answered.size);
  };
  const lane = async (): Promise<void> => {
    while (next < STUDIES) {
      const uidOfStudy = study(next++);
      await Promise.all([look(uidOfStudy), look(uidOfStudy)]);
    }
  };
  // Those that are under way when it is killed are not answered.
  await Promise.allSettled(Array.from({ length: LANES }, lane));
  return answered;
}

async function studiesInTrail(): Promise<Set<string | undefined>> {
  const opened = await openArchive(readConfig({ NEPHOS_DATA_DIR: data }));
  try {
    const entries = await auditEvents(opened.services, 'main');
    return new Set(entries.filter(({ event }) => event === 'Query').map(({ studies }) => studies?.[0]));
  } finally {
    await opened.close();
  }
}

test('killed in the midst of looks, an archive that records all has an entry of each that was answered', async () => {
  const running = await started('all');
  let killed: Promise<void> | undefined;
  const answered = await answeredLooks(running, (count) => {
    if (count >= STUDIES / 4) killed ??= running.kill9();
  });
  await killed;
  expect(answered.size).toBeGreaterThanOrEqual(STUDIES / 4);
  const recorded = await studiesInTrail();
  expect([...answered].filter((one) => !recorded.has(one))).toEqual([]);
  expect(await nephos(data, 'audit', 'verify')).toMatchObject({ code: 0 });
});

test('stopped right after looks, an archive has an entry of each, whoever waited for them', async () => {
  const running = await started('writes');
  const answered = await answeredLooks(running, () => {});
  expect(await running.stop()).toBe(0);
  expect(answered.size).toBe(STUDIES);
  const recorded = await studiesInTrail();
  expect([...answered].filter((one) => !recorded.has(one))).toEqual([]);
  expect(await nephos(data, 'audit', 'verify')).toMatchObject({ code: 0 });
});
