import { closeSync, fstatSync, fsync, fsyncSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

const fsyncAsync = promisify(fsync);

/** Open directories kept for the next sync; a busy archive writes into a few series at a time. */
const KEPT_LIMIT = 64;

interface Directory {
  readonly path: string;
  readonly fd: number;
  readonly inode: number;
  /** its own entry, and those of all above it, are known to be on disk */
  reachable: boolean;
  users: number;
  running: Promise<void> | undefined;
  queued: Promise<void> | undefined;
}

/**
 * Makes directory entries durable, with as few fsyncs as possible: those who wait for the same directory share one, and the way
 * from the root to a directory is synced once, not for each file.
 *
 * A directory may be removed and made anew by another process while we hold it open. What we know of it is then about a
 * directory that is gone, so each sync ends by comparing the inode that we hold with the one under the path; an inode that is
 * held open is not given to another file, so equal numbers mean the same directory. A directory that holds the caller's
 * entry cannot be removed, and none above it.
 */
export class DurableDirectories {
  readonly #root: string;
  /** in order of last use */
  readonly #kept = new Map<string, Directory>();

  /** @param root an existing directory; what stands above it is the caller's business. */
  constructor(root: string) {
    this.#root = root;
  }

  /** Creates the directory and all above it; not yet durable. */
  make(path: string): void {
    mkdirSync(path, { recursive: true });
  }

  /** Resolves when all entries that `path` held at the time of the call would survive losing power, path itself included. */
  async sync(path: string): Promise<void> {
    const directory = this.#open(path);
    if (directory === undefined) return; // gone, and with it whatever it held: there is nothing to keep
    directory.users++;
    try {
      const isReached = directory.reachable || path === this.#root;
      // At once: whoever makes many directories in one place has them share the sync of that.
      const syncs = [this.#flush(directory), isReached ? undefined : this.sync(dirname(path))];
      for (const done of await Promise.allSettled(syncs)) if (done.status === 'rejected') throw done.reason;
      directory.reachable = true;
      if (inodeAt(path) === directory.inode) return;
    } finally {
      directory.users--;
    }
    this.#forget(directory);
    await this.sync(path);
  }

  /** The directory has been removed: held open, it would keep its place on the disk. */
  removed(path: string): void {
    const kept = this.#kept.get(path);
    if (kept !== undefined && kept.users === 0) this.#forget(kept);
  }

  close(): void {
    for (const directory of [...this.#kept.values()]) this.#forget(directory);
  }

  /** A sync under way may have begun before the caller's entry was made; the one after it holds it for certain. */
  #flush(directory: Directory): Promise<void> {
    directory.queued ??= (directory.running ?? Promise.resolve())
      .catch(() => undefined) // who waits for that one is told; the next is another attempt
      .then(() => {
        directory.running = directory.queued;
        directory.queued = undefined;
        return fsyncAsync(directory.fd);
      });
    return directory.queued;
  }

  #open(path: string): Directory | undefined {
    const kept = this.#kept.get(path);
    if (kept !== undefined) {
      this.#kept.delete(path);
      this.#kept.set(path, kept);
      return kept;
    }
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const directory: Directory = {
      path,
      fd,
      inode: fstatSync(fd).ino,
      reachable: false,
      users: 0,
      running: undefined,
      queued: undefined,
    };
    for (const old of this.#kept.values()) {
      if (this.#kept.size < KEPT_LIMIT) break;
      if (old.users === 0) this.#forget(old);
    }
    this.#kept.set(path, directory);
    return directory;
  }

  /** Closes it when its last user is done. */
  #forget(directory: Directory): void {
    if (this.#kept.get(directory.path) === directory) this.#kept.delete(directory.path);
    if (directory.users === 0) closeSync(directory.fd);
  }
}

/**
 * Syncs a directory and all above it, once, when a store is opened: whoever made them may not have.
 * What may not be opened (the folders above a home, say) is not ours, and was there before.
 */
export function syncUpwards(path: string): void {
  for (let at = path; ; at = dirname(at)) {
    let fd: number;
    try {
      fd = openSync(at, 'r');
    } catch (error) {
      if (at === path) throw error;
      return;
    }
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    if (at === dirname(at)) return;
  }
}

const inodeAt = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.ino;
