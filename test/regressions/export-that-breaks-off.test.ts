import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { nephos, startArchive } from '#test/hosts/process.ts';

/** Half of the object stayed under its name, and the next attempt failed because there was something. */
test('an object that cannot be read to its end, or is not what was received, leaves no file where it is exported to', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'nephos-export-'));
  const data = join(dir, 'data');
  const archive = await startArchive(data);
  const headers = { 'content-type': 'application/dicom', accept: 'application/dicom+json' };
  const pixels = { Rows: 768, Columns: 1_024, BitsAllocated: 16, PixelData: new Uint8Array(768 * 2_048) };
  const body = buildDicom(pixels) as Uint8Array<ArrayBuffer>;
  expect((await fetch(`${archive.origin}/dicomweb/studies`, { method: 'POST', headers, body })).status).toBe(200);
  await archive.stop();

  const [pack] = readdirSync(data, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.tar'));
  const path = join(data, pack!);
  const leavesNothing = async (to: string): Promise<void> => {
    const exported = join(dir, to);
    expect((await nephos(data, 'export', uid(1), '--to', exported)).code).not.toBe(0);
    expect(existsSync(join(exported, uid(2)))).toBe(true);
    expect(readdirSync(join(exported, uid(2)))).toEqual([]);
  };
  const stored = readFileSync(path);
  const spoiled = Buffer.from(stored);
  spoiled[stored.length - 200_000]! ^= 1;
  writeFileSync(path, spoiled);
  await leavesNothing('spoiled');
  // What it is read in has a megabyte: one piece can be read, the next cannot.
  truncateSync(path, statSync(path).size - 100_000);
  await leavesNothing('cut short');
  writeFileSync(path, stored);
  expect((await nephos(data, 'export', uid(1), '--to', join(dir, 'whole'))).code).toBe(0);
  rmSync(dir, { recursive: true });
});
