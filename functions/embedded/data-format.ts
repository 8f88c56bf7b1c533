import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { syncUpwards } from '#adapters/local/durable-directories.ts';
import { errno } from '#adapters/local/fs-errors.ts';
import { ConfigError } from './config.ts';

/** Of the data folder. One more where an older version would misread what a newer one writes; a newer one reads, or converts, all before its own. */
const FORMAT = 1;
const FILE = 'format';

/**
 * Before anything of the folder is read or written. One without a number is of before there were any, or new, and gets ours.
 * @throws ConfigError where a newer version has written it
 */
export function checkFormat(dataDir: string): void {
  const path = join(dataDir, FILE);
  const found = formatIn(path);
  if (found === undefined) writeFormat(path);
  else if (found > FORMAT || !Number.isInteger(found))
    throw new ConfigError(
      `${dataDir} was written by a newer version of Nephos (its format is ${found}, ours is ${FORMAT}): start that one, or a newer one`,
    );
}

function formatIn(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'utf8'));
  } catch (error) {
    if (errno(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whole from its first moment: several processes may open the folder at once. A full disk must not keep an archive from being read: the next start writes it. */
function writeFormat(path: string): void {
  const own = `${path}.${process.pid}`;
  try {
    writeFileSync(own, `${FORMAT}\n`, { mode: 0o640 });
    linkSync(own, path);
    syncUpwards(join(path, '..'));
  } catch (error) {
    if (!['EEXIST', 'ENOSPC', 'EDQUOT'].includes(errno(error) ?? '')) throw error;
  } finally {
    rmSync(own, { force: true });
  }
}
