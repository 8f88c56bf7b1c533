import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { entryBytes, writeEntryHeader } from '#adapters/local/pack-entry.ts';
import { PackNotes } from '#adapters/local/pack-notes.ts';

const STUDY = 'clinic/1.2.3';
let root = '';
let writer: FsBlobStore;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'nephos-emptied-'));
  writer = await FsBlobStore.open(root);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await writer.close();
  rmSync(root, { recursive: true });
});

/**
 * One process had seen that all of a pack was deleted, and looked whether another still writes it. In between that one added an object,
 * acknowledged it and stopped: the pack was removed with it.
 */
test('an object that is added to a pack between two looks of whoever removes it stays', async () => {
  const { key } = await writer.packed!.append(`${STUDY}/1.9/1.4.1.V.dcm`, Buffer.from('first'));
  writer.packed!.settled(key);
  const remover = await FsBlobStore.open(root);
  const pack = join(root, 'blobs', STUDY, readdirSync(join(root, 'blobs', STUDY))[0]!);
  const added = Buffer.alloc(entryBytes(6));
  writeEntryHeader(added, '1.9/1.4.2.V.dcm', 6, 0);
  added.write('second', 4096);

  const open = PackNotes.prototype.open;
  vi.spyOn(PackNotes.prototype, 'open').mockImplementationOnce(function (this: PackNotes) {
    // What the writer does while this process stands still: it writes, and then stops in order.
    const fd = openSync(pack, 'r+');
    writeSync(fd, added, 0, added.length, fstatSync(fd).size);
    closeSync(fd);
    void writer.close();
    return open.call(this);
  });
  await remover.delete(key);
  await remover.close();

  const left: string[] = [];
  for await (const blob of writer.list('')) left.push(blob.key);
  expect(left).toEqual([expect.stringMatching(/^clinic\/1\.2\.3\/1\.9\/1\.4\.2\.V\.p[0-9a-z]{20}-2\.dcm$/)]);
  expect(Buffer.from(await writer.readBytes(left[0]!)).toString()).toBe('second');
});
