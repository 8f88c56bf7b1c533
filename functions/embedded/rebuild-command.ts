import { existsSync } from 'node:fs';
import { link, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { syncUpwards } from '#adapters/local/durable-directories.ts';
import { copyIndex } from '#adapters/local/lmdb-copy.ts';
import { isOfAudit, keptByBackup, keptByRebuild, kindOf } from '#core/archive/kept-records.ts';
import { type RebuildReport, rebuildIndex, tenantsIn } from '#core/archive/rebuild.ts';
import { isBehindSegments } from '#core/audit/seal.ts';
import { INDEX_FILE, openArchive } from './archive.ts';
import { type Config, ConfigError } from './config.ts';
import { lockDataDir } from './data-lock.ts';
import { recordCommand } from './recorded-command.ts';

const REBUILD_USAGE = `nephos rebuild — make the index anew from the objects

  nephos rebuild                   with all else that the index holds: accounts, tokens, clients, grants, restrictions, share links, gateways,
                                   worklist, procedure steps, the audit trail, the feed, jobs under way
  nephos rebuild --from BACKUP     with what nephos backup has put into that file, where the index is lost or damaged
  nephos rebuild --objects-alone   with nothing else: no account, no token, no grant, no restriction of a patient, no link remains

The archive must be stopped. The index before is kept beside the new one (index.before-…), and is in place until the new one is complete.
`;

const BACKUP_USAGE = `nephos backup --to FILE — copy what the index holds and no object tells, as it is at this moment

Accounts, tokens, clients, grants, restrictions, emergency accesses, share links, gateways and their configurations, worklist, procedure steps,
de-identification projects. The archive may be running. The file is new, for its owner's eyes alone, and as secret as the index: it holds hashes of
tokens and passwords, keys of second factors, and names of patients in the worklist. Sessions, one-time links and codes, jobs under way and
uploads are left out. The rest of the data folder (objects, keys) is copied as files; nephos rebuild --from FILE puts the two together.

What was revoked after the backup was made is in force again when it is restored.
`;

/** Beside the index, until it takes its place. */
const NEW_INDEX = 'index.rebuilding';

export async function backupCommand(
  args: readonly string[],
  config: Config,
  say: (text: string) => void,
): Promise<number> {
  const { dataDir } = config;
  const { values } = parsed(args, { to: { type: 'string' }, help: { type: 'boolean' } });
  if (values.help || typeof values.to !== 'string') {
    say(BACKUP_USAGE);
    return values.help ? 0 : 2;
  }
  const from = join(dataDir, INDEX_FILE);
  if (!existsSync(from)) throw new ConfigError(`there is no index in ${dataDir}`);
  const { to } = values;
  if (existsSync(to)) throw new ConfigError(`${to} exists already`);
  const archive = await openArchive(config);
  try {
    await recordCommand(archive.services, config.tenant, { event: 'DataExport', action: 'R', transaction: 'BackUp' });
  } finally {
    await archive.close();
  }
  const partial = `${to}.partial`;
  await removeIndex(partial);
  const copied = await copyIndex(from, partial, {
    keeps: keptByBackup,
    countsOn: (partition) => kindOf(partition) === 'feed' || keptByBackup(partition),
  });
  await rename(partial, to);
  syncUpwards(dirname(resolve(to)));
  await removeIndex(partial);
  say(`${copied} records written to ${to}`);
  return 0;
}

export async function rebuildCommand(
  args: readonly string[],
  config: Config,
  say: (text: string) => void,
): Promise<number> {
  const { values } = parsed(args, {
    from: { type: 'string' },
    'objects-alone': { type: 'boolean' },
    help: { type: 'boolean' },
  });
  if (values.help) {
    say(REBUILD_USAGE);
    return 0;
  }
  if (!existsSync(config.dataDir)) throw new ConfigError(`there is no ${config.dataDir}`);
  const unlock = await lockDataDir(config.dataDir);
  try {
    const fresh = join(config.dataDir, NEW_INDEX);
    await removeIndex(fresh);
    if (!values['objects-alone']) {
      say(`${await keep(config.dataDir, values.from, fresh, keptByRebuild)} records kept`);
      if (values.from === undefined && (await isOld(config))) {
        await removeIndex(fresh);
        await keep(config.dataDir, values.from, fresh, (kept) => keptByRebuild(kept) && !isOfAudit(kept));
        say('they are older than the objects: the audit trail is taken from its segments');
      }
    }
    const isReadable = values.from === undefined && !values['objects-alone'];
    const failed = await rebuildAll(config, isReadable, say);
    const index = join(config.dataDir, INDEX_FILE);
    if (existsSync(index)) {
      const before = `${index}.before-${new Date().toISOString().replace(/[-:]|\.\d+/g, '')}`;
      await link(index, before);
      say(`the index before is ${before}`);
    }
    // One step: there is never no index, which would be an archive without anything in it.
    await rename(fresh, index);
    syncUpwards(config.dataDir);
    await Promise.all([removeLocks(fresh), removeLocks(index)]);
    return failed > 0 ? 1 : 0;
  } finally {
    unlock();
  }
}

/** Whether the audit trail that was kept ends before the segments beside the objects do. */
async function isOld(config: Config): Promise<boolean> {
  const archive = await openArchive({ ...config, index: NEW_INDEX });
  try {
    for (const tenant of await tenantsIn(archive.services))
      if (await isBehindSegments(archive.services, tenant)) return true;
    return false;
  } finally {
    await archive.close();
  }
}

/** Copies what no object tells into the new index. @throws ConfigError where there is nothing to keep it from */
async function keep(
  dataDir: string,
  backup: unknown,
  fresh: string,
  keeps: (partition: string) => boolean,
): Promise<number> {
  const from = typeof backup === 'string' ? backup : join(dataDir, INDEX_FILE);
  const instead = 'name a backup (--from FILE), or go without accounts, grants and links (--objects-alone)';
  if (!existsSync(from)) throw new ConfigError(`there is no ${from}: ${instead}`);
  try {
    return await copyIndex(from, fresh, { keeps, countsOn: keeps });
  } catch (error) {
    throw new ConfigError(`${from} cannot be read (${(error as Error).message}): ${instead}`);
  }
}

/**
 * @param isReadable the index before is asked what the objects were when they arrived
 * @returns how many objects could not be read, or are not what they were
 */
async function rebuildAll(config: Config, isReadable: boolean, say: (text: string) => void): Promise<number> {
  const archive = await openArchive({ ...config, index: NEW_INDEX });
  const before = isReadable ? await openArchive(config) : undefined;
  const sum = { instances: 0, held: 0, trashed: 0, superseded: 0, failed: 0, altered: 0 };
  try {
    for (const tenant of await tenantsIn(archive.services)) {
      const tell = (done: number): void => {
        if (done % 10_000 === 0) say(`${done} objects read`);
      };
      const report: RebuildReport = await rebuildIndex(archive.services, tenant, tell, before?.services.index);
      for (const { blobKey, code } of report.failed) say(`${code}  ${blobKey}`);
      for (const blobKey of report.altered) say(`altered  ${blobKey}`);
      sum.instances += report.instances;
      sum.held += report.held;
      sum.trashed += report.trashed;
      sum.superseded += report.superseded;
      sum.failed += report.failed.length;
      sum.altered += report.altered.length;
    }
    await recordCommand(archive.services, config.tenant, {
      ...{ event: 'SecurityConfiguration', action: 'U', transaction: 'RebuildIndex' },
      instances: sum.instances,
    });
  } finally {
    await before?.close();
    await archive.close();
  }
  const { instances, held, trashed, superseded, failed, altered } = sum;
  say(
    `${instances} instances, ${held} held, ${trashed} in the trash, ${superseded} superseded, ${failed} failed` +
      (altered > 0 ? `, ${altered} not as they were received` : ''),
  );
  return failed + altered;
}

const removeIndex = async (path: string): Promise<void> => {
  await Promise.all([rm(path, { force: true }), removeLocks(path)]);
};

/** They tell nothing of a file that nobody has open. */
const removeLocks = async (path: string): Promise<void> => {
  await Promise.all([rm(`${path}-lock`, { force: true }), rm(`${path}-door`, { force: true, recursive: true })]);
};

function parsed(args: readonly string[], options: NonNullable<Parameters<typeof parseArgs>[0]>['options']) {
  try {
    return parseArgs({ args: [...args], options: options! });
  } catch (error) {
    throw new ConfigError((error as Error).message);
  }
}
