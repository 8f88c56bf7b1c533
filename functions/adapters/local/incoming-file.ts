import { createHash, hash } from 'node:crypto';
import { closeSync, constants, fdatasync, openSync, write } from 'node:fs';
import { promisify } from 'node:util';
import { PAGE_BYTES, pageAligned, startsAtPage } from '#core/page-aligned.ts';
import { errno } from './fs-errors.ts';
import { writeFullySync } from './write-fully.ts';

const fdatasyncAsync = promisify(fdatasync);
const writeAsync = promisify(write);

export interface Written {
  readonly size: number;
  readonly sha256: string;
}

/** A source is gathered until there is this much for one write. */
const GATHER_BYTES = 512 * 1024;
/** Up to this much a write into the page cache is cheaper on the spot than a trip through the thread pool. */
const SYNC_WRITE_LIMIT_BYTES = 2 * 1024 * 1024;
/**
 * From here on the disk takes the bytes out of our memory (O_DIRECT), past the page cache: the disk has to be waited for anyway, and
 * copying an object into pages that the kernel must first find can cost more than all else that is done for it.
 */
const DIRECT_AT_LEAST_BYTES = 128 * 1024;

/** Buffers for gathering, used again: fresh memory would have to be zeroed by the kernel page by page. */
const spare: Buffer[] = [];
const SPARE_LIMIT = 16;

/** Not every file system takes bytes directly; after the first refusal it is not tried again. */
let directRefused = constants.O_DIRECT === undefined;

/**
 * Writes a new file and resolves when its content is on disk (not its name).
 * On failure the file may be left behind; the caller removes it.
 */
export async function writeWhole(path: string, bytes: Uint8Array): Promise<Written> {
  const direct = bytes.length >= DIRECT_AT_LEAST_BYTES && startsAtPage(bytes);
  const file = new NewFile(path, direct);
  try {
    if (bytes.length > SYNC_WRITE_LIMIT_BYTES) {
      const sha256 = createHash('sha256');
      for (let at = 0; at < bytes.length; at += GATHER_BYTES) {
        const part = bytes.subarray(at, at + GATHER_BYTES);
        const written = file.append(part);
        sha256.update(part);
        await written;
      }
      await file.finish();
      return { size: bytes.length, sha256: sha256.digest('hex') };
    }
    if (!direct) file.appendNow(bytes);
    const finished = direct ? file.append(bytes).then(() => file.finish()) : file.finish();
    // the disk works while we hash; a failure of either is the put's
    const sha256 = hash('sha256', bytes, 'hex');
    await finished;
    return { size: bytes.length, sha256 };
  } finally {
    file.close();
  }
}

/** The same for a source of any length, in constant memory; the source is asked for more only when all but the last that it gave is written. */
export async function writeSource(path: string, source: AsyncIterable<Uint8Array>): Promise<Written> {
  const sha256 = createHash('sha256');
  let gather = lease();
  let other: Buffer | undefined;
  let gathered = 0;
  let file: NewFile | undefined;
  /** of the other buffer; awaited before anything else happens to file or buffer */
  let written: Promise<void> | undefined;
  const flush = async (): Promise<void> => {
    await written;
    file ??= new NewFile(path, true);
    const full = gather.subarray(0, gathered);
    written = file.append(full);
    written.catch(() => undefined); // awaited above or below
    sha256.update(full);
    [gather, other] = [other ?? lease(), gather];
    gathered = 0;
  };
  try {
    for await (const chunk of source) {
      for (let at = 0; at < chunk.length; ) {
        const taken = chunk.subarray(at, at + GATHER_BYTES - gathered);
        gather.set(taken, gathered);
        gathered += taken.length;
        at += taken.length;
        if (gathered === GATHER_BYTES) await flush();
      }
    }
    if (file === undefined) return await writeWhole(path, gather.subarray(0, gathered));
    if (gathered > 0) await flush();
    await written;
    await file.finish();
    return { size: file.size, sha256: sha256.digest('hex') };
  } finally {
    await written?.catch(() => undefined); // the kernel may still be reading the buffer
    file?.close();
    for (const buffer of [gather, other]) if (buffer !== undefined && spare.length < SPARE_LIMIT) spare.push(buffer);
  }
}

const lease = (): Buffer => spare.pop() ?? pageAligned(GATHER_BYTES);

/** A file of our own that is written from its beginning to its end. */
class NewFile {
  readonly #path: string;
  #direct: boolean;
  #fd: number;
  size = 0;

  constructor(path: string, direct: boolean) {
    this.#path = path;
    this.#direct = direct && !directRefused;
    const { O_WRONLY, O_CREAT, O_EXCL, O_DIRECT } = constants;
    try {
      this.#fd = openSync(path, O_WRONLY | O_CREAT | O_EXCL | (this.#direct ? O_DIRECT : 0), 0o640);
    } catch (error) {
      if (!this.#direct || !isRefusal(error)) throw error;
      directRefused = true;
      this.#direct = false;
      // some file systems make the file before they refuse
      this.#fd = openSync(path, O_WRONLY | O_CREAT, 0o640);
    }
  }

  /** Into the page cache, on the spot. */
  appendNow(bytes: Uint8Array): void {
    writeFullySync(this.#fd, bytes, this.size);
    this.size += bytes.length;
  }

  /** To the disk, if bytes and file system allow; all but the last must then be whole pages. `bytes` may be used again when it has resolved. */
  async append(bytes: Uint8Array): Promise<void> {
    if (this.#direct && startsAtPage(bytes)) {
      const pages = bytes.subarray(0, bytes.length - (bytes.length % PAGE_BYTES));
      const taken = await this.#appendPages(pages);
      this.size += taken;
      bytes = bytes.subarray(taken);
      if (bytes.length === 0) return;
    }
    if (this.#direct) this.#leaveDirect();
    if (bytes.length < PAGE_BYTES) {
      this.appendNow(bytes);
      return;
    }
    for (let done = 0; done < bytes.length; )
      done += (await writeAsync(this.#fd, bytes, done, bytes.length - done, this.size + done)).bytesWritten;
    this.size += bytes.length;
  }

  /** How much of it the disk has taken: less than all when the file system refuses, or takes no whole page. */
  async #appendPages(pages: Uint8Array): Promise<number> {
    let done = 0;
    try {
      while (done < pages.length) {
        const { bytesWritten } = await writeAsync(this.#fd, pages, done, pages.length - done, this.size + done);
        // cut short within a page: the page cache will be told why
        if (bytesWritten < PAGE_BYTES) break;
        done += bytesWritten - (bytesWritten % PAGE_BYTES);
      }
    } catch (error) {
      if (!isRefusal(error)) throw error;
      directRefused = true;
    }
    return done;
  }

  /** For the rest, which ends within a page. Cutting off a whole page afterwards would have the kernel read it first. */
  #leaveDirect(): void {
    closeSync(this.#fd);
    this.#fd = openSync(this.#path, 'r+');
    this.#direct = false;
  }

  /** Resolves when the content is on disk: of directly written bytes, size and place are not yet. */
  finish(): Promise<void> {
    return fdatasyncAsync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

const isRefusal = (error: unknown): boolean => ['EINVAL', 'EOPNOTSUPP', 'ENOTSUP'].includes(errno(error) ?? '');
