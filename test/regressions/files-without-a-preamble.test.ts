import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { nephos } from '#test/hosts/process.ts';
import { parseFileMeta } from '../../web/src/dicom/part10.ts';

/**
 * Older discs and archives hold objects without the preamble, or the data set alone. The archive takes them by STOW-RS and C-STORE; the command `import`
 * and the page passed over them as if they were none.
 */
const object = (number: number, transferSyntaxUID = EXPLICIT): Buffer =>
  Buffer.from(buildDicom({ SOPInstanceUID: uid(number) }, { transferSyntaxUID }));
const dataSetOf = (bytes: Buffer): Buffer => bytes.subarray(scanPart10(bytes, DEFAULT_LIMITS).dataSetOffset);

const EXPLICIT = '1.2.840.10008.1.2.1';
const IMPLICIT = '1.2.840.10008.1.2';
const BIG_ENDIAN = '1.2.840.10008.1.2.2';
const FILES = {
  'with-preamble': object(31),
  'without-preamble': object(32).subarray(132),
  'data-set-alone': dataSetOf(object(33)),
  'implicit-data-set': dataSetOf(object(34, IMPLICIT)),
  'big-endian-data-set': dataSetOf(object(35, BIG_ENDIAN)),
};

test('the command imports them, and passes over what is none', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'nephos-disc-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const disc = join(dir, 'disc');
  mkdirSync(disc);
  for (const [name, bytes] of Object.entries(FILES)) writeFileSync(join(disc, name), bytes);
  writeFileSync(join(disc, 'readme.txt'), 'Insert the disc, and the viewer starts.');
  writeFileSync(join(disc, 'autorun.inf'), '');
  writeFileSync(join(disc, 'icon.ico'), Buffer.from([0, 0, 1, 0, 1, 0, 16, 16, 16, 0, 1, 0]));
  const { code, output } = await nephos(join(dir, 'data'), 'import', disc);
  expect(output).toContain('5 stored, 0 duplicate, 0 replaced, 0 held, 0 failed, 3 skipped');
  expect(code).toBe(0);
});

test.each(Object.entries(FILES))('the page knows a file %s, and its UIDs', (_, bytes) => {
  const { dataSet } = scanPart10(bytes, DEFAULT_LIMITS);
  expect(parseFileMeta(bytes)).toEqual({
    SOPClassUID: dataSet['00080016']?.Value?.[0],
    SOPInstanceUID: dataSet['00080018']?.Value?.[0],
  });
});

test.each([
  ['a picture', Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 16, 0x4a, 0x46, 0x49, 0x46])],
  ['a text', Buffer.from('Insert the disc, and the viewer starts.')],
  ['an icon', Buffer.from([0, 0, 1, 0, 1, 0, 16, 16, 16, 0, 1, 0])],
  ['nothing', Buffer.alloc(0)],
])('%s is none', (_, bytes) => expect(parseFileMeta(bytes)).toBeUndefined());
