import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { startOf } from '#adapters/local/living-process.ts';
import { ConfigError } from './config.ts';

/**
 * One archive a data folder: a second one would take the first one's stores for interrupted ones. The file holds the process's id and,
 * where the system tells, when it started: after a reboot the id may be another program's. A dead process's file is taken over.
 * @throws ConfigError when a living process holds the folder
 */
export function lockDataDir(dataDir: string): () => void {
  const path = join(dataDir, 'nephos.pid');
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const file = openSync(path, 'wx');
      writeSync(file, `${process.pid} ${startOf(process.pid)}`);
      closeSync(file);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const [id, start] = readFileSync(path, 'utf8').split(' ');
      const pid = Number(id);
      if (Number.isInteger(pid) && pid > 0 && start === startOf(pid))
        throw new ConfigError(`${dataDir} is in use by another Nephos (process ${pid})`);
      rmSync(path, { force: true });
    }
  }
  throw new ConfigError(`${dataDir} cannot be locked`);
}
