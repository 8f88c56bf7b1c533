import { randomBytes } from 'node:crypto';
import { chmodSync, linkSync, renameSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { errno } from '#adapters/local/fs-errors.ts';
import { ConfigError } from './config.ts';

/**
 * A socket in the data folder that answers as long as its process lives: the system closes it with the process. Two containers on one volume see each
 * other by it, though neither has a number for the other's processes.
 * @returns what lets go of it; where the file system has no sockets, or gives them no second name, there is none
 * @throws ConfigError when another process answers
 */
export async function openLockSocket(dataDir: string): Promise<() => void> {
  const path = join(dataDir, 'nephos.sock');
  const own = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  const server = createServer((caller) => caller.destroy());
  const isOpen = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(own, () => resolve(true));
  });
  if (!isOpen) return () => undefined;
  server.unref();
  try {
    chmodSync(own, 0o600);
    await takeName(path, own, dataDir);
  } catch (error) {
    server.close();
    if (error instanceof ConfigError) throw error;
    return () => undefined;
  } finally {
    rmSync(own, { force: true });
  }
  return () => {
    rmSync(path, { force: true });
    server.close();
  };
}

/** Gives the open socket its name, in one step; that of a dead process is taken away. */
async function takeName(path: string, own: string, dataDir: string): Promise<void> {
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      linkSync(own, path);
      return;
    } catch (error) {
      if (errno(error) !== 'EEXIST') throw error;
    }
    if (await answers(path)) throw inUse(dataDir);
    const aside = `${own}.dead`;
    try {
      renameSync(path, aside);
    } catch (error) {
      if (errno(error) === 'ENOENT') continue;
      throw error;
    }
    // Another process that took it away at the same moment may have put its own in its place: that one goes back.
    const isAlive = await answers(aside);
    if (isAlive) linkSync(aside, path);
    rmSync(aside);
    if (isAlive) throw inUse(dataDir);
  }
  throw new ConfigError(`${dataDir} cannot be locked`);
}

const inUse = (dataDir: string): ConfigError =>
  new ConfigError(`${dataDir} is in use by another Nephos, in another container or namespace`);

/** Whoever is asked need not be running just now: the system answers for who only stands still. */
const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      resolve(true);
      socket.destroy();
    });
    socket.once('error', (error) => resolve(errno(error) !== 'ECONNREFUSED' && errno(error) !== 'ENOENT'));
  });
