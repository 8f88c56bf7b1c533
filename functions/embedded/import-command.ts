import { createReadStream, type Dirent } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { storeObject } from '#core/archive/store.ts';
import { looksLikeDicom, PREAMBLE_BYTES } from '#core/dicom/scanner.ts';
import type { Archive } from './archive.ts';
import { type Config, ConfigError } from './config.ts';
import { isOfFiles } from './file-errors.ts';
import { recordRepeated } from './recorded-command.ts';

/** How many objects an import makes durable at the same time. */
const IMPORT_CONCURRENCY = 8;

/** Stores every DICOM file below the folders, or named itself. @returns the exit code: 1 when some were refused or could not be read */
export async function importFolders(
  { services }: Pick<Archive, 'services'>,
  { tenant }: Pick<Config, 'tenant'>,
  folders: readonly string[],
  say: (text: string) => void,
): Promise<number> {
  if (folders.length === 0) throw new ConfigError('name at least one folder');
  const counts = { stored: 0, duplicate: 0, replaced: 0, held: 0, failed: 0, skipped: 0 };
  const running = new Set<Promise<void>>();
  // One file of a scratched disc keeps no other one from being stored.
  const unreadable = (error: unknown): void => {
    if (!isOfFiles(error)) throw error;
    counts.failed++;
    say(`unread   ${error.message}`);
  };
  const importFile = async (path: string): Promise<void> => {
    if (!(await mayBeDicom(path))) {
      counts.skipped++;
      return;
    }
    services.audit.admit(true);
    const body = createReadStream(path, { highWaterMark: 1024 * 1024 });
    const { outcome } = storeObject(services, { tenant, source: 'import' }, body);
    const result = await outcome;
    counts[result.kind]++;
    const { StudyInstanceUID } = result.id;
    const isStored = result.kind !== 'failed';
    if (StudyInstanceUID !== undefined)
      await recordRepeated(services, tenant, StudyInstanceUID, {
        ...{ event: 'DataImport', action: 'C', transaction: 'ImportFiles' },
        ...(!isStored && { outcome: 4, error: result.error.code }),
      });
    if (result.kind === 'failed') say(`refused  ${path}: ${result.error.code} ${result.error.message}`);
    if (result.kind === 'held') say(`held     ${path}: ${result.held.kind}`);
  };
  for (const folder of folders) {
    for await (const path of filesBelow(folder, unreadable)) {
      const job: Promise<void> = importFile(path)
        .catch(unreadable)
        .finally(() => running.delete(job));
      running.add(job);
      if (running.size >= IMPORT_CONCURRENCY) await Promise.race(running);
    }
  }
  await Promise.all(running);
  await services.audit.flush(true);
  say(
    Object.entries(counts)
      .map(([kind, count]) => `${count} ${kind}`)
      .join(', '),
  );
  return counts.failed > 0 ? 1 : 0;
}

/** `onUnreadable` hears of folders that cannot be read; what they hold is passed over. */
async function* filesBelow(path: string, onUnreadable: (error: unknown) => void): AsyncGenerator<string> {
  let entries: Dirent[];
  try {
    if (!(await stat(path)).isDirectory()) {
      yield path;
      return;
    }
    entries = await readdir(path, { withFileTypes: true });
  } catch (error) {
    onUnreadable(error);
    return;
  }
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) yield* filesBelow(child, onUnreadable);
    else if (entry.isFile() && entry.name !== 'DICOMDIR') yield child;
  }
}

/** A folder of a CD holds viewers and pictures too. */
async function mayBeDicom(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(PREAMBLE_BYTES), 0, PREAMBLE_BYTES, 0);
    return looksLikeDicom(buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}
