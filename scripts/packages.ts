import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '..');

/** A package as the lock file knows it. */
export interface LockedPackage {
  /** its folder: `node_modules/undici` */
  readonly folder: string;
  readonly name: string;
  readonly version: string;
  /** SPDX expression */
  readonly licence: string;
  /** `sha512-` and base64 */
  readonly integrity: string | undefined;
  /** needed to build and test alone */
  readonly development: boolean;
  /** there on some machines only */
  readonly optional: boolean;
}

interface LockEntry {
  readonly name?: string;
  readonly version: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
}

/** Every package of package-lock.json, by its folder. */
export function lockedPackages(): ReadonlyMap<string, LockedPackage> {
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockEntry>;
  };
  const packages = new Map<string, LockedPackage>();
  for (const [folder, entry] of Object.entries(lock.packages)) {
    if (folder === '') continue;
    packages.set(folder, {
      folder,
      // An alias stands in the folder of what it replaces, and says its own name.
      name: entry.name ?? folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length),
      version: entry.version,
      licence: entry.license ?? 'NONE',
      integrity: entry.integrity,
      development: entry.dev === true,
      optional: entry.optional === true,
    });
  }
  return packages;
}

/** The folder of the package that a file lies in, as the lock file names it; undefined for a file of ours. */
export const packageFolderOf = (path: string): string | undefined =>
  /(?:^|\/)(node_modules\/(?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+)/.exec(path)?.[1];
