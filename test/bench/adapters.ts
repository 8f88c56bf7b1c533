import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { LmdbIndexTable } from '#adapters/local/lmdb-index-table.ts';

/**
 * What the local engines cost: CPU (user and system, all threads) and wall time of each operation.
 * `node test/bench/adapters.ts [folder]`; the folder says which disk. UV_THREADPOOL_SIZE=16 is what the host uses.
 */
const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'nephos-bench-'));

async function measure(
  name: string,
  count: number,
  lanes: number,
  operation: (n: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const cpu = process.cpuUsage();
  const start = performance.now();
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      while (next < count) await operation(next++);
    }),
  );
  const wall = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  const per = (us: number): string => (us / count).toFixed(1).padStart(9);
  console.log(
    `${name.padEnd(44)}${per(user + system)}${per(user)}${per(wall * 1000)}${((count / wall) * 1000).toFixed(0).padStart(9)}`,
  );
}

console.log(`${'operation'.padEnd(44)}   CPU µs  user µs  wall µs      /s`);

const blobs = await FsBlobStore.open(folder);
const small = randomBytes(2048);
const large = randomBytes(527_000);
async function* inChunks(): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < large.length; at += 65_536) yield large.subarray(at, at + 65_536);
}
await measure('(warm up)', 200, 16, (n) => blobs.put(`t/warm/${n}`, large));
await measure('put 2 KB, 16 at once, one series', 4000, 16, (n) => blobs.put(`t/a/${n}`, small));
await measure('put 2 KB, 16 at once, 16 series', 4000, 16, (n) => blobs.put(`t/b${n % 16}/${n}`, small));
await measure('put 2 KB, one after another', 500, 1, (n) => blobs.put(`t/c/${n}`, small));
await measure('put 527 KB, 8 at once', 300, 8, (n) => blobs.put(`t/d/${n}`, large));
await measure('put 527 KB, one after another', 100, 1, (n) => blobs.put(`t/e/${n}`, large));
await measure('put 527 KB as a stream, 8 at once', 300, 8, (n) => blobs.put(`t/f/${n}`, inChunks()));
await measure('readBytes 2 KB', 4000, 4, (n) => blobs.readBytes(`t/a/${n}`));
await measure('readBytes 527 KB', 600, 4, (n) => blobs.readBytes(`t/d/${n % 300}`));
await measure('readBytes 16 KB range', 4000, 4, (n) =>
  blobs.readBytes(`t/d/${n % 300}`, { offset: 100_000, length: 16_384 }),
);
await measure('head', 4000, 1, (n) => blobs.head(`t/a/${n}`));
await blobs.close();

const index = await LmdbIndexTable.open(join(folder, 'index.lmdb'));
const attributes = {
  '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Doe^Jane' }] },
  '00080020': { vr: 'DA', Value: ['20240131'] },
};
const study = (n: number): string => `1.2.840.113619.2.${(n * 7919) % 100_003}`;
/** ten rows at random places, as a study's postings are */
const writeStudy = (n: number): Promise<unknown> =>
  index.write(
    Array.from({ length: 10 }, (_, i) => ({
      kind: 'put',
      key: { partition: `t|posting|${i}`, sort: `${study(n * 10 + i)}|${n}` },
      item: { StudyInstanceUID: study(n), attributes },
    })),
  );
await measure('write of 10 puts, 16 at once', 10_000, 16, writeStudy);
await measure('write of 10 puts, one after another', 500, 1, (n) => writeStudy(10_000 + n));
await measure('conditional put of 1, 16 at once', 4000, 16, (n) =>
  index.write([
    {
      kind: 'put',
      key: { partition: 'page', sort: `${100_000 + n}` },
      item: { StudyInstanceUID: study(n), attributes },
      if: 'absent',
    },
  ]),
);
const keys = Array.from({ length: 10_000 }, (_, n) => ({
  partition: `t|posting|${n % 10}`,
  sort: `${study(n * 10 + (n % 10))}|${n}`,
}));
await measure('get, random', 20_000, 1, (n) => index.get(keys[(n * 31) % 10_000] as (typeof keys)[0]));
await measure('getMany of 100', 500, 1, (n) => index.getMany(keys.slice((n * 17) % 9000, ((n * 17) % 9000) + 100)));
await measure('query of 100', 1000, 1, (n) => index.query({ partition: 'page', from: `${100_000 + n}`, limit: 100 }));
await measure('query of 100, keys only', 1000, 1, (n) =>
  index.query({ partition: 'page', from: `${100_000 + n}`, limit: 100, keysOnly: true }),
);
await index.close();

rmSync(folder, { recursive: true });
