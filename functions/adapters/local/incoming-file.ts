import { createHash, hash } from 'node:crypto';
import { closeSync, fdatasync, openSync, write, writeSync } from 'node:fs';
import { promisify } from 'node:util';

const fdatasyncAsync = promisify(fdatasync);
const writeAsync = promisify(write);

export interface Written {
  readonly size: number;
  readonly sha256: string;
}

/** Small chunks are gathered until there is this much for one write; larger ones are written as they come. */
const GATHER_BYTES = 1024 * 1024;
const WRITE_AT_LEAST_BYTES = 256 * 1024;
/** Up to this much a write into the page cache is cheaper on the spot than a trip through the thread pool. */
const SYNC_WRITE_LIMIT_BYTES = 2 * 1024 * 1024;

/** Buffers for gathering, used again: fresh memory would have to be zeroed by the kernel page by page. */
const spare: Buffer[] = [];
const SPARE_LIMIT = 16;

/**
 * Writes a new file and resolves when its content is on disk (not its name).
 * On failure the file may be left behind; the caller removes it.
 */
export async function writeWhole(path: string, bytes: Uint8Array): Promise<Written> {
  const fd = openSync(path, 'wx', 0o640);
  try {
    if (bytes.length <= SYNC_WRITE_LIMIT_BYTES) {
      writeAllSync(fd, bytes);
      const synced = fdatasyncAsync(fd);
      // the disk works while we hash; a failure of either is the put's
      const sha256 = hash('sha256', bytes, 'hex');
      await synced;
      return { size: bytes.length, sha256 };
    }
    const sha256 = createHash('sha256');
    for (let at = 0; at < bytes.length; at += GATHER_BYTES) {
      const part = bytes.subarray(at, at + GATHER_BYTES);
      const written = writeAll(fd, part);
      sha256.update(part);
      await written;
    }
    await fdatasyncAsync(fd);
    return { size: bytes.length, sha256: sha256.digest('hex') };
  } finally {
    closeSync(fd);
  }
}

/** The same for a source of any length, in constant memory; the source is asked for more only when what it gave is written. */
export async function writeSource(path: string, source: AsyncIterable<Uint8Array>): Promise<Written> {
  const gather = spare.pop() ?? Buffer.allocUnsafeSlow(GATHER_BYTES);
  const sha256 = createHash('sha256');
  let fd: number | undefined;
  let gathered = 0;
  let size = 0;
  const flush = async (bytes: Uint8Array): Promise<void> => {
    fd ??= openSync(path, 'wx', 0o640);
    const written = writeAll(fd, bytes);
    sha256.update(bytes);
    await written;
  };
  try {
    for await (const chunk of source) {
      size += chunk.length;
      if (gathered > 0 && gathered + chunk.length > GATHER_BYTES) {
        await flush(gather.subarray(0, gathered));
        gathered = 0;
      }
      if (chunk.length >= WRITE_AT_LEAST_BYTES && gathered === 0) {
        await flush(chunk);
      } else {
        gather.set(chunk, gathered);
        gathered += chunk.length;
      }
    }
    if (fd === undefined) return await writeWhole(path, gather.subarray(0, gathered));
    if (gathered > 0) await flush(gather.subarray(0, gathered));
    await fdatasyncAsync(fd);
    return { size, sha256: sha256.digest('hex') };
  } finally {
    if (fd !== undefined) closeSync(fd);
    if (spare.length < SPARE_LIMIT) spare.push(gather);
  }
}

function writeAllSync(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
}

async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) done += (await writeAsync(fd, bytes, done)).bytesWritten;
}
