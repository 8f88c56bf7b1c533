import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRunningSince, startOf } from '#adapters/local/living-process.ts';
import { ConfigError } from './config.ts';
import { openLockSocket } from './lock-socket.ts';

const LOCK = 'nephos.pid';

/**
 * One archive a data folder: a second one would take the first one's stores for interrupted ones. The file holds the process's id and,
 * where the system tells, when it started: after a reboot the id may be another program's. A dead process's file is taken over. The id says nothing
 * to who is in another container: there a socket tells.
 * @throws ConfigError when a living process holds the folder
 */
export async function lockDataDir(dataDir: string): Promise<() => void> {
  refuseIfHeld(join(dataDir, LOCK), dataDir);
  const closeSocket = await openLockSocket(dataDir);
  try {
    const unlock = writeLock(dataDir);
    return () => {
      unlock();
      closeSocket();
    };
  } catch (error) {
    closeSocket();
    throw error;
  }
}

/** @throws ConfigError when a process that this one sees holds the folder */
function writeLock(dataDir: string): () => void {
  const path = join(dataDir, LOCK);
  const own = `${path}.${process.pid}`;
  writeFileSync(own, `${process.pid} ${startOf(process.pid)}`);
  try {
    for (let attempt = 0; attempt < 10; attempt++) {
      try {
        // Whole from its first moment: another process would take an empty file for a dead one's.
        linkSync(own, path);
        return () => rmSync(path, { force: true });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      refuseIfHeld(path, dataDir);
      takeAway(path, `${own}.dead`, dataDir);
    }
  } finally {
    rmSync(own, { force: true });
  }
  throw new ConfigError(`${dataDir} cannot be locked`);
}

/** @throws ConfigError */
function refuseIfHeld(path: string, dataDir: string): void {
  const [id, start = ''] = (textOf(path) ?? '').split(' ');
  const pid = Number(id);
  if (Number.isInteger(pid) && pid > 0 && isRunningSince(pid, start))
    throw new ConfigError(`${dataDir} is in use by another Nephos (process ${pid})`);
}

/** A dead process's file. Another process that takes it away at the same moment may have put its own in its place: that one goes back. */
function takeAway(path: string, aside: string, dataDir: string): void {
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  try {
    refuseIfHeld(aside, dataDir);
  } catch (error) {
    linkSync(aside, path);
    throw error;
  } finally {
    rmSync(aside);
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
