import { type Dirent, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errno, translated } from './fs-errors.ts';
import { isPackFile, type Packs } from './packs.ts';

interface Listed {
  readonly key: string;
  readonly size: number;
}

interface Tree {
  readonly root: string;
  readonly packs: Packs;
}

/** The blobs below `root`, packed or not, in the order of their keys: those that begin with `prefix` and stand behind `after`. */
export const blobsBelow = (root: string, packs: Packs, prefix: string, after: string): AsyncIterable<Listed> =>
  walk({ root, packs }, '', prefix, after);

/** One directory at a time, in the order of whole keys: a directory stands where its name and '/' belong. */
async function* walk(tree: Tree, base: string, prefix: string, after: string): AsyncIterable<Listed> {
  const entries = await readdir(join(tree.root, base), { withFileTypes: true }).catch((error: unknown) => {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return []; // pruned meanwhile
    throw translated(error);
  });
  if (entries.some((entry) => isPackFile(entry.name))) {
    yield* walkPacked(tree, base, entries, prefix, after);
    return;
  }
  const names = entries.map((entry) => `${base}${entry.name}${entry.isDirectory() ? '/' : ''}`).sort();
  for (const name of names) {
    if (name.endsWith('/')) {
      const mayHold = name.startsWith(prefix) || prefix.startsWith(name);
      const allBefore = after > name && !after.startsWith(name);
      if (mayHold && !allBefore) yield* walk(tree, name, prefix, after);
    } else if (name.startsWith(prefix) && name > after) {
      const size = sizeOfFile(join(tree.root, name));
      if (size !== undefined) yield { key: name, size };
    }
  }
}

/** A directory with packs: what is in them belongs between what stands beside them. */
async function* walkPacked(
  tree: Tree,
  base: string,
  entries: readonly Dirent[],
  prefix: string,
  after: string,
): AsyncIterable<Listed> {
  const found: Listed[] = [];
  const take = (one: Listed): void => {
    if (one.key.startsWith(prefix) && one.key > after) found.push(one);
  };
  for (const entry of entries) {
    if (isPackFile(entry.name)) for await (const one of tree.packs.keysIn(base, entry.name)) take(one);
    else if (entry.isDirectory()) for await (const one of walk(tree, `${base}${entry.name}/`, prefix, after)) take(one);
    else {
      const size = sizeOfFile(join(tree.root, `${base}${entry.name}`));
      if (size !== undefined) take({ key: `${base}${entry.name}`, size });
    }
  }
  yield* found.sort((one, other) => (one.key < other.key ? -1 : 1));
}

/** undefined: there is no file of that name */
export function sizeOfFile(path: string): number | undefined {
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    return found?.isFile() ? found.size : undefined;
  } catch (error) {
    if (errno(error) === 'ENOTDIR') return undefined;
    throw translated(error);
  }
}
