import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Durable, whole or not at all: who reads it sees what was there before, or all of this. */
export async function writeDurably(path: string, text: string, mode = 0o600): Promise<void> {
  const aside = `${path}.part`;
  try {
    const file = await open(aside, 'w', mode);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(aside, path);
    const folder = await open(dirname(path), 'r');
    await folder.sync().finally(() => folder.close());
  } catch (error) {
    await rm(aside, { force: true }).catch(() => {});
    throw error;
  }
}
