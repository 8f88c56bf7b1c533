import { writeSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { PacsError } from '#core/errors.ts';

/**
 * Writes all of `bytes` at `position`, where one call may take less: of what a disk has no room for any more it takes the beginning, and says
 * why only when it is asked to take the rest.
 * @throws PacsError OUT_OF_SPACE; what the file system throws
 */
export async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += taken(bytesWritten);
  }
}

/** The same on the spot: for what goes into the page cache faster than through the thread pool. */
export function writeFullySync(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; )
    done += taken(writeSync(fd, bytes, done, bytes.length - done, position + done));
}

function taken(bytes: number): number {
  if (bytes === 0) throw new PacsError('OUT_OF_SPACE', 'the disk takes no more bytes');
  return bytes;
}
