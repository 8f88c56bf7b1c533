import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EncryptedBlobStore } from '#adapters/local/encrypted-blob-store.ts';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { IndexJobQueue } from '#adapters/local/index-job-queue.ts';
import { KeyRing, keysFolder, readMasterKeys } from '#adapters/local/key-ring.ts';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';
import { WorkerPixelEngine } from '#adapters/local/worker-pixel-engine.ts';
import { systemClock } from '#adapters/system-clock.ts';
import { assemble } from '#core/assemble.ts';
import { isBehindSegments } from '#core/audit/seal.ts';
import { ConfigError } from '#core/configuration.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import type { BlobStore } from '#core/ports/blob-store.ts';
import type { Services } from '#core/services.ts';
import { TokenStore } from '#core/tokens.ts';
import type { Config } from './config.ts';
import { checkFormat } from './data-format.ts';

export { systemClock };

/** Of the index, in the data folder. */
export const INDEX_FILE = 'index';

export interface Archive {
  readonly services: Services;
  /** the files themselves, encrypted or not */
  readonly blobs: FsBlobStore;
  readonly tokens: TokenStore;
  /** the queues of `services` */
  readonly jobs: IndexJobQueue;
  close(): Promise<void>;
}

/** The archive on one machine: objects in the file system, index and queues in LMDB, both under the data folder. */
export async function openArchive(
  config: Pick<Config, 'dataDir' | 'limits' | 'policy'> &
    Partial<Pick<Config, 'encryptionKeyFile' | 'hotObjectBytes'>> & {
      readonly packed?: boolean;
      /** name of the index file in the data folder */
      readonly index?: string;
    },
): Promise<Archive> {
  await mkdir(config.dataDir, { recursive: true });
  checkFormat(config.dataDir);
  const blobs = await FsBlobStore.open(config.dataDir, {
    packed: config.packed ?? true,
    hotBytes: config.hotObjectBytes ?? 0,
  });
  const stored = await encryptedWhere(config, blobs);
  const index = await openIndex(config.dataDir, config.index, blobs);
  const clock = systemClock;
  const pixels = new WorkerPixelEngine({ limits: { ...DEFAULT_LIMITS, ...config.limits } });
  const jobs = new IndexJobQueue(index, clock);
  const services = assemble({ blobs: stored, index, jobs, clock, pixels }, { ...config, outlivesAnswers: true });
  return {
    services,
    blobs,
    tokens: new TokenStore({ index, clock }),
    jobs,
    async close() {
      await pixels.close();
      await services.audit.written();
      await index.close();
      await blobs.close();
    },
  };
}

/**
 * Before anything is removed that the index does not know.
 * @throws ConfigError when the index is an older copy than the objects beside it
 */
export async function checkIndexIsOfNow(
  { services }: Archive,
  { dataDir }: Config,
  tenants: readonly string[],
): Promise<void> {
  for (const tenant of tenants)
    if (await isBehindSegments(services, tenant))
      throw new ConfigError(
        `${join(dataDir, INDEX_FILE)} is older than the objects beside it: make it anew by nephos rebuild (see nephos rebuild --help)`,
      );
}

/**
 * The index of the data folder, or the one that is being made anew beside it.
 * @throws ConfigError where there are objects and no index: who began with an empty one would let anybody be the first administrator, and show no study
 */
async function openIndex(dataDir: string, name = INDEX_FILE, blobs: BlobStore): Promise<LmdbIndexTable> {
  const path = join(dataDir, name);
  if (name === INDEX_FILE && !existsSync(path)) {
    for await (const _ of blobs.list(''))
      throw new ConfigError(
        `${dataDir} holds objects but no index: make it anew by nephos rebuild (see nephos rebuild --help)`,
      );
  }
  return LmdbIndexTable.open(path);
}

/**
 * The store as the archive sees it: the files, or with a key file what they hold. All of a data folder is encrypted, or nothing.
 * @throws ConfigError
 */
async function encryptedWhere(
  { dataDir, encryptionKeyFile }: { readonly dataDir: string; readonly encryptionKeyFile?: string | undefined },
  blobs: FsBlobStore,
): Promise<BlobStore> {
  const wasEncrypted = existsSync(keysFolder(dataDir));
  if (encryptionKeyFile === undefined) {
    if (wasEncrypted)
      throw new ConfigError(`${dataDir} is encrypted: NEPHOS_ENCRYPTION_KEY_FILE must name its key file`);
    return blobs;
  }
  const masters = await readMasterKeys(encryptionKeyFile);
  if (!wasEncrypted) {
    for await (const _ of blobs.list(''))
      throw new ConfigError(`${dataDir} holds objects that are not encrypted: encryption begins with an empty folder`);
  }
  return new EncryptedBlobStore(blobs, await KeyRing.open(dataDir, masters));
}
