import { expect, test } from 'vitest';
import { STORAGE_SOP_CLASSES } from '#core/dicom/sop-classes.ts';
import { STORAGE_SYNTAXES } from '#dimse/negotiation.ts';
import { python } from './helpers/programs.ts';

/** Of discs: nobody sends it. */
const MEDIA_STORAGE_DIRECTORY = '1.2.840.10008.1.3.10';
/** Encodings of a whole file (XML, MIME), streams in real time, and a paper that is called a syntax. */
const NO_DATA_SETS = /^1\.2\.840\.10008\.1\.2\.(6\.\d|7\.\d)$|^1\.2\.840\.10008\.1\.20$/;

test('every storage SOP class and transfer syntax that pydicom and pynetdicom know is known', async () => {
  const { classes, syntaxes } = await python<Record<'classes' | 'syntaxes', string[]>>('standard-uids.py', []);
  expect(classes.length).toBeGreaterThan(180);
  expect(classes.filter((uid) => uid !== MEDIA_STORAGE_DIRECTORY && !STORAGE_SOP_CLASSES.has(uid))).toEqual([]);
  expect(syntaxes.filter((uid) => !NO_DATA_SETS.test(uid) && !STORAGE_SYNTAXES.includes(uid))).toEqual([]);
});
