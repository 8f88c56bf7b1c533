import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openArchive } from '#embedded/archive.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nephos-format-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const open = () => openArchive({ dataDir: folder, limits: {}, policy: {} });

test('a data folder bears the number of its format, one of before numbers is given it', async () => {
  await (await open()).close();
  const format = join(folder, 'format');
  expect(readFileSync(format, 'utf8')).toBe('1\n');
  rmSync(format);
  await (await open()).close();
  expect(readFileSync(format, 'utf8')).toBe('1\n');
  expect(readdirSync(folder).filter((name) => name.startsWith('format'))).toEqual(['format']);
});

test.each(['2\n', 'x\n'])(
  'what a newer version has written is refused before anything is touched (%j)',
  async (format) => {
    writeFileSync(join(folder, 'format'), format);
    await expect(open()).rejects.toThrow('was written by a newer version of Nephos');
    expect(readdirSync(folder)).toEqual(['format']);
  },
);
