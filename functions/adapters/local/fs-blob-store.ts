import { hash, randomBytes } from 'node:crypto';
import { closeSync, fstatSync, linkSync, mkdirSync, openSync, read, statSync, unlinkSync } from 'node:fs';
import { open, opendir, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type {
  Availability,
  BlobInfo,
  BlobStore,
  ByteRange,
  PackedBlobs,
  PutOptions,
  ReadOptions,
} from '#core/ports/blob-store.ts';
import { blobExists, blobNotFound, CHUNK_LIMIT_BYTES, checkBlobKey, checkSha256, resolveRange } from '../blob-rules.ts';
import { DurableDirectories, syncUpwards } from './durable-directories.ts';
import { errno, translated } from './fs-errors.ts';
import { blobsBelow, sizeOfFile } from './fs-listing.ts';
import { HotObjects } from './hot-objects.ts';
import { writeSource, writeWhole } from './incoming-file.ts';
import { isPackNote, PackNotes } from './pack-notes.ts';
import { PACKED_LIMIT_BYTES } from './pack-writer.ts';
import { type PackLimits, Packs, type Place, placeOf } from './packs.ts';
import { readMemory } from './read-memory.ts';
import { writeFully } from './write-fully.ts';

/** times in a row that a directory could not be made before it is given up */
const MISSED_LIMIT = 100;

export interface FsBlobStoreOptions {
  /** whether small objects share files (packs.ts), as they do unless it is said; those that do are read in any case */
  readonly packed?: boolean;
  readonly limits?: PackLimits;
  /** what is kept in memory of blobs that are sent again and again (hot-objects.ts); none where it is not said */
  readonly hotBytes?: number;
}

/**
 * BlobStore on a file system: each blob is a plain file `<root>/blobs/<key>` that any tool can read.
 *
 * put: write `<root>/incoming/<unique>` → fdatasync → link(2) to its place → unlink → fsync of the directories.
 * link(2) fails when the name exists: of any number of processes that put the same key, one wins, and the file under the name
 * is whole from its first moment. A crash leaves at most a file in `incoming`, which `sweep` removes.
 */
export class FsBlobStore implements BlobStore {
  readonly #blobs: string;
  readonly #incoming: string;
  readonly #directories: DurableDirectories;
  readonly packed?: PackedBlobs;
  readonly #packs: Packs;
  readonly #hot: HotObjects;
  readonly #unique = `${process.pid}-${randomBytes(6).toString('hex')}`;
  #count = 0;

  private constructor(root: string, { packed = true, limits, hotBytes = 0 }: FsBlobStoreOptions) {
    this.#hot = new HotObjects(hotBytes);
    this.#blobs = join(root, 'blobs');
    this.#incoming = join(root, 'incoming');
    this.#directories = new DurableDirectories(root);
    const packs = new Packs(this.#blobs, new PackNotes(this.#incoming, this.#unique), this.#directories, limits);
    this.#packs = packs;
    if (!packed) return;
    this.packed = {
      limitBytes: PACKED_LIMIT_BYTES,
      async append(key, bytes, { sha256: expected } = {}) {
        checkBlobKey(key);
        const appended = packs.append(key, bytes);
        appended.catch(() => undefined); // awaited below
        // its write begins with the next microtask: the disk works while we hash
        await Promise.resolve();
        const sha256 = hash('sha256', bytes, 'hex');
        const placed = await appended;
        try {
          checkSha256(expected, sha256);
        } catch (error) {
          await packs.delete(placeOf(placed)!);
          packs.settled(placed);
          throw error;
        }
        return { key: placed, size: bytes.length, sha256 };
      },
      settled: (key) => packs.settled(key),
      unsettled: (olderThanMs, now) => packs.unsettled(olderThanMs, now),
    };
  }

  /** Creates the folders where they are missing. Any number of processes may open the same root. */
  static async open(root: string, options: FsBlobStoreOptions = {}): Promise<FsBlobStore> {
    const absolute = resolve(root);
    const store = new FsBlobStore(absolute, options);
    mkdirSync(store.#blobs, { recursive: true });
    mkdirSync(store.#incoming, { recursive: true });
    await store.#directories.sync(store.#blobs);
    syncUpwards(absolute);
    return store;
  }

  async close(): Promise<void> {
    this.#hot.close();
    this.#packs.close();
    this.#directories.close();
  }

  async put(key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<BlobInfo> {
    checkBlobKey(key);
    options.visibleAfter?.catch(() => {}); // awaited below; until then its failure is nobody's
    const path = join(this.#blobs, key);
    // spares reading a source for what link(2) would refuse; a whole array is written as fast as it is looked for
    if (!(body instanceof Uint8Array) && sizeOfFile(path) !== undefined) throw blobExists(key);
    const incoming = join(this.#incoming, `${this.#unique}-${this.#count++}`);
    try {
      const { size, sha256 } = await (body instanceof Uint8Array
        ? writeWhole(incoming, body)
        : writeSource(incoming, body));
      checkSha256(options.sha256, sha256);
      await options.visibleAfter;
      this.#link(incoming, path, key);
      unlinkSync(incoming);
      await this.#directories.sync(dirname(path)).catch((error: unknown) => {
        unlinkSync(path); // not known to be durable: not stored
        throw error;
      });
      return { key, size, sha256 };
    } catch (error) {
      await unlink(incoming).catch(() => undefined); // gone already, or for the sweep
      throw translated(error);
    }
  }

  async *read(key: string, range?: ByteRange): AsyncIterable<Uint8Array> {
    const { fd, start, end } = this.#openRange(key, range);
    try {
      for (let at = start; at < end; ) {
        const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_LIMIT_BYTES, end - at));
        await readFully(fd, chunk, at);
        at += chunk.length;
        yield chunk;
      }
    } finally {
      closeSync(fd);
    }
  }

  async readBytes(key: string, range?: ByteRange, { lent = false }: ReadOptions = {}): Promise<Uint8Array> {
    const name = lent ? `${key} ${range?.offset} ${range?.length}` : undefined;
    const hot = name === undefined ? undefined : this.#hot.get(name);
    if (hot) return hot;
    const { fd, start, end } = this.#openRange(key, range);
    const length = end - start;
    const place = name === undefined ? undefined : this.#hot.ask(name, key, length);
    try {
      const bytes = lent && !place ? readMemory.lent(length) : Buffer.allocUnsafeSlow(length);
      await readFully(fd, bytes, start);
      place?.fill(bytes);
      return bytes;
    } finally {
      place?.leave();
      closeSync(fd);
    }
  }

  async head(key: string): Promise<{ readonly key: string; readonly size: number } | undefined> {
    checkBlobKey(key);
    const size = this.#sizeOf(key);
    return size === undefined ? undefined : { key, size };
  }

  list(prefix: string, after = ''): AsyncIterable<{ readonly key: string; readonly size: number }> {
    return blobsBelow(this.#blobs, this.#packs, prefix, after);
  }

  async delete(key: string): Promise<void> {
    checkBlobKey(key);
    try {
      await this.#remove(key);
    } finally {
      this.#hot.drop(key);
    }
  }

  async #remove(key: string): Promise<void> {
    const place = placeOf(key);
    if (place) {
      await this.#packs.delete(place);
      await this.#prune(join(this.#blobs, place.folder));
      return;
    }
    const path = join(this.#blobs, key);
    try {
      unlinkSync(path);
    } catch (error) {
      if (errno(error) === 'ENOTDIR' || statSync(path, { throwIfNoEntry: false })?.isDirectory()) return; // no blob's name
      if (errno(error) !== 'ENOENT') throw translated(error);
      // whoever deleted it may not have synced yet; we say it is gone, so we do
    }
    await this.#directories.sync(dirname(path));
    await this.#prune(dirname(path));
  }

  /** Files are always there. */
  async availability(key: string): Promise<Availability | undefined> {
    return (await this.head(key)) && 'ONLINE';
  }

  async restore(key: string): Promise<Availability> {
    if ((await this.head(key)) === undefined) throw blobNotFound(key);
    return 'ONLINE';
  }

  /** Writes into a blob, durably; for headers of encrypted blobs alone (encrypted-blob-store.ts). @throws PacsError NOT_FOUND */
  async overwrite(key: string, offset: number, bytes: Uint8Array): Promise<void> {
    checkBlobKey(key);
    this.#hot.drop(key);
    const file = await open(join(this.#blobs, key), 'r+').catch((error: unknown) => {
      throw errno(error) === 'ENOENT' ? blobNotFound(key, error) : translated(error);
    });
    try {
      await writeFully(file, bytes, offset);
      await file.datasync();
    } catch (error) {
      throw translated(error);
    } finally {
      await file.close();
    }
  }

  /** Removes what crashed writers left behind more than `olderThanMs` ago; returns how many files. `now` is ms since 1970. */
  async sweep(olderThanMs: number, now: number): Promise<number> {
    let removed = 0;
    for await (const entry of await opendir(this.#incoming)) {
      if (isPackNote(entry.name)) continue;
      const path = join(this.#incoming, entry.name);
      const found = await stat(path).catch(() => undefined);
      if (found === undefined || found.mtimeMs > now - olderThanMs) continue;
      await unlink(path).then(
        () => removed++,
        () => undefined, // its writer was alive and has just finished
      );
    }
    return removed;
  }

  #link(incoming: string, path: string, key: string): void {
    for (let missed = 0; ; missed++) {
      try {
        linkSync(incoming, path);
        return;
      } catch (error) {
        if (errno(error) === 'EEXIST' || errno(error) === 'ENOTDIR') throw blobExists(key, error);
        if (errno(error) !== 'ENOENT') throw error;
      }
      // no directory yet, or a delete has just removed the empty one: make it, and try until nobody comes between
      try {
        this.#directories.make(dirname(path));
      } catch (error) {
        if (errno(error) === 'EEXIST' || errno(error) === 'ENOTDIR') throw blobExists(key, error);
        // node says ENOENT as well where the system said EROFS, EDQUOT or EIO: that does not pass by trying
        if (errno(error) !== 'ENOENT' || missed === MISSED_LIMIT) throw error;
      }
    }
  }

  /** of a blob, packed or not */
  #sizeOf(key: string): number | undefined {
    const place = placeOf(key);
    if (place === undefined) return sizeOfFile(join(this.#blobs, key));
    const found = this.#packs.find(place);
    if (found) closeSync(found.fd);
    return found?.size;
  }

  #openRange(key: string, range: ByteRange | undefined): { fd: number; start: number; end: number } {
    checkBlobKey(key);
    const place = placeOf(key);
    if (place) return this.#openPacked(key, place, range);
    let fd: number;
    try {
      fd = openSync(join(this.#blobs, key), 'r');
    } catch (error) {
      if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') throw blobNotFound(key, error);
      throw translated(error);
    }
    try {
      const found = fstatSync(fd);
      if (!found.isFile()) throw blobNotFound(key);
      return { fd, ...resolveRange(range, found.size) };
    } catch (error) {
      closeSync(fd);
      throw translated(error);
    }
  }

  #openPacked(key: string, place: Place, range: ByteRange | undefined): { fd: number; start: number; end: number } {
    const found = this.#packs.find(place);
    if (found === undefined) throw blobNotFound(key);
    const { fd, start: base, size } = found;
    try {
      const { start, end } = resolveRange(range, size);
      return { fd, start: base + start, end: base + end };
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** Removes directories that have become empty. rmdir fails where a put was faster; a put that was slower makes it anew. */
  async #prune(directory: string): Promise<void> {
    for (let path = directory; path !== this.#blobs; path = dirname(path)) {
      try {
        await rmdir(path);
        this.#directories.removed(path);
      } catch (error) {
        if (errno(error) !== 'ENOENT') return;
      }
    }
  }
}

async function readFully(fd: number, into: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const count = await readSome(fd, into, done, position + done);
    if (count === 0) throw new Error('a blob is shorter than it was when it was opened');
    done += count;
  }
}

const readSome = (fd: number, into: Uint8Array, at: number, position: number): Promise<number> =>
  new Promise((resolve, reject) => {
    read(fd, into, at, into.length - at, position, (error, count) => (error ? reject(error) : resolve(count)));
  });
