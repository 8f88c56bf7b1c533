import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { memoryServices, store } from '#test/fixtures/services.ts';

/** Objects of many makers, each with a line in MANIFEST.tsv; the suite passes without them. */
const CORPUS = join(import.meta.dirname, '../../../../shared/testdata');

/**
 * What of `dicom/` is refused, and what is said of it; `marked`: how the MANIFEST has it where it speaks of it; `derive`: what becomes of it where
 * missing UIDs of studies and series are derived.
 */
const REFUSED: readonly {
  readonly path: RegExp;
  readonly said: string;
  readonly marked?: RegExp;
  readonly why: string;
  readonly files: number;
  readonly derive: 'stored' | 'refused';
}[] = [
  {
    path: /^dicom\/dicomdir\/.*\/DICOMDIR[^/]*$/,
    said: 'UNSUPPORTED_SOP_CLASS a media directory (DICOMDIR) is not stored',
    marked: /\tMedia Storage Directory Storage\t/,
    why: 'directories of media',
    files: 9,
    derive: 'refused',
  },
  {
    path: /^dicom\/worklist\/worklist-item-\d+\.dcm$/,
    said: 'UNREADABLE_DATASET SeriesInstanceUID is missing',
    marked: /C-FIND/,
    why: 'answers of a worklist',
    files: 5,
    derive: 'refused',
  },
  {
    path: /^dicom\/worklist\/worklist-query-\d+\.dcm$/,
    said: 'UNREADABLE_DATASET StudyInstanceUID is missing',
    marked: /C-FIND/,
    why: 'questions to a worklist',
    files: 7,
    derive: 'refused',
  },
  {
    path: /^dicom\/color-palette\//,
    said: 'UNSUPPORTED_SOP_CLASS objects of no patient are not stored',
    marked: /no patient, no study/,
    why: 'colour palettes: of no patient and no study',
    files: 8,
    derive: 'refused',
  },
  {
    path: /^dicom\/charset\/empty_charset_LEI\.dcm$/,
    said: 'UNREADABLE_DATASET SOPClassUID is missing',
    why: 'a data set of two elements, with no UID anywhere',
    files: 1,
    derive: 'refused',
  },
  {
    path: /^dicom\/private-tags\/nested_priv_SQ\.dcm$/,
    said: 'UNREADABLE_DATASET SOPClassUID is missing',
    why: 'a private sequence, with no UID anywhere',
    files: 1,
    derive: 'refused',
  },
  {
    path: /^dicom\/transfer-syntax\/tiny-data-sets\//,
    said: 'UNREADABLE_DATASET StudyInstanceUID is missing',
    why: 'data sets of a few elements',
    files: 10,
    derive: 'stored',
  },
  {
    path: /^dicom\/charset\/chrSQEncoding1?\.dcm$/,
    said: 'UNREADABLE_DATASET StudyInstanceUID is missing',
    why: 'data sets of a few elements',
    files: 2,
    derive: 'stored',
  },
  {
    path: /^dicom\/private-tags\/(priv_SQ|UN_sequence)\.dcm$/,
    said: 'UNREADABLE_DATASET StudyInstanceUID is missing',
    why: 'private sequences',
    files: 2,
    derive: 'stored',
  },
  {
    path: /^dicom\/sc\/(JPEGLSNearLossless_|SC_rgb_jls_lossy_)/,
    said: 'UNREADABLE_DATASET StudyInstanceUID is missing',
    why: 'samples of a codec, of no study',
    files: 4,
    derive: 'stored',
  },
  {
    path: /^dicom\/transfer-syntax\/htj2k\/HTJ2K(Lossless)?_08_RGB\.dcm$/,
    said: 'UNREADABLE_DATASET StudyInstanceUID is missing',
    why: 'samples of a codec',
    files: 2,
    derive: 'stored',
  },
  {
    path: /^dicom\/transfer-syntax\/jpeg-ls\/JLSL_/,
    said: 'UNREADABLE_DATASET StudyInstanceUID is missing',
    why: 'samples of a codec',
    files: 2,
    derive: 'stored',
  },
];

describe.skipIf(!existsSync(join(CORPUS, 'MANIFEST.tsv')))('what the MANIFEST lists below dicom/', () => {
  test('is stored, all but what is of no study; and that is refused for what it is, or for the UID that it lacks', async () => {
    const lines = readFileSync(join(CORPUS, 'MANIFEST.tsv'), 'utf8').trim().split('\n').slice(1);
    const rows = lines.map((line) => line.split('\t')).filter(([path]) => path!.startsWith('dicom/'));
    const expected: Record<string, string> = {};
    const found: Record<string, string> = {};
    for (const row of rows) {
      const [path, sha256] = row;
      const bytes = readFileSync(join(CORPUS, path!));
      expect(createHash('sha256').update(bytes).digest('hex'), path).toBe(sha256);
      const refused = REFUSED.find((row) => row.path.test(path!));
      expected[path!] = refused === undefined ? `stored ${sha256}` : refused.said;
      // Many share their UIDs: each goes into an archive of its own.
      const outcome = await store(memoryServices(), bytes);
      found[path!] =
        outcome.kind === 'failed'
          ? `${outcome.error.code} ${outcome.error.message}`
          : `${outcome.kind} ${'sha256' in outcome ? outcome.sha256 : ''}`;
      if (refused === undefined) continue;
      if (refused.marked) expect(row.join('\t'), path).toMatch(refused.marked);
      const derived = await store(memoryServices({ policy: { missingUIDs: 'derive' } }), bytes);
      expect(derived.kind === 'failed' ? 'refused' : derived.kind, path).toBe(refused.derive);
    }
    expect(found).toEqual(expected);
    for (const { path: pattern, why, files } of REFUSED)
      expect(
        Object.keys(expected).filter((path) => pattern.test(path)),
        why,
      ).toHaveLength(files);
    expect(rows.length).toBeGreaterThan(1_000);
  }, 300_000);
});
