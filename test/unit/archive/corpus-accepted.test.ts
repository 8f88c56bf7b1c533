import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { memoryServices, store } from '#test/fixtures/services.ts';

/** Objects of many makers, each with a line in MANIFEST.tsv; the suite passes without them. */
const CORPUS = join(import.meta.dirname, '../../../../shared/testdata');

/** What of `dicom/` is no instance of a study, and which UID it lacks. All else is to be stored. */
const NO_INSTANCES: readonly [path: RegExp, lacks: 'SOPClassUID' | 'StudyInstanceUID', why: string, files: number][] = [
  [/^dicom\/dicomdir\/.*\/DICOMDIR[^/]*$/, 'SOPClassUID', 'directories of media', 9],
  [/^dicom\/worklist\/worklist-(item|query)-\d+\.dcm$/, 'SOPClassUID', 'answers and questions of a worklist', 12],
  [/^dicom\/color-palette\//, 'StudyInstanceUID', 'colour palettes: of no patient and no study', 8],
  [/^dicom\/transfer-syntax\/tiny-data-sets\//, 'SOPClassUID', 'data sets of a few elements, without UIDs', 10],
  [/^dicom\/charset\/(chrSQEncoding1?|empty_charset_LEI)\.dcm$/, 'SOPClassUID', 'data sets of a few elements', 3],
  [/^dicom\/private-tags\/(UN_sequence|nested_priv_SQ|priv_SQ)\.dcm$/, 'SOPClassUID', 'data sets of a few elements', 3],
  [/^dicom\/sc\/(JPEGLSNearLossless_|SC_rgb_jls_lossy_)/, 'StudyInstanceUID', 'samples of a codec, of no study', 4],
  [/^dicom\/transfer-syntax\/htj2k\/HTJ2K(Lossless)?_08_RGB\.dcm$/, 'StudyInstanceUID', 'samples of a codec', 2],
  [/^dicom\/transfer-syntax\/jpeg-ls\/JLSL_/, 'StudyInstanceUID', 'samples of a codec', 2],
];

describe.skipIf(!existsSync(join(CORPUS, 'MANIFEST.tsv')))('what the MANIFEST lists below dicom/', () => {
  test('is stored, all but what is no instance; and that is refused for the UID that it lacks', async () => {
    const lines = readFileSync(join(CORPUS, 'MANIFEST.tsv'), 'utf8').trim().split('\n').slice(1);
    const rows = lines.map((line) => line.split('\t')).filter(([path]) => path!.startsWith('dicom/'));
    const expected: Record<string, string> = {};
    const found: Record<string, string> = {};
    for (const [path, sha256] of rows) {
      const bytes = readFileSync(join(CORPUS, path!));
      expect(createHash('sha256').update(bytes).digest('hex'), path).toBe(sha256);
      const lacks = NO_INSTANCES.find(([pattern]) => pattern.test(path!))?.[1];
      expected[path!] = lacks === undefined ? `stored ${sha256}` : `UNREADABLE_DATASET ${lacks} is missing`;
      // Many share their UIDs: each goes into an archive of its own.
      const outcome = await store(memoryServices(), bytes);
      found[path!] =
        outcome.kind === 'failed'
          ? `${outcome.error.code} ${outcome.error.message}`
          : `${outcome.kind} ${'sha256' in outcome ? outcome.sha256 : ''}`;
    }
    expect(found).toEqual(expected);
    for (const [pattern, , why, files] of NO_INSTANCES)
      expect(
        Object.keys(expected).filter((path) => pattern.test(path)),
        why,
      ).toHaveLength(files);
    expect(rows.length).toBeGreaterThan(1_000);
  }, 300_000);
});
