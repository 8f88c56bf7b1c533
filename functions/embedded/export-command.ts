import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { selectedInstances } from '#core/archive/remove.ts';
import { PacsError } from '#core/errors.ts';
import type { Archive } from './archive.ts';
import { type Config, ConfigError } from './config.ts';
import { recordRepeated } from './recorded-command.ts';

/** Writes a study's objects, as received, one file each. @returns the exit code */
export async function exportStudy(
  { services }: Pick<Archive, 'services'>,
  { tenant }: Pick<Config, 'tenant'>,
  [study]: readonly string[],
  { to }: { readonly to?: string | undefined },
  say: (text: string) => void,
): Promise<number> {
  if (study === undefined || to === undefined) throw new ConfigError('name a StudyInstanceUID and --to FOLDER');
  let count = 0;
  services.audit.admit(false);
  for await (const instance of selectedInstances(services, tenant, [{ StudyInstanceUID: study }])) {
    // The first before anything is written outside of the archive.
    await recordRepeated(services, tenant, study, {
      ...{ event: 'DataExport', action: 'R', transaction: 'ExportStudy' },
    });
    const path = join(to, instance.SeriesInstanceUID, `${instance.SOPInstanceUID}.dcm`);
    await mkdir(dirname(path), { recursive: true });
    if (!(await isThere(path, instance.sha256)))
      await writeNewFile(path, services.blobs.read(instance.blobKey), instance.sha256);
    count++;
  }
  await services.audit.flush(true);
  if (count === 0) throw new PacsError('NOT_FOUND', 'there is no such study');
  say(`${count} objects of study ${basename(study)} written to ${to}`);
  return 0;
}

/**
 * Whether an export before this one has written the object: it may have been broken off, and is gone on with.
 * @throws PacsError CONFLICT when something else is there
 */
async function isThere(path: string, sha256: string): Promise<boolean> {
  if ((await stat(path).catch(() => undefined)) === undefined) return false;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  if (hash.digest('hex') === sha256) return true;
  throw new PacsError('CONFLICT', `${path} is there already, and is not the object`);
}

/**
 * The bytes are durable when it resolves; who is killed on the way leaves nothing that could pass for the object.
 * @throws PacsError INTERNAL when the bytes are not those that were received
 */
async function writeNewFile(path: string, bytes: AsyncIterable<Uint8Array>, sha256: string): Promise<void> {
  const partial = `${path}.partial`;
  const hash = createHash('sha256');
  try {
    const file = await open(partial, 'w');
    try {
      for await (const chunk of bytes) {
        hash.update(chunk);
        await file.writeFile(chunk);
      }
      if (hash.digest('hex') !== sha256) throw new PacsError('INTERNAL', `${basename(path)} is not as it was received`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}
