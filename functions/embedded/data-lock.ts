import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from './config.ts';

/**
 * One archive a data folder: a second one would take the first one's stores for interrupted ones. The file holds the pid;
 * that of a dead process is taken over.
 * @throws ConfigError when a living process holds the folder
 */
export function lockDataDir(dataDir: string): () => void {
  const path = join(dataDir, 'nephos.pid');
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const file = openSync(path, 'wx');
      writeSync(file, String(process.pid));
      closeSync(file);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const pid = Number(readFileSync(path, 'utf8'));
      if (pid !== process.pid && isAlive(pid)) {
        throw new ConfigError(`${dataDir} is in use by another Nephos (process ${pid})`);
      }
      rmSync(path, { force: true });
    }
  }
  throw new ConfigError(`${dataDir} cannot be locked`);
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
