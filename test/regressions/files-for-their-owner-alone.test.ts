import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';
import { nephos, startArchive } from '#test/hosts/process.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'nephos-modes-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** What is below a folder, with the bits that let others in. */
async function openToOthers(folder: string): Promise<{ open: string[]; count: number }> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const open: string[] = [];
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    // Notes of running processes come and go.
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && (found.mode & 0o077) !== 0) open.push(`${(found.mode & 0o777).toString(8)} ${path}`);
  }
  return { open, count: entries.length };
}

test('what archive and commands write nobody else on the machine can read, in a folder that is there already', async () => {
  const data = join(dir, 'data');
  const exported = join(dir, 'exported');
  for (const folder of [data, exported]) mkdirSync(folder, { mode: 0o755 });
  const archive = await startArchive(data);
  try {
    const headers = { 'content-type': 'application/dicom', accept: 'application/dicom+json' };
    const body = buildDicom() as Uint8Array<ArrayBuffer>;
    expect((await fetch(`${archive.origin}/dicomweb/studies`, { method: 'POST', headers, body })).status).toBe(200);
    const { open, count } = await openToOthers(data);
    expect(open).toEqual([]);
    expect(count).toBeGreaterThan(8);
    expect((await nephos(data, 'export', uid(1), '--to', exported)).code).toBe(0);
    const left = await openToOthers(exported);
    expect(left.open).toEqual([]);
    expect(left.count).toBeGreaterThan(0);
  } finally {
    await archive.stop();
  }
});
