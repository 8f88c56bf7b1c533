import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EncryptedBlobStore } from '#adapters/local/encrypted-blob-store.ts';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { KeyRing, newMasterKey, readMasterKeys } from '#adapters/local/key-ring.ts';
import { keysCommand } from '#embedded/keys-command.ts';

let folder = '';
let keyFile = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nephos-shredded-'));
  keyFile = join(folder, 'master.txt');
  writeFileSync(keyFile, newMasterKey());
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A part that is on its way into a tenant's archive, one of another tenant's, and what can be read of both. */
const PARTS = ['_uploads/main/b3c1f0de-0000-4000-8000-000000000001/1/00001', '_uploads/other/x/1/00001'] as const;
async function within<T>(work: (store: EncryptedBlobStore) => Promise<T>): Promise<T> {
  const files = await FsBlobStore.open(folder);
  try {
    return await work(new EncryptedBlobStore(files, await KeyRing.open(folder, await readMasterKeys(keyFile))));
  } finally {
    await files.close();
  }
}
const nephosKeys = (...args: string[]): Promise<number> =>
  keysCommand(args, { NEPHOS_DATA_DIR: folder, NEPHOS_ENCRYPTION_KEY_FILE: keyFile }, () => {});

test('parts of objects that were on their way in follow their tenant’s keys: changed with them, and gone with them', async () => {
  await within(async (store) => {
    for (const part of PARTS) await store.put(part, Buffer.from('PatientName Doe^Jane'));
  });
  expect(await nephosKeys('rotate', 'main')).toBe(0);
  await within(async (store) => expect(Buffer.from(await store.readBytes(PARTS[0])).toString()).toContain('Doe'));
  expect(await nephosKeys('shred', 'main', '--confirm', 'main')).toBe(0);
  await within(async (store) => {
    await expect(store.readBytes(PARTS[0])).rejects.toMatchObject({ code: 'GONE' });
    expect(Buffer.from(await store.readBytes(PARTS[1])).toString()).toContain('Doe');
  });
});
