import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Objects of many makers, sound and broken; the fuzzing goes on without them. */
const SHARED = join(import.meta.dirname, '../../../shared/testdata');

/** Files below folders of the shared corpus, no longer than `limitBytes`; nothing where it is absent. */
export function* sharedFiles(folders: readonly string[], limitBytes: number): Generator<Uint8Array> {
  for (const folder of folders) {
    const path = join(SHARED, folder);
    if (!existsSync(path)) continue;
    for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
      const file = join(entry.parentPath, entry.name);
      if (entry.isFile() && !/\.(txt|md)$/.test(entry.name) && statSync(file).size <= limitBytes)
        yield readFileSync(file);
    }
  }
}
