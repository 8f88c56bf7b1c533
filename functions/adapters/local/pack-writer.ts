import { closeSync, constants, ftruncateSync, openSync, writev } from 'node:fs';
import { promisify } from 'node:util';
import { PacsError } from '#core/errors.ts';
import { PAGE_BYTES, pageAligned, startsAtPage } from '#core/page-aligned.ts';
import { errno } from './fs-errors.ts';
import { ENTRY_HEADER_BYTES, entryBytes, fillLastPage, writeEntryHeader } from './pack-entry.ts';

const writevAsync = promisify(writev);

/** Larger objects are files of their own (bytes). */
export const PACKED_LIMIT_BYTES = 2 * 1024 * 1024;
/** Objects, and bytes, of one write. */
const BATCH = { entries: 64, bytes: 8 * 1024 * 1024 };
/** What cannot go to the disk from where it lies (headers, last pages, small objects) is gathered here. */
const GATHER_BYTES = PACKED_LIMIT_BYTES + 2 * BATCH.entries * PAGE_BYTES;
const DIRECT_AT_LEAST_BYTES = 64 * 1024;
/** What an unfinished write can have left (bytes). */
export const WRITE_LIMIT_BYTES = BATCH.bytes + GATHER_BYTES;

interface Waiting {
  readonly name: string;
  readonly bytes: Uint8Array;
  resolve(offset: number): void;
  reject(error: unknown): void;
}

/** Not every file system takes bytes directly; after the first refusal it is not tried again. */
let directRefused = constants.O_DIRECT === undefined;

/** The file of a new pack. `named` resolves when its name is durable, and nothing in it is promised before. */
export interface OpenedPack {
  readonly fd: number;
  readonly named: Promise<void>;
}

interface Hooks {
  open(): OpenedPack;
  closed(): void;
  idle(): void;
}

/** A pack that this process writes. */
export class Pack {
  readonly id: string;
  readonly #hooks: Hooks;
  readonly #idle: NodeJS.Timeout;
  #fd: number | undefined;
  #waiting: Waiting[] = [];
  #writing = false;
  #retired = false;
  #unsettled = 0;
  bytes = 0;

  constructor(id: string, idleMs: number, hooks: Hooks) {
    this.id = id;
    this.#hooks = hooks;
    this.#idle = setTimeout(() => this.#hooks.idle(), idleMs);
    this.#idle.unref();
  }

  /** nothing more can be added */
  get isClosed(): boolean {
    return this.#retired;
  }

  append(name: string, bytes: Uint8Array): Promise<number> {
    this.#idle.refresh();
    this.#unsettled++;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ name, bytes, resolve, reject });
      if (!this.#writing) void this.#writeAll();
    });
  }

  settle(): void {
    this.#unsettled--;
    this.#closeWhenDone();
  }

  /** Closes it when what waits is written and settled. */
  retire(): void {
    this.#retired = true;
    clearTimeout(this.#idle);
    this.#closeWhenDone();
  }

  async #writeAll(): Promise<void> {
    this.#writing = true;
    // Objects that come in this turn of the event loop go together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = takeBatch(this.#waiting);
      try {
        const { offsets, length } = await this.#write(batch);
        this.bytes += length;
        for (const [i, waiting] of batch.entries()) waiting.resolve(offsets[i]!);
      } catch (error) {
        // What has been written of it is nobody's, and is taken back; nothing may come after it.
        this.#cutOff();
        this.#unsettled -= batch.length + this.#waiting.length;
        for (const waiting of [...batch, ...this.#waiting.splice(0)]) waiting.reject(error);
        this.#retired = true;
        clearTimeout(this.#idle);
      }
    }
    this.#writing = false;
    this.#closeWhenDone();
  }

  /**
   * Writes a batch behind what is there, durably; the first while the pack's name becomes so.
   * @returns where each object's header page stands, and how long the batch is (bytes)
   */
  async #write(batch: readonly Waiting[]): Promise<{ readonly offsets: readonly number[]; readonly length: number }> {
    const gather = lease(batch);
    try {
      const { pieces, offsets, length } = laidOut(batch, this.bytes, gather);
      let named: Promise<void> | undefined;
      if (this.#fd === undefined) ({ fd: this.#fd, named } = this.#hooks.open());
      // Both come to an end before what has been written may be taken back, and its memory used again.
      const both = [writeFully(this.#fd, pieces, this.bytes, length), named];
      for (const done of await Promise.allSettled(both)) if (done.status === 'rejected') throw done.reason;
      return { offsets, length };
    } finally {
      release(gather);
    }
  }

  #cutOff(): void {
    try {
      if (this.#fd !== undefined) ftruncateSync(this.#fd, this.bytes);
    } catch {
      // It stays, and takes its place on the disk.
    }
  }

  #closeWhenDone(): void {
    if (!this.#retired || this.#writing || this.#waiting.length > 0) return;
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    if (this.#unsettled === 0) this.#hooks.closed();
  }
}

/** Takes off the queue what fits one write. */
function takeBatch(waiting: Waiting[]): Waiting[] {
  let count = 0;
  let bytes = 0;
  let gathered = 0;
  for (const { bytes: object } of waiting) {
    const copied = gatheredBytes(object);
    if (count > 0 && (bytes + object.length > BATCH.bytes || gathered + copied > GATHER_BYTES)) break;
    if (count === BATCH.entries) break;
    count++;
    bytes += object.length;
    gathered += copied;
  }
  return waiting.splice(0, count);
}

/** What of an object is gathered, at most. */
const gatheredBytes = (object: Uint8Array): number =>
  ENTRY_HEADER_BYTES + (goesDirectly(object) ? PAGE_BYTES : entryBytes(object.length));

const goesDirectly = (bytes: Uint8Array): boolean => bytes.length >= DIRECT_AT_LEAST_BYTES && startsAtPage(bytes);

/** The pages of a batch as they follow each other in the pack: large objects from where they lie, all else gathered. */
function laidOut(
  batch: readonly Waiting[],
  start: number,
  gather: Buffer,
): { readonly pieces: Uint8Array[]; readonly offsets: number[]; readonly length: number } {
  const pieces: Uint8Array[] = [];
  const offsets: number[] = [];
  const seconds = nowSeconds();
  let at = start;
  let used = 0;
  let from = 0;
  for (const { name, bytes } of batch) {
    offsets.push(at);
    writeEntryHeader(gather.subarray(used), name, bytes.length, seconds);
    used += ENTRY_HEADER_BYTES;
    let rest: Uint8Array = bytes;
    if (goesDirectly(bytes)) {
      const pages = bytes.length - (bytes.length % PAGE_BYTES);
      pieces.push(gather.subarray(from, used), bytes.subarray(0, pages));
      from = used;
      rest = bytes.subarray(pages);
    }
    gather.set(rest, used);
    const inLast = rest.length % PAGE_BYTES;
    const last = used + rest.length - inLast;
    if (inLast > 0) fillLastPage(gather.subarray(last, last + PAGE_BYTES), inLast, seconds);
    used = inLast > 0 ? last + PAGE_BYTES : last;
    at += entryBytes(bytes.length);
  }
  if (used > from) pieces.push(gather.subarray(from, used));
  return { pieces, offsets, length: at - start };
}

/** @throws PacsError OUT_OF_SPACE; what the file system throws */
async function writeFully(fd: number, pieces: readonly Uint8Array[], position: number, length: number): Promise<void> {
  let { bytesWritten: done } = await writevAsync(fd, pieces, position);
  while (done < length) {
    // Cut short: the rest, page by page of what is left, until the file system says why.
    let skip = done;
    const rest = pieces.flatMap((piece) => {
      const left = piece.subarray(Math.min(skip, piece.length));
      skip -= Math.min(skip, piece.length);
      return left.length > 0 ? [left] : [];
    });
    const { bytesWritten } = await writevAsync(fd, rest, position + done);
    if (bytesWritten === 0) throw new PacsError('OUT_OF_SPACE', 'the disk takes no more objects');
    done += bytesWritten;
  }
}

/** Writes go past the page cache where the file system lets them, and each is durable when it returns. */
export function openPack(path: string): number {
  const { O_WRONLY, O_CREAT, O_EXCL, O_DIRECT, O_DSYNC } = constants;
  const flags = O_WRONLY | O_CREAT | O_DSYNC;
  if (directRefused) return openSync(path, flags | O_EXCL, 0o640);
  try {
    return openSync(path, flags | O_EXCL | O_DIRECT, 0o640);
  } catch (error) {
    if (!['EINVAL', 'EOPNOTSUPP', 'ENOTSUP'].includes(errno(error) ?? '')) throw error;
    directRefused = true;
    return openSync(path, flags, 0o640); // some file systems make the file before they refuse
  }
}

const spare: Buffer[] = [];
const SPARE_LIMIT = 2;
/**
 * Tiny studies come by the hundred, each with a pack and a write of its own: their buffers are places of one memory, all used again. Memory
 * that is made for each, and left to the collector of garbage, kept it busy with a third of the CPU.
 */
const SMALL_GATHER_BYTES = 16 * 1024;
const SMALL_AT_ONCE = 64;
const spareSmall: Buffer[] = [];

function lease(batch: readonly Waiting[]): Buffer {
  const needed = batch.reduce((bytes, waiting) => bytes + gatheredBytes(waiting.bytes), 0);
  if (needed > SMALL_GATHER_BYTES) return spare.pop() ?? pageAligned(GATHER_BYTES);
  if (spareSmall.length === 0) {
    const memory = pageAligned(SMALL_AT_ONCE * SMALL_GATHER_BYTES);
    for (let at = 0; at < memory.length; at += SMALL_GATHER_BYTES)
      spareSmall.push(memory.subarray(at, at + SMALL_GATHER_BYTES));
  }
  return spareSmall.pop()!;
}

function release(buffer: Buffer): void {
  if (buffer.length === SMALL_GATHER_BYTES) spareSmall.push(buffer);
  else if (spare.length < SPARE_LIMIT) spare.push(buffer);
}

const nowSeconds = (): number => Math.floor(Date.now() / 1000);
