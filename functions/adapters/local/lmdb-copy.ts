import { existsSync, rmSync } from 'node:fs';
import { open as openFile, writeFile } from 'node:fs/promises';
import { type Database, open, type RootDatabaseOptionsWithPath } from 'lmdb';
import { IndexDoor } from './index-door.ts';

/** One write transaction of the copy: small enough to hold, large enough that syncing it costs little. */
const BATCH_BYTES = 16_000_000;

export interface CopyRules {
  /** whether the records of a partition are copied */
  readonly keeps: (partition: string) => boolean;
  /**
   * whether a log goes on counting where it was, even when its records are not copied: whoever reads on from a cursor he has misses nothing of
   * what is appended later
   */
  readonly countsOn: (partition: string) => boolean;
}

/**
 * Copies records of one index file into a new one, byte by byte, as they are at one moment; the archive may be running on the first.
 * @returns how many records were copied, counters of logs aside
 * @throws Error of LMDB when `from` is no index, or a damaged one; EEXIST when there is a `to`
 */
export async function copyIndex(from: string, to: string, { keeps, countsOn }: CopyRules): Promise<number> {
  await checkMagic(from);
  // Where LMDB has left no lock, nobody has it open: a backup, beside which nothing is to be left either.
  const door = existsSync(`${from}-lock`) ? new IndexDoor(from, { readOnly: true }) : undefined;
  const openSource = (): Database<Buffer, Buffer> => openRaw(from, { readOnly: true });
  const source = door ? await door.enter(openSource) : openSource();
  try {
    // LMDB takes an empty file for a new one; it holds hashes and secrets that nobody else is to read.
    await writeFile(to, '', { flag: 'wx', mode: 0o600 });
    const target = openRaw(to, { overlappingSync: false });
    try {
      const moment = source.useReadTransaction();
      try {
        let copied = 0;
        let batch: { key: Buffer; value: Buffer }[] = [];
        let bytes = 0;
        const flush = async (): Promise<void> => {
          const writes = batch;
          batch = [];
          bytes = 0;
          await target.transaction(() => {
            for (const { key, value } of writes) target.put(key, value);
          });
        };
        for (const { key, value } of source.getRange({ transaction: moment })) {
          const { partition, isCounter } = placeOf(key);
          if (!(isCounter ? countsOn(partition) : keeps(partition))) continue;
          if (!isCounter) copied++;
          batch.push({ key: Buffer.from(key), value: Buffer.from(value) });
          bytes += key.length + value.length;
          if (bytes > BATCH_BYTES) await flush();
        }
        await flush();
        return copied;
      } finally {
        moment.done();
      }
    } finally {
      await target.close();
    }
  } finally {
    if (door) await door.leave(() => source.close());
    else {
      await source.close();
      // Whoever has opened it meanwhile made a door first, and needs the lock that stands here.
      if (!existsSync(`${from}-door`)) rmSync(`${from}-lock`, { force: true });
    }
  }
}

/** Where LMDB's number stands in both of a file's first pages (a header of 24 bytes, then `mm_magic`). */
const MAGIC = 0xbeefc0de;
const MAGIC_AT = [24, 4096 + 24];

/** LMDB's binding ends the process over a file that is none of its own, so that is found out first. */
async function checkMagic(path: string): Promise<void> {
  const file = await openFile(path);
  try {
    const head = Buffer.alloc(4096 + 28);
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    if (bytesRead < head.length || MAGIC_AT.some((at) => head.readUInt32LE(at) !== MAGIC))
      throw new Error('it is not a file of LMDB');
  } finally {
    await file.close();
  }
}

/** Keys are `partition U+0000 sort`; the counter of a log stands under `U+0000 partition` (LmdbIndexTable). */
function placeOf(key: Buffer): { readonly partition: string; readonly isCounter: boolean } {
  const end = key.indexOf(0);
  return end === 0
    ? { partition: key.toString('utf8', 1), isCounter: true }
    : { partition: key.toString('utf8', 0, end), isCounter: false };
}

const openRaw = (path: string, more: object): Database<Buffer, Buffer> =>
  open<Buffer, Buffer>({
    path,
    noSubdir: true,
    keyEncoding: 'binary',
    encoding: 'binary',
    eventTurnBatching: false,
    mapSize: 2 ** 40,
    ...more,
  } as RootDatabaseOptionsWithPath);
