import { statfs } from 'node:fs/promises';
import { PacsError } from '#core/errors.ts';
import type { BlobStore } from '#core/ports/blob-store.ts';
import type { Clock } from '#core/ports/clock.ts';

/** How much of a large object is written before the disk is looked at again (bytes). */
const LOOK_BYTES = 32 * 1024 * 1024;
/** What the system said holds for this time (ms), less what is written meanwhile. */
const FRESH_MS = 100;

export interface DiskState {
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly reserveBytes: number;
  /** new objects are refused: less than the reserve is free */
  readonly refusing: boolean;
}

export interface DiskOptions {
  readonly dataDir: string;
  /** as configured now */
  readonly reserveBytes: () => number;
  readonly clock: Clock;
  /** bytes of the file system that `path` lies on */
  readonly look?: (path: string) => Promise<{ readonly totalBytes: number; readonly freeBytes: number }>;
}

/**
 * Keeps the disk from running full: no new object begins when less than the reserve is free, and none goes on when half of that is. So
 * what is in flight, the index and the queues have room to finish, and a modality hears A700 and keeps what it has.
 */
export class Disk {
  readonly #options: Required<DiskOptions>;
  #seen: { readonly at: number; readonly totalBytes: number; readonly freeBytes: number } | undefined;
  /** since the disk was looked at (bytes) */
  #written = 0;

  constructor(options: DiskOptions) {
    this.#options = { look: lookAt, ...options };
  }

  async state(): Promise<DiskState> {
    const { clock, dataDir, look, reserveBytes } = this.#options;
    const now = clock.now();
    if (this.#seen === undefined || now - this.#seen.at >= FRESH_MS || now < this.#seen.at) {
      // What is written while the system is asked may be in its answer or not: it is counted.
      this.#written = 0;
      this.#seen = { at: now, ...(await look(dataDir)) };
    }
    const { totalBytes } = this.#seen;
    const freeBytes = Math.max(0, this.#seen.freeBytes - this.#written);
    const reserve = reserveBytes();
    return { totalBytes, freeBytes, reserveBytes: reserve, refusing: freeBytes < reserve };
  }

  /** So many bytes go to the disk: a fast one takes many before it is looked at again. */
  written(bytes: number): void {
    this.#written += bytes;
  }

  /** @throws PacsError OUT_OF_SPACE when less than that part of the reserve is free */
  async require(part: 1 | 0.5): Promise<void> {
    const { freeBytes, reserveBytes } = await this.state();
    if (freeBytes < reserveBytes * part)
      throw new PacsError('OUT_OF_SPACE', 'the disk is nearly full', { details: { freeBytes, reserveBytes } });
  }
}

async function lookAt(path: string): Promise<{ totalBytes: number; freeBytes: number }> {
  const { bsize, blocks, bavail } = await statfs(path);
  return { totalBytes: bsize * blocks, freeBytes: bsize * bavail };
}

/** The store, with the disk asked before objects and while large ones are written. */
export function guardedBlobs(blobs: BlobStore, disk: Disk): BlobStore {
  return {
    async put(key, body, options) {
      try {
        // Tables and texts beside an object are small: they belong to what is in flight.
        await disk.require(key.endsWith('.dcm') ? 1 : 0.5);
      } catch (error) {
        options?.visibleAfter?.catch(() => {});
        throw error;
      }
      if (!(body instanceof Uint8Array)) return blobs.put(key, looking(body, disk), options);
      disk.written(body.byteLength);
      return blobs.put(key, body, options);
    },
    read: (key, range) => blobs.read(key, range),
    readBytes: (key, range) => blobs.readBytes(key, range),
    head: (key) => blobs.head(key),
    list: (prefix, after) => blobs.list(prefix, after),
    delete: (key) => blobs.delete(key),
    availability: (key) => blobs.availability(key),
    restore: (key) => blobs.restore(key),
  };
}

async function* looking(body: AsyncIterable<Uint8Array>, disk: Disk): AsyncGenerator<Uint8Array> {
  let since = 0;
  for await (const chunk of body) {
    since += chunk.byteLength;
    disk.written(chunk.byteLength);
    if (since >= LOOK_BYTES) {
      await disk.require(0.5);
      since = 0;
    }
    yield chunk;
  }
}
