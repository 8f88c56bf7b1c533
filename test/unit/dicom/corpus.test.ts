import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { dataSetToJson, jsonToDataSet } from '#core/dicom/json.ts';
import { Part10Scanner, scanPart10 } from '#core/dicom/scanner.ts';
import type { ScannedObject } from '#core/dicom/types.ts';
import { dataSetToXml, xmlToDataSet } from '#core/dicom/xml.ts';
import { PacsError } from '#core/errors.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';

/** Objects of many makers, sound and broken; the suite passes without them. */
const CORPUS = join(import.meta.dirname, '../../../../shared/testdata');

const filesOf = (folder: string): string[] =>
  readdirSync(join(CORPUS, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.(json|txt|md)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();

/** Repeatable chunk lengths: many of a few bytes, some of thousands. */
function* chunks(bytes: Uint8Array, seed: number): Generator<Uint8Array> {
  let state = seed;
  for (let at = 0; at < bytes.length; ) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const length = state % 7 === 0 ? 1 + (state >>> 16) : 1 + ((state >>> 8) % 61);
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

function scanChunks(parts: Iterable<Uint8Array>): ScannedObject {
  const scanner = new Part10Scanner(DEFAULT_LIMITS);
  for (const part of parts) scanner.push(part);
  return scanner.end();
}

/** The result, or what was refused: the same object must give the same, however it comes. */
function outcome(scan: () => ScannedObject): unknown {
  try {
    return scan();
  } catch (error) {
    if (error instanceof PacsError) return { code: error.code, message: error.message };
    throw error;
  }
}

describe.skipIf(!existsSync(CORPUS))('the corpus', () => {
  test('every sound object is read, without its header ever differing by how it was cut into chunks', () => {
    const files = filesOf('dicom');
    for (const [i, file] of files.entries()) {
      const bytes = readFileSync(file);
      const name = relative(CORPUS, file);
      const whole = outcome(() => scanPart10(bytes, DEFAULT_LIMITS));
      expect(whole, name).toHaveProperty('dataSet');
      expect(
        outcome(() => scanChunks(chunks(bytes, i))),
        name,
      ).toEqual(whole);
    }
    expect(files.length).toBeGreaterThan(1000);
  });

  test('every broken one is read or refused, with bounded memory, the same in any chunks', () => {
    const files = filesOf('malformed');
    let refused = 0;
    for (const [i, file] of files.entries()) {
      const bytes = readFileSync(file);
      const whole = outcome(() => scanPart10(bytes, DEFAULT_LIMITS));
      if ('code' in (whole as object)) refused++;
      expect(
        outcome(() => scanChunks(chunks(bytes, i))),
        relative(CORPUS, file),
      ).toEqual(whole);
    }
    expect(files.length).toBeGreaterThan(300);
    expect(refused).toBeGreaterThan(20);
    expect(process.memoryUsage().arrayBuffers).toBeLessThan(512 * 1024 * 1024);
  });

  test('JSON and XML give back every data set', () => {
    const path = (name: string): string => name;
    // Whole series are one header over and over.
    for (const file of filesOf('dicom').filter((name) => !/\/(series|study|split-study|dicomdir)\//.test(name))) {
      const json = dataSetToJson(scanPart10(readFileSync(file), DEFAULT_LIMITS).dataSet, path);
      const dataSet = jsonToDataSet(json);
      expect(dataSetToJson(dataSet, path), relative(CORPUS, file)).toBe(json);
      expect(dataSetToJson(xmlToDataSet(dataSetToXml(dataSet, path)), path), relative(CORPUS, file)).toBe(json);
    }
  });

  const truncated: readonly [name: string, why: string][] = [
    ['MR_truncated.dcm', 'pixel data shorter than its length'],
    ['rtplan_truncated.dcm', 'cut inside a sequence'],
    ['truncated-inside-pixel-data.dcm', 'cut inside the pixel data'],
    ['truncated-mid-element-header.dcm', 'cut inside an element header'],
    ['truncated-inside-file-meta.dcm', 'cut inside the file meta'],
    ['truncated-right-after-dicm.dcm', 'nothing but the preamble'],
    ['sequence-length-longer-than-file.dcm', 'a sequence longer than the object'],
    ['sequence-undefined-length-without-delimiter.dcm', 'a sequence that never ends'],
    ['emri_small_jpeg_2k_lossless_too_short.dcm', 'fragments without their end'],
    ['html-page-named-dcm.dcm', 'no DICOM'],
    ['gzip-of-a-dicom-file.dcm', 'no DICOM yet'],
  ];
  test.each(truncated)('%s is refused: %s', (name) => {
    const bytes = readFileSync(join(CORPUS, 'malformed', name));
    expect(outcome(() => scanPart10(bytes, DEFAULT_LIMITS))).toMatchObject({ code: 'UNREADABLE_DATASET' });
  });
});
