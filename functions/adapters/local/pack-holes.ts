import { constants, fstatSync, readSync, renameSync, statSync, unlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { PAGE_BYTES } from '#core/page-aligned.ts';
import { errno } from './fs-errors.ts';
import { ENTRY_HEADER_BYTES, entryBytes, type PackEntry, readEntryHeader, writeDeletedHeader } from './pack-entry.ts';
import { writeFully, writeFullySync } from './write-fully.ts';

const COPY_BYTES = 1024 * 1024;

/**
 * What stands at `offset` of a pack, `length` bytes with all that belongs to it. `damaged`: no header page can be read there, nor on the pages that follow,
 * `length` bytes of them: what a crash cut off, or what a disk has spoiled.
 */
export type Standing =
  | {
      readonly kind: 'object';
      readonly offset: number;
      readonly length: number;
      readonly name: string;
      readonly size: number;
    }
  | { readonly kind: 'deleted'; readonly offset: number; readonly length: number; readonly size: number }
  | { readonly kind: 'damaged'; readonly offset: number; readonly length: number };

const header = Buffer.alloc(ENTRY_HEADER_BYTES);

/** The entry whose header page stands there, if one does. */
export function entryAt(fd: number, offset: number): PackEntry | undefined {
  const read = readSync(fd, header, 0, ENTRY_HEADER_BYTES, offset);
  return read === ENTRY_HEADER_BYTES ? readEntryHeader(header) : undefined;
}

/** All that stands in an open pack, one after the other, from `from` to its end. */
export function* standingIn(fd: number, from = 0): Generator<Standing> {
  const { size: end } = fstatSync(fd);
  let damagedFrom: number | undefined;
  for (let offset = from; offset < end; ) {
    const entry = entryAt(fd, offset);
    const length = entry && entryBytes(entry.size);
    if (entry === undefined || length === undefined || offset + length > end) {
      damagedFrom ??= offset;
      offset += PAGE_BYTES;
      continue;
    }
    if (damagedFrom !== undefined) yield { kind: 'damaged', offset: damagedFrom, length: offset - damagedFrom };
    damagedFrom = undefined;
    const { name, size } = entry;
    yield name === undefined
      ? { kind: 'deleted', offset, length, size }
      : { kind: 'object', offset, length, name, size };
    offset += length;
  }
  if (damagedFrom !== undefined) yield { kind: 'damaged', offset: damagedFrom, length: end - damagedFrom };
}

/**
 * Gives back the space of deleted objects: the pack is written anew with nothing in their place (a sparse file), so that what is left stands where it
 * stood, and takes the place of the old one in one step. A delete that comes at the same time is found in the old file after that step; one that comes
 * later sees that the file it marked is not the pack any more (`isStill`). The caller syncs the directory. Of several processes that try at once, one does it.
 * @returns what was deleted meanwhile: a process that began when this one had put its file in place may have copied them before they were marked
 * @param path of a pack that nobody adds to any more; `temporary` on the same file system
 */
export async function giveBackHoles(
  path: string,
  temporary: string,
): Promise<readonly { readonly name: string; readonly offset: number }[]> {
  const fresh = await open(temporary, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o640).catch(
    (error: unknown) => {
      if (errno(error) === 'EEXIST') return undefined; // another process is at it, or died there: the sweep of incoming files removes it
      throw error;
    },
  );
  if (fresh === undefined) return [];
  // Not before: what another process has just written anew is what is copied.
  const old = await open(path, 'r').catch(async (error: unknown) => {
    await fresh.close();
    unlinkSync(temporary);
    throw error;
  });
  let isInPlace = false;
  try {
    const buffer = Buffer.allocUnsafe(COPY_BYTES);
    const { size } = await old.stat();
    const objects: Extract<Standing, { kind: 'object' }>[] = [];
    for (const standing of standingIn(old.fd)) {
      if (standing.kind === 'object') objects.push(standing);
      const { offset } = standing;
      const end = offset + (standing.kind === 'deleted' ? ENTRY_HEADER_BYTES : standing.length);
      for (let at = offset; at < end; ) {
        const { bytesRead } = await old.read(buffer, 0, Math.min(COPY_BYTES, end - at), at);
        if (bytesRead === 0) throw new Error('a pack has become shorter');
        await writeFully(fresh, buffer.subarray(0, bytesRead), at);
        at += bytesRead;
      }
    }
    await fresh.truncate(size);
    await fresh.datasync();
    renameSync(temporary, path);
    isInPlace = true;
    const late = objects.filter(({ offset }) => entryAt(old.fd, offset)?.name === undefined);
    for (const { offset, size: objectBytes } of late) markDeleted(fresh.fd, offset, objectBytes);
    await fresh.datasync();
    return late;
  } finally {
    await old.close();
    await fresh.close();
    if (!isInPlace) unlinkSync(temporary); // on a full disk it would stand in the way of the next attempt
  }
}

/** The place stays, under a name that no object has. Not yet durable. */
export function markDeleted(fd: number, offset: number, size: number): void {
  const page = Buffer.alloc(ENTRY_HEADER_BYTES);
  writeDeletedHeader(page, size, Math.floor(Date.now() / 1000));
  writeFullySync(fd, page, offset);
}

/** Whether the open file is the one that has this name now. */
export const isStill = (path: string, fd: number): boolean =>
  statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino;
