import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { IndexJobQueue } from '#adapters/local/index-job-queue.ts';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';
import { WorkerPixelEngine } from '#adapters/local/worker-pixel-engine.ts';
import { systemClock } from '#adapters/system-clock.ts';
import { assemble } from '#core/assemble.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import type { Services } from '#core/services.ts';
import { TokenStore } from '#core/tokens.ts';
import type { Config } from './config.ts';

export { systemClock };

export interface Archive {
  readonly services: Services;
  readonly blobs: FsBlobStore;
  readonly tokens: TokenStore;
  close(): Promise<void>;
}

/** The archive on one machine: objects in the file system, index and queues in LMDB, both under the data folder. */
export async function openArchive(config: Pick<Config, 'dataDir' | 'limits' | 'policy'>): Promise<Archive> {
  await mkdir(config.dataDir, { recursive: true });
  const blobs = await FsBlobStore.open(config.dataDir);
  const index = await LmdbIndexTable.open(join(config.dataDir, 'index'));
  const clock = systemClock;
  const pixels = new WorkerPixelEngine({ limits: { ...DEFAULT_LIMITS, ...config.limits } });
  const jobs = new IndexJobQueue(index, clock);
  const services = assemble({ blobs, index, jobs, clock, pixels }, config);
  return {
    services,
    blobs,
    tokens: new TokenStore({ index, clock }),
    async close() {
      await pixels.close();
      await index.close();
    },
  };
}
