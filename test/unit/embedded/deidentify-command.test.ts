import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { deidentifyCommand } from '#embedded/deidentify-command.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';

let folder: string;
let said: string[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nephos-deidentify-'));
  said = [];
});
afterEach(() => rm(folder, { recursive: true }));

const put = (name: string, bytes: Uint8Array): Promise<void> => writeFile(join(folder, name), bytes);
const run = (...args: string[]): Promise<number> => deidentifyCommand([folder, ...args], (text) => said.push(text));
const filesIn = async (path: string): Promise<string[]> =>
  (await readdir(path, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

describe('nephos deidentify', () => {
  test('writes copies below their new UIDs, says what it refused, and leaves the files as they are', async () => {
    const source = buildDicom();
    await put('a.dcm', source);
    await put('b.dcm', buildDicom({ SOPInstanceUID: uid(8), BurnedInAnnotation: 'YES' }));
    await put('notes.txt', Buffer.from('nothing of DICOM'));
    const out = join(folder, 'out');
    expect(await run('--out', out)).toBe(1);
    expect(said.at(-1)).toBe(`1 written to ${out}, 0 repeated, 1 refused, 1 failed`);
    expect(said.find((line) => line.startsWith('refused'))).toMatch(/b\.dcm: BurnedInAnnotation/);
    const [file] = await filesIn(out);
    const bytes = await readFile(file!);
    expect(bytes.includes('Doe')).toBe(false);
    expect(file).toContain(String(scanPart10(bytes, DEFAULT_LIMITS).dataSet['00080018']?.Value?.[0]));
    expect((await readFile(join(folder, 'a.dcm'))).equals(Buffer.from(source))).toBe(true);
  });

  test('the same secret gives the same pseudonyms, another gives others; only its owner can read it', async () => {
    await put('a.dcm', buildDicom());
    const key = join(folder, '..', `${folder.split('/').at(-1)}.key`);
    const copies: string[] = [];
    for (const [name, secret] of [
      ['one', ['--key', key]],
      ['two', ['--key', key]],
      ['three', []],
    ] as const) {
      const out = join(folder, '..', `${folder.split('/').at(-1)}-${name}`);
      expect(await run('--out', out, ...secret)).toBe(0);
      const [file] = await filesIn(out);
      copies.push((await readFile(file!)).toString('latin1'));
      await rm(out, { recursive: true });
    }
    expect((await stat(key)).mode & 0o777).toBe(0o600);
    await rm(key);
    expect(copies[1]).toBe(copies[0]);
    expect(copies[2]).not.toBe(copies[0]);
  });

  test('takes options by their names', async () => {
    await put('a.dcm', buildDicom());
    const out = join(folder, 'out');
    expect(
      await run('--out', out, '--retain-uids', '--clean-descriptors', '--dates', 'keep', '--project', 'lung'),
    ).toBe(0);
    const { dataSet } = scanPart10(await readFile((await filesIn(out))[0]!), DEFAULT_LIMITS);
    expect(dataSet['00080018']?.Value).toEqual([uid(3)]);
    expect(dataSet['00081030']?.Value).toEqual(['CT Thorax']);
    expect(dataSet['00080020']?.Value).toEqual(['20240131']);
  });

  test('a file that repeats another’s UID is told, not written over it', async () => {
    await put('a.dcm', buildDicom());
    await put('b.dcm', buildDicom({ InstanceNumber: 7 }));
    expect(await run('--out', join(folder, 'out'))).toBe(0);
    expect(said.at(-1)).toContain('1 written');
    expect(said.at(-1)).toContain('1 repeated');
  });

  test('a wrong option is told in a line', async () => {
    await expect(run('--out', folder, '--retain-everything')).rejects.toThrow(/retain-everything/);
    await expect(run('--out', folder, '--dates', 'never')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    await expect(run('--out', folder, '--project', 'A B')).rejects.toThrow('--project');
  });
});
