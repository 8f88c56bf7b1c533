import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { register } from 'prom-client';
import { expect, test } from 'vitest';
import { storeObject } from '#core/archive/store.ts';
import { openArchive } from '#embedded/archive.ts';
import { ConfigError, readConfig } from '#embedded/config.ts';
import { keepFixity } from '#embedded/fixity.ts';
import { createLog } from '#embedded/log.ts';
import { buildDicom, uid } from '#test/fixtures/dicom-builder.ts';

/** Flips one bit of what stands behind `needle` in whatever file below the folder holds it. */
async function spoil(folder: string, needle: Buffer): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path);
    const at = bytes.indexOf(needle);
    if (at < 0) continue;
    bytes[at] = bytes[at]! ^ 1;
    await writeFile(path, bytes);
    return;
  }
  throw new Error('no file holds it');
}

test('while the archive runs, an object that the disk has spoiled is told of in the log and the metrics', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'nephos-fixity-'));
  const config = readConfig({ NEPHOS_DATA_DIR: folder, NEPHOS_AUTH: 'off' });
  const archive = await openArchive(config);
  const stop = new AbortController();
  const logged: string[] = [];
  try {
    for (const n of [1, 2, 3]) {
      const object = buildDicom({
        SOPInstanceUID: uid(n),
        PatientName: 'Nobody^Told',
        ImageComments: `mark ${n} of it`,
      });
      const body = (async function* () {
        yield object;
      })();
      await storeObject(archive.services, { tenant: 'main', source: 'TEST' }, body).outcome;
    }
    await spoil(join(folder, 'blobs'), Buffer.from('mark 2 of it'));
    const log = createLog('error', (line) => logged.push(line));
    const kept = keepFixity(archive.services, config, log, stop.signal, 10);
    const gauge = async () => (await register.getSingleMetric('nephos_damaged_objects')!.get()).values[0]?.value;
    await expect.poll(gauge, { timeout: 30_000 }).toBe(1);
    stop.abort();
    await kept;
    const damaged = logged.map((line) => JSON.parse(line)).filter(({ event }) => event === 'object-damaged');
    expect(damaged).toMatchObject([{ SOPInstanceUID: uid(2), problem: 'altered' }]);
    expect(logged.join('')).not.toContain('Nobody');
  } finally {
    stop.abort();
    await archive.close();
    await rm(folder, { recursive: true });
  }
});

test('it is switched off, or set to something that means nothing', async () => {
  expect(readConfig({}).verify).toEqual({ days: 30, bytesPerSecond: 8_388_608 });
  const config = readConfig({ NEPHOS_VERIFY_DAYS: 'off' });
  expect(config.verify).toBe('off');
  await keepFixity(
    {} as never,
    config,
    createLog('error', () => {}),
    new AbortController().signal,
    1,
  );
  for (const env of [{ NEPHOS_VERIFY_DAYS: '0' }, { NEPHOS_VERIFY_DAYS: 'often' }, { NEPHOS_VERIFY_BYTES: '0' }])
    expect(() => readConfig(env)).toThrow(ConfigError);
});
