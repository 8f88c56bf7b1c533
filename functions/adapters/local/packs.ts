import { randomBytes } from 'node:crypto';
import { closeSync, fdatasync, fstatSync, ftruncateSync, openSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { PacsError } from '#core/errors.ts';
import { PAGE_BYTES } from '#core/page-aligned.ts';
import type { DurableDirectories } from './durable-directories.ts';
import { errno, translated } from './fs-errors.ts';
import { ENTRY_HEADER_BYTES } from './pack-entry.ts';
import { entryAt, giveBackHoles, isStill, markDeleted, type Standing, standingIn } from './pack-holes.ts';
import { type PackNotes, removeIfThere } from './pack-notes.ts';
import { type OpenedPack, openPack, Pack, WRITE_LIMIT_BYTES } from './pack-writer.ts';

const fdatasyncAsync = promisify(fdatasync);

export interface PackLimits {
  /** a pack that has grown to this is closed (bytes) */
  readonly packBytes: number;
  /** packs that one process writes at a time; beyond, the one used least recently is closed */
  readonly openPacks: number;
  /** a pack that nothing was added to for this long is closed (ms) */
  readonly idleMs: number;
}
export const PACK_LIMITS: PackLimits = { packBytes: 256 * 1024 * 1024, openPacks: 64, idleMs: 15_000 };
/** Deleted objects are given back when they are this part of a pack, or after this long (ms). */
const HOLES = { worthOf: 1 / 8, atMostMs: 24 * 60 * 60 * 1000 };
/** header pages read before others get a turn of the event loop */
const HEADERS_PER_TURN = 256;

/** `<study folder>/<series>/<SOP>.<version>.<pack>-<page>.dcm`: the object begins with its header page in `<study folder>/<pack>.tar`. */
const PLACED = /^((?:[^/]+\/)+)([^/]+\/[^/]+)\.(p[0-9a-z]{20})-([0-9a-z]+)\.dcm$/;
const PACK_FILE = /^p[0-9a-z]{20}\.tar$/;

export const isPackFile = (name: string): boolean => PACK_FILE.test(name);

/** Where the key of a packed object says that it stands. */
export interface Place {
  /** relative to the folder of blobs, with a '/' at its end */
  readonly folder: string;
  /** of the object within the pack */
  readonly name: string;
  readonly pack: string;
  /** of its header page (bytes) */
  readonly offset: number;
}

export function placeOf(key: string): Place | undefined {
  const found = PLACED.exec(key);
  if (found === null) return undefined;
  const [, folder, stem, pack, page] = found as unknown as [string, string, string, string, string];
  return { folder, name: `${stem}.dcm`, pack, offset: Number.parseInt(page, 36) * PAGE_BYTES };
}

function placedKey({ folder, name, pack, offset }: Place): string {
  const stem = name.slice(0, -'.dcm'.length);
  return `${folder}${stem}.${pack}-${(offset / PAGE_BYTES).toString(36)}.dcm`;
}

/**
 * Small objects of one study in files that grow: a tar archive (pack-entry.ts) for each process that stores into the study. What arrives while a write is
 * under way goes into the next one together, and that write is their sync: an object costs no file, no directory entry and no sync of its own.
 *
 * An object is found by its key, which says where it stands; its header page must bear its name, or it is not there. A pack
 * is written by the process that made it, and never again once it is closed. As long as it is open, a note in `incoming` names it: nobody else
 * may remove the file, and after a crash the note tells which objects may have no record (`unsettled`).
 */
export class Packs {
  readonly #blobs: string;
  readonly #limits: PackLimits;
  readonly #notes: PackNotes;
  readonly #directories: DurableDirectories;
  /** by folder, in order of last use */
  readonly #open = new Map<string, Pack>();
  /** by id, closed ones included while an object of theirs is unsettled */
  readonly #alive = new Map<string, Pack>();
  /** of packs: everything before is deleted (bytes) */
  readonly #deletedUpTo = new Map<string, number>();

  /** @param blobs the folder of blobs, and what syncs its folders; `notes` tell all processes which packs are being written */
  constructor(blobs: string, notes: PackNotes, directories: DurableDirectories, limits: PackLimits = PACK_LIMITS) {
    this.#limits = limits;
    this.#blobs = blobs;
    this.#notes = notes;
    this.#directories = directories;
  }

  /**
   * Resolves when the object is durable, with the key that tells where. It is unsettled until `settled` is told that key.
   * @param key `<folder>/<folder>/<name>.dcm`, which no other object has or will have: blobs of other names beside it are files of their own
   */
  async append(key: string, bytes: Uint8Array): Promise<string> {
    const split = key.lastIndexOf('/', key.lastIndexOf('/') - 1) + 1;
    if (split === 0 || !key.endsWith('.dcm')) throw new PacsError('BAD_REQUEST', 'not the key of an object');
    const folder = key.slice(0, split);
    const name = key.slice(split);
    try {
      const pack = this.#packOf(folder);
      const offset = await pack.append(name, bytes);
      return placedKey({ folder, name, pack: pack.id, offset });
    } catch (error) {
      throw translated(error);
    }
  }

  settled(key: string): void {
    const place = placeOf(key);
    if (place) this.#alive.get(place.pack)?.settle();
  }

  /** Opened for reading; undefined when the object is not there. The caller closes it. `start` and `size` in bytes. */
  find(place: Place): { readonly fd: number; readonly start: number; readonly size: number } | undefined {
    const fd = openIfThere(this.#path(place), 'r');
    if (fd === undefined) return undefined;
    let isFound = false;
    try {
      const entry = entryAt(fd, place.offset);
      isFound = entry?.name === place.name;
      return isFound ? { fd, start: place.offset + ENTRY_HEADER_BYTES, size: entry!.size } : undefined;
    } finally {
      if (!isFound) closeSync(fd); // also where the disk cannot read the page: that is asked for again and again
    }
  }

  /** Durable; idempotent. The space is given back when all of the pack is deleted, else by a later sweep. */
  async delete(place: Place): Promise<void> {
    const path = this.#path(place);
    try {
      for (;;) {
        const fd = openIfThere(path, 'r+');
        if (fd === undefined) return;
        try {
          const entry = entryAt(fd, place.offset);
          if (entry === undefined || (entry.name !== undefined && entry.name !== place.name)) return;
          if (entry.name !== undefined) markDeleted(fd, place.offset, entry.size);
          await fdatasyncAsync(fd);
          if (!isStill(path, fd)) continue; // it has just been written anew
          await this.#settleHoles(place.folder, place.pack, fd);
          return;
        } finally {
          closeSync(fd);
        }
      }
    } catch (error) {
      throw translated(error);
    }
  }

  /** The keys of the objects in a pack, in the order they came. */
  async *keysIn(folder: string, file: string): AsyncGenerator<{ readonly key: string; readonly size: number }> {
    const pack = file.slice(0, -'.tar'.length);
    const fd = openIfThere(join(this.#blobs, folder, file), 'r');
    if (fd === undefined) return; // everything in it has been deleted
    try {
      let read = 0;
      for (const standing of standingIn(fd)) {
        if (standing.kind === 'object') {
          const { name, offset, size } = standing;
          yield { key: placedKey({ folder, name, pack, offset }), size };
        }
        if (++read % HEADERS_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      closeSync(fd);
    }
  }

  /**
   * Objects of which it is not known whether anybody owns them: their process died, or has not said so since `olderThanMs`. Of each the
   * caller has either made sure that it is owned, or deleted it, when it asks for the next.
   */
  async *unsettled(olderThanMs: number, now: number): AsyncGenerator<string> {
    for (const { id, folder, note, isBeingWritten } of this.#notes.open()) {
      if (isBeingWritten || this.#alive.get(id)?.isClosed === false) continue;
      const file = `${id}.tar`;
      const written = statSync(join(this.#blobs, folder, file), { throwIfNoEntry: false })?.mtimeMs;
      if (written !== undefined && written > now - olderThanMs) continue;
      for await (const { key } of this.keysIn(folder, file)) yield key;
      this.#alive.delete(id);
      cutOffTail(join(this.#blobs, folder, file));
      this.#notes.closed(id, note);
      await this.#review(folder, id, now);
    }
    this.#notes.tidy();
    const open = new Set(this.#notes.open().map(({ id }) => id));
    for (const { id, folder } of this.#notes.doubted()) if (!open.has(id)) await this.#review(folder, id, now);
  }

  close(): void {
    for (const folder of [...this.#open.keys()]) this.#retire(folder);
    this.#notes.close();
  }

  #path({ folder, pack }: Pick<Place, 'folder' | 'pack'>): string {
    return join(this.#blobs, folder, `${pack}.tar`);
  }

  #packOf(folder: string): Pack {
    let pack = this.#open.get(folder);
    if (pack && (pack.isClosed || pack.bytes >= this.#limits.packBytes)) {
      this.#retire(folder);
      pack = undefined;
    }
    if (pack === undefined) {
      const [oldest] = this.#open.keys();
      if (this.#open.size >= this.#limits.openPacks && oldest !== undefined) this.#retire(oldest);
      const id = `p${Date.now().toString(36).padStart(9, '0')}${randomBytes(8).readBigUInt64BE().toString(36).padStart(13, '0').slice(-11)}`;
      const opened: Pack = new Pack(id, this.#limits.idleMs, {
        open: () => this.#create(folder, id),
        closed: () => {
          this.#alive.delete(id);
          this.#notes.closed(id);
        },
        idle: () => {
          if (this.#open.get(folder) === opened) this.#retire(folder);
        },
      });
      this.#alive.set(id, opened);
      pack = opened;
    }
    this.#open.delete(folder);
    this.#open.set(folder, pack);
    return pack;
  }

  #retire(folder: string): void {
    const pack = this.#open.get(folder);
    this.#open.delete(folder);
    pack?.retire();
  }

  /** The note stands before the pack does; the pack's name is durable before anything in it is promised. */
  #create(folder: string, id: string): OpenedPack {
    this.#notes.opened(id, folder);
    const directory = dirname(join(this.#blobs, folder, 'x'));
    const path = join(directory, `${id}.tar`);
    for (let missed = 0; ; missed++) {
      try {
        this.#directories.make(directory);
        return { fd: openPack(path), named: this.#directories.sync(directory) };
      } catch (error) {
        if (errno(error) !== 'ENOENT' || missed === 100) throw error; // removed by a delete just now
      }
    }
  }

  /** Of a pack that is closed: removes it when nothing is left in it; gives back its holes when that is worth a copy, or has waited long. */
  async #review(folder: string, id: string, now: number): Promise<void> {
    const path = this.#path({ folder, pack: id });
    const fd = openIfThere(path, 'r');
    if (fd === undefined) {
      this.#notes.certain(id);
      return;
    }
    try {
      if (await this.#settleHoles(folder, id, fd)) return;
      let deletedBytes = 0;
      for (const { kind, length } of standingIn(fd)) if (kind === 'deleted') deletedBytes += length;
      const since = this.#notes.doubtedSince(id);
      if (deletedBytes === 0) this.#notes.certain(id);
      if (deletedBytes === 0 || since === undefined) return;
      if (deletedBytes < HOLES.worthOf * fstatSync(fd).size && since > now - HOLES.atMostMs) return;
      this.#notes.certain(id); // before the copy: a delete that comes now doubts anew
      const late = await giveBackHoles(path, this.#notes.temporary(id)).catch((error: unknown) => {
        this.#notes.doubt(id, folder);
        throw error;
      });
      await this.#directories.sync(dirname(path));
      // Another process may have written it anew once more before these were marked in it.
      for (const { name, offset } of late) await this.delete({ folder, name, pack: id, offset });
    } catch (error) {
      throw translated(error);
    } finally {
      closeSync(fd);
    }
  }

  /**
   * Removes a pack in which everything is deleted. Where something is left, or its writer may still add to it, a note has the next sweep look again.
   * @returns whether it is gone
   */
  async #settleHoles(folder: string, id: string, fd: number): Promise<boolean> {
    // Looked at again when nobody can add any more: after the first look its writer may have added an object, and closed it.
    if (this.#holdsAny(id, fd) || this.#mayGrow(id) || this.#holdsAny(id, fd)) {
      this.#notes.doubt(id, folder);
      return false;
    }
    this.#deletedUpTo.delete(id);
    const path = this.#path({ folder, pack: id });
    removeIfThere(path);
    await this.#directories.sync(dirname(path));
    this.#notes.certain(id);
    return true;
  }

  /** Whether anything stands in a pack that has not been deleted. */
  #holdsAny(id: string, fd: number): boolean {
    for (const { kind, offset } of standingIn(fd, this.#deletedUpTo.get(id))) {
      if (kind === 'deleted') continue;
      this.#deletedUpTo.set(id, offset);
      return true;
    }
    return false;
  }

  #mayGrow(id: string): boolean {
    return this.#notes.open().some((noted) => noted.id === id);
  }
}

function openIfThere(path: string, flags: 'r' | 'r+'): number | undefined {
  try {
    return openSync(path, flags);
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return undefined;
    throw translated(error);
  }
}

/** What a crash has left of a last write that was never acknowledged: unreadable to the end, and no longer than one write. */
function cutOffTail(path: string): void {
  const fd = openIfThere(path, 'r+');
  if (fd === undefined) return;
  try {
    let last: Standing | undefined;
    for (const standing of standingIn(fd)) last = standing;
    if (last?.kind === 'damaged' && last.length <= WRITE_LIMIT_BYTES) ftruncateSync(fd, last.offset);
  } finally {
    closeSync(fd);
  }
}
