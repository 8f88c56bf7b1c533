import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PROFILE_ROWS } from '#core/deidentify/actions.ts';
import type { Profile } from '#core/deidentify/profile.ts';
import { VOCABULARY } from '#core/deidentify/vocabulary.ts';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { transferSyntax } from '#core/dicom/transfer-syntaxes.ts';
import type { DataSet, PersonName, ScannedObject } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { deidentified } from '#test/fixtures/deidentified.ts';
import { corpusDir, hasCorpus, python, run } from './helpers/programs.ts';

const CORPUS = join(corpusDir, 'dicom');
const AT_ONCE = 4;
/** what is said of a source whose references stand where its IOD does not ask for them, and are removed therefore */
const TOLERATED = /ReferencedSeriesSequence present but Instance does not reference Instances/;
const PROFILES: readonly (readonly [string, Partial<Profile>])[] = [
  ['the Basic Profile', {}],
  [
    'dates shifted, descriptions and contents cleaned, patients’ and devices’ characteristics kept',
    {
      dates: 'shift',
      retainPatientCharacteristics: true,
      retainDeviceIdentity: true,
      retainSafePrivate: true,
      cleanDescriptors: true,
      cleanStructuredContent: true,
      cleanGraphics: true,
    },
  ],
];

const filesBelow = async (folder: string): Promise<string[]> =>
  (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
    }),
  );
}

/** Names, numbers, dates and UIDs of the source that are long enough not to be found by chance, and that no option keeps. */
function secretsOf(dataSet: DataSet, keepsDates: boolean): string[] {
  const found = new Set<string>();
  for (const [tag, { vr, Value = [] }] of Object.entries(dataSet)) {
    const row = PROFILE_ROWS.get(tag);
    if (vr === 'SQ') for (const item of Value) for (const one of secretsOf(item as DataSet, keepsDates)) found.add(one);
    if (row === undefined || /[vp]/.test(row.options)) continue;
    for (const value of Value) {
      if (vr === 'PN') for (const group of Object.values((value ?? {}) as PersonName)) found.add(String(group));
      else if (vr === 'UI' || (vr === 'DA' && !keepsDates) || (/^(?:LO|SH)$/.test(vr) && !/[tgs]/.test(row.options)))
        found.add(String(value));
    }
  }
  return [...found].filter(
    (one) =>
      one.length >= 6 &&
      !one.startsWith('1.2.840.10008.') &&
      !/^(?:19000101|REMOVED)$/i.test(one) &&
      !VOCABULARY.has(one.toLowerCase()),
  );
}

const pixelsOf = (bytes: Uint8Array, { dataSet }: ScannedObject): Buffer | undefined => {
  const bulk = dataSet['7FE00010']?.bulk;
  return bulk && Buffer.from(bytes.buffer, bytes.byteOffset + bulk.offset, bulk.length);
};

/** What dciodvfy says of the sources: the same, whatever becomes of their copies. */
const ofSources = new Map<string, readonly string[]>();

/** Errors of dciodvfy, without values. */
async function complaintsOf(path: string): Promise<string[]> {
  // Some files it gives up by an assertion: then it says nothing.
  const { stdout, stderr } = await run('dciodvfy', [path]).catch(() => ({ stdout: '', stderr: '' }));
  return `${stdout}\n${stderr}`
    .split('\n')
    .filter((line) => line.startsWith('Error'))
    .map((line) => line.replace(/= <[^>]*>/g, '').replace(/UID \S+$/, 'UID'))
    .filter((line) => !TOLERATED.test(line));
}

describe.runIf(hasCorpus).each(PROFILES)('every file of the corpus, de-identified: %s', (_, profile) => {
  let folder: string;
  const copies: { source: string; copy: string }[] = [];
  const refused: string[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nephos-deidentified-'));
    for (const source of await filesBelow(CORPUS)) {
      const object = await readFile(source);
      try {
        const { bytes, refused: reasons } = await deidentified(object, profile);
        if (reasons !== undefined) {
          refused.push(source);
          continue;
        }
        const copy = join(folder, relative(CORPUS, source));
        await mkdir(dirname(copy), { recursive: true });
        await writeFile(copy, bytes);
        copies.push({ source, copy });
      } catch (error) {
        if (!(error instanceof PacsError)) throw error;
        refused.push(source);
      }
    }
  }, 600_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('most can be copied', () => {
    expect(copies.length).toBeGreaterThan(refused.length);
  });

  test('has no name, number or UID of its source in its bytes', { timeout: 300_000 }, async () => {
    let secrets = 0;
    for (const { source, copy } of copies) {
      const { dataSet } = scanPart10(await readFile(source), DEFAULT_LIMITS);
      const bytes = await readFile(copy);
      for (const secret of secretsOf(dataSet, profile.dates !== undefined)) {
        secrets++;
        expect(bytes.includes(secret), relative(CORPUS, source)).toBe(false);
      }
    }
    expect(secrets).toBeGreaterThan(copies.length);
  });

  test('has the pixels of its source, byte by byte', { timeout: 300_000 }, async () => {
    let compared = 0;
    for (const { source, copy } of copies) {
      const [before, after] = [await readFile(source), await readFile(copy)];
      const [original, made] = [scanPart10(before, DEFAULT_LIMITS), scanPart10(after, DEFAULT_LIMITS)];
      const syntax = transferSyntax(original.transferSyntaxUID);
      if (!syntax.littleEndian || syntax.deflated) continue;
      const pixels = pixelsOf(before, original);
      // An odd number of bytes is padded.
      const kept = pixelsOf(after, made)?.subarray(0, pixels?.length);
      expect(kept?.equals(pixels!), relative(CORPUS, source)).toBe(pixels === undefined ? undefined : true);
      compared++;
    }
    expect(compared).toBeGreaterThan(100);
  });

  test('is read by DCMTK, and is as valid an object as its source by dicom3tools', { timeout: 900_000 }, async () => {
    const read = await run('dcmdump', ['-q', '+F', '+P', '0012,0062', ...copies.map(({ copy }) => copy)]);
    const removed = new Map<string | undefined, string>();
    for (const [, path, said = ''] of read.stdout.matchAll(/^# dcmdump \(.*?\): (.*)\n([^#]*)/gm))
      removed.set(path, said);
    for (const { copy } of copies) expect(removed.get(copy), relative(folder, copy)).toContain('[YES]');
    await inParallel(copies, async ({ source, copy }) => {
      const name = relative(CORPUS, source);
      const said = ofSources.get(source) ?? (await complaintsOf(source));
      ofSources.set(source, said);
      const before = [...said];
      for (const complaint of await complaintsOf(copy)) {
        const at = before.indexOf(complaint);
        expect(at, `${name}: ${complaint}`).toBeGreaterThanOrEqual(0);
        before.splice(at, 1);
      }
    });
  });

  test.runIf(profile.dates === undefined)(
    'has left nothing that another implementation of the table takes out',
    { timeout: 600_000 },
    async () => {
      const chosen = copies.filter((_one, i) => i % 12 === 0);
      const pairs = chosen.flatMap(({ source, copy }) => [source, copy]);
      const report = await python<Record<string, string[] | string>>('anonymize.py', pairs, { timeoutMs: 540_000 });
      const compared = Object.entries(report).filter(([, left]) => Array.isArray(left));
      expect(compared.length).toBeGreaterThan(chosen.length / 2);
      for (const [source, left] of compared) expect(left, relative(CORPUS, source)).toEqual([]);
    },
  );
});
