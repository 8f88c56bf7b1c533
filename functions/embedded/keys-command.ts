import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { prefixesOf, rewrapBlob } from '#adapters/local/encrypted-blob-store.ts';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { rotateIssuerKeys, sealIssuerKeysAnew } from '#adapters/local/issuer-keys.ts';
import { KeyRing, newMasterKey, readMasterKeys } from '#adapters/local/key-ring.ts';
import type { NamedKey } from '#adapters/local/sealed-format.ts';
import { ConfigError, type Environment } from '#core/configuration.ts';
import { PacsError } from '#core/errors.ts';
import { INDEX_FILE, openArchive } from './archive.ts';
import { type Config, readConfig } from './config.ts';
import { lockDataDir } from './data-lock.ts';
import { recordCommand } from './recorded-command.ts';

const USAGE = `nephos keys — keys of encrypted objects (NEPHOS_ENCRYPTION_KEY_FILE)

  nephos keys new --to FILE        write a new master key to a new file that only its owner can read
  nephos keys rotate               seal all tenants' keys with the first key of the key file; then the others may be taken from it
  nephos keys rotate TENANT        give the tenant a new key, seal its objects' keys with it, destroy the one before
  nephos keys rotate-issuer        give the archive's own issuer new keys to sign with; people who are signed in stay so
  nephos keys shred TENANT --confirm TENANT
                                   destroy the tenant's keys: its objects, and the sealed part of its audit trail, can never be read again

Objects are not encrypted anew by any of them. rotate and shred need the archive to be stopped, rotate-issuer does not. What shred cannot reach: copies of the
folder "keys" in backups, together with the master key; and the index, which holds attributes of the studies in clear.
`;

/** @returns the process's exit code */
export async function keysCommand(
  args: readonly string[],
  env: Environment,
  say: (text: string) => void,
): Promise<number> {
  try {
    return await perform(args, env, say);
  } catch (error) {
    const usage = (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS');
    if (!usage && !(error instanceof ConfigError) && !(error instanceof PacsError)) throw error;
    process.stderr.write(`${(error as Error).message}\n`);
    return 2;
  }
}

async function perform(args: readonly string[], env: Environment, say: (text: string) => void): Promise<number> {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { to: { type: 'string' }, confirm: { type: 'string' }, help: { type: 'boolean' } },
  });
  const [act, tenant] = positionals;
  if (act === 'new' && values.to !== undefined) {
    await writeMasterKey(values.to);
    say(`a new master key is in ${values.to}; without it nothing that it seals can be read: keep a copy elsewhere`);
    return 0;
  }
  if (act === 'rotate') {
    await withRing(env, 'RotateKeys', tenant, async (ring, blobs, { dataDir, masters }) => {
      if (tenant === undefined) {
        await sealIssuerKeysAnew(dataDir, masters);
        return say(`${await ring.sealAnew()} keys sealed with the first master key`);
      }
      await ring.renew(tenant);
      let count = 0;
      for (const prefix of prefixesOf(tenant))
        for await (const { key } of blobs.list(prefix)) if (await rewrapBlob(blobs, ring, key)) count++;
      await ring.dropFormer(tenant);
      say(`${tenant} has a new key; the keys of ${count} objects are sealed with it`);
    });
    return 0;
  }
  if (act === 'rotate-issuer') {
    const config = readConfig(env);
    const { dataDir, encryptionKeyFile } = config;
    await rotateIssuerKeys(dataDir, encryptionKeyFile === undefined ? [] : await readMasterKeys(encryptionKeyFile));
    await recorded(config, 'RotateIssuerKeys');
    say('the issuer signs with new keys; the two before them are still known');
    return 0;
  }
  if (act === 'shred' && tenant !== undefined) {
    if (values.confirm !== tenant)
      throw new ConfigError(`nothing was done: this cannot be undone, so say --confirm ${tenant}`);
    await withRing(env, 'ShredKeys', tenant, (ring) => ring.destroy(tenant));
    say(
      `the keys of ${tenant} are destroyed. Now remove copies of the folder "keys" from backups, and the index folder`,
    );
    return 0;
  }
  say(USAGE);
  return values.help ? 0 : 2;
}

async function writeMasterKey(path: string): Promise<void> {
  const file = await open(path, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(`${path}: ${error.code}`);
  });
  try {
    await file.writeFile(`${newMasterKey()}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

interface Opened {
  readonly dataDir: string;
  readonly masters: readonly NamedKey[];
}

/** In the trail of the archive's own tenant: what it holds that is not sealed yet stands in the index, which no key of objects reaches. */
async function recorded(config: Config, transaction: string, about?: string): Promise<void> {
  // Keys can be changed where the index is lost, and the trail with it, until it is made anew: those that got into other hands do not wait.
  if (!existsSync(join(config.dataDir, INDEX_FILE))) return;
  const archive = await openArchive(config);
  try {
    await recordCommand(archive.services, config.tenant, {
      ...{ event: 'SecurityConfiguration', action: 'U', transaction },
      ...(about !== undefined && { about }),
    });
  } finally {
    await archive.close();
  }
}

/** Running servers know the keys by heart: none may run while keys change. In the trail before anything is done that cannot be undone. */
async function withRing(
  env: Environment,
  transaction: string,
  tenant: string | undefined,
  work: (ring: KeyRing, blobs: FsBlobStore, opened: Opened) => Promise<void>,
): Promise<void> {
  const config = readConfig(env);
  const { dataDir, encryptionKeyFile } = config;
  if (encryptionKeyFile === undefined) throw new ConfigError('NEPHOS_ENCRYPTION_KEY_FILE must name the key file');
  const masters = await readMasterKeys(encryptionKeyFile);
  const unlock = await lockDataDir(dataDir);
  try {
    await recorded(config, transaction, tenant);
    const blobs = await FsBlobStore.open(dataDir);
    await work(await KeyRing.open(dataDir, masters), blobs, { dataDir, masters });
    await blobs.close();
  } finally {
    unlock();
  }
}
