import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { getInstance, getJson, HELD, type InstanceUIDs, instanceUrl, sha256, stow } from './helpers/dicomweb.ts';
import { type Nephos, startNephos } from './helpers/nephos.ts';
import { corpusDir, hasCorpus, python } from './helpers/programs.ts';

interface Identified extends Partial<Record<keyof InstanceUIDs | 'SOPClassUID', string | null>> {
  readonly path: string;
  readonly error?: string;
}

interface CorpusFile extends InstanceUIDs {
  readonly path: string;
  readonly bytes: Buffer;
}

const BATCH = 40;
/** Whoever has not answered by then will not. */
const HANGS_MS = 120_000;

describe.runIf(hasCorpus)('the shared corpus', { timeout: 900_000 }, () => {
  let nephos: Nephos;
  /** files with all three UIDs, by SOPInstanceUID, in the order of their paths */
  const bySOP = new Map<string, CorpusFile[]>();
  const withoutUIDs: string[] = [];

  beforeAll(async () => {
    nephos = await startNephos();
    for (const file of await python<Identified[]>('identify.py', [join(corpusDir, 'dicom')])) {
      const { path, SOPInstanceUID, StudyInstanceUID, SeriesInstanceUID } = file;
      if (!SOPInstanceUID || !StudyInstanceUID || !SeriesInstanceUID) {
        withoutUIDs.push(path);
        continue;
      }
      const bytes = readFileSync(join(corpusDir, 'dicom', path));
      const same = bySOP.get(SOPInstanceUID) ?? [];
      same.push({ path, SOPInstanceUID, StudyInstanceUID, SeriesInstanceUID, bytes });
      bySOP.set(SOPInstanceUID, same);
    }
  });
  afterAll(() => nephos?.stop());

  test('everything with a study, series and instance UID is accepted, by whoever made it', async () => {
    const firsts = [...bySOP.values()].map((files) => files[0]!);
    expect(firsts.length).toBeGreaterThan(700);
    const refused: string[] = [];
    for (let i = 0; i < firsts.length; i += BATCH) {
      const batch = firsts.slice(i, i + BATCH);
      const { stored, failed } = await stow(
        nephos.root,
        batch.map(({ bytes }) => bytes),
      );
      for (const file of batch) {
        if (!stored.includes(file.SOPInstanceUID)) {
          refused.push(
            `${file.path} ${failed.find((f) => f.SOPInstanceUID === file.SOPInstanceUID)?.FailureReason.toString(16)}`,
          );
        }
      }
    }
    expect(refused).toEqual([]);
  });

  test('an identical resend is stored once, other bytes under the same UID are held and the first stay', async () => {
    const unexpected: string[] = [];
    let resends = 0;
    let conflicts = 0;
    for (const [first, ...others] of bySOP.values()) {
      for (const other of others) {
        const identical = other.bytes.equals(first!.bytes);
        const { stored, failed } = await stow(nephos.root, [other.bytes]);
        if (identical) resends++;
        else conflicts++;
        const right = identical ? stored.length === 1 : failed.length === 1 && failed[0]!.FailureReason === HELD;
        if (!right)
          unexpected.push(
            `${other.path} ${identical ? 'resent' : 'in conflict'}: ${JSON.stringify({ stored, failed })}`,
          );
      }
    }
    expect(unexpected).toEqual([]);
    expect(resends).toBeGreaterThan(0);
    expect(conflicts).toBeGreaterThan(10);
  });

  test('every instance comes back byte for byte', async () => {
    const different: string[] = [];
    for (const [file] of bySOP.values()) {
      const returned = await getInstance(nephos.root, file!).catch((error: Error) => Buffer.from(error.message));
      if (!returned.equals(file!.bytes))
        different.push(`${file!.path} ${returned.length} bytes ${sha256(returned).slice(0, 8)}`);
    }
    expect(different).toEqual([]);
  });

  test('the study list, the series and the instances are those of the files, each once', async () => {
    const firsts = [...bySOP.values()].map((files) => files[0]!);
    const wanted = new Map<string, Set<string>>();
    for (const { StudyInstanceUID, SOPInstanceUID } of firsts) {
      wanted.set(StudyInstanceUID, (wanted.get(StudyInstanceUID) ?? new Set()).add(SOPInstanceUID));
    }
    const listed = await allPages(`${nephos.root}/studies?includefield=00201208`);
    expect(listed.map((study) => study['0020000D']!.Value![0]).sort()).toEqual([...wanted.keys()].sort());
    for (const study of listed) {
      const uid = String(study['0020000D']!.Value![0]);
      expect(study['00201208']?.Value?.[0], uid).toBe(wanted.get(uid)!.size);
    }
  });

  test('every instance has readable metadata with its own UID', async () => {
    const unreadable: string[] = [];
    for (const [file] of bySOP.values()) {
      const found = await getJson(`${instanceUrl(nephos.root, file!)}/metadata`).catch((error: Error) => error);
      if (found instanceof Error) unreadable.push(`${file!.path} ${found.message}`);
      else if (found[0]?.['00080018']?.Value?.[0] !== file!.SOPInstanceUID)
        unreadable.push(`${file!.path} names another UID`);
    }
    expect(unreadable).toEqual([]);
  });

  test('a file without the UIDs that an archive needs is refused with a reason', async () => {
    const wrong: string[] = [];
    for (const path of withoutUIDs) {
      const { status, stored, failed } = await stow(nephos.root, [readFileSync(join(corpusDir, 'dicom', path))]);
      if (stored.length !== 0 || failed.length !== 1 || status !== 409)
        wrong.push(`${path} ${status} ${JSON.stringify({ stored, failed })}`);
    }
    expect(wrong).toEqual([]);
    expect(withoutUIDs.length).toBeGreaterThan(0);
  });
});

describe.runIf(hasCorpus)('broken and hostile files', { timeout: 900_000 }, () => {
  let nephos: Nephos;
  beforeAll(async () => {
    nephos = await startNephos();
  });
  afterAll(() => nephos?.stop());

  test('none crashes, hangs or poisons the archive: each has an answer, and what was stored can be read', async () => {
    const files = await python<Identified[]>('identify.py', [join(corpusDir, 'malformed')]);
    expect(files.length).toBeGreaterThan(250);
    const processes = nephos.pids().sort();
    const good = readFileSync(join(corpusDir, 'dicom/collision/identical-resend/first.dcm'));
    const faults: string[] = [];
    const note = (path: string, what: string): void => {
      faults.push(`${path}: ${what}`);
    };
    for (const { path } of files) {
      const bytes = readFileSync(join(corpusDir, 'malformed', path));
      const answer = await stow(nephos.root, [bytes], { signal: AbortSignal.timeout(HANGS_MS) }).catch(
        (error: Error) => error,
      );
      if (answer instanceof Error) {
        note(path, `STOW ${answer.name} ${answer.message}`);
        continue;
      }
      if (answer.status >= 500 || ![200, 202, 400, 409, 413, 415].includes(answer.status))
        note(path, `STOW answered ${answer.status}`);
      for (const SOPInstanceUID of answer.stored) {
        const found = await getJson(
          `${nephos.root}/instances?SOPInstanceUID=${encodeURIComponent(SOPInstanceUID)}`,
        ).catch((error: Error) => error);
        if (found instanceof Error || found.length !== 1) {
          note(path, `stored, but QIDO says ${found instanceof Error ? found.message : found.length}`);
          continue;
        }
        const uids = {
          StudyInstanceUID: String(found[0]!['0020000D']?.Value?.[0]),
          SeriesInstanceUID: String(found[0]!['0020000E']?.Value?.[0]),
          SOPInstanceUID,
        };
        for (const suffix of ['/metadata', '/rendered', '/frames/1', '/thumbnail']) {
          const response = await fetch(`${instanceUrl(nephos.root, uids)}${suffix}`, {
            signal: AbortSignal.timeout(HANGS_MS),
          }).catch((error: Error) => error);
          if (response instanceof Error) note(path, `${suffix} ${response.name}`);
          else {
            await response.arrayBuffer().catch((error: Error) => note(path, `${suffix} broke off: ${error.message}`));
            if (response.status >= 500 || (suffix === '/metadata' && response.status !== 200))
              note(path, `${suffix} answered ${response.status}`);
          }
        }
      }
    }
    expect(faults).toEqual([]);
    expect(nephos.pids().sort(), 'a process died and was replaced').toEqual(processes);
    expect((await stow(nephos.root, [good])).status).toBe(200);
  });
});

/** All matches, page by page. */
async function allPages(url: string): Promise<Awaited<ReturnType<typeof getJson>>> {
  const all: Awaited<ReturnType<typeof getJson>> = [];
  for (;;) {
    const page = await getJson(`${url}&limit=200&offset=${all.length}`);
    if (page.length === 0) return all;
    all.push(...page);
  }
}
