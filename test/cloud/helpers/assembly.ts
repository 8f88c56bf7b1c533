import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { deflateRaw } from 'node:zlib';
import { BUNDLE_FILE } from '#lambda/bundling.ts';
import { CODEC_FILE } from '#lambda/functions.ts';
import { ROOT } from './command.ts';

/** What an assembly is made of. */
const SOURCES = [
  'cdk.json',
  'edge-gateway',
  'functions',
  'infra',
  'LICENSE',
  'package.json',
  'package-lock.json',
  'scripts',
  'tsconfig.json',
  'web',
];

/** The same sources in another folder, with the same packages. */
export function copySources(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const name of SOURCES) cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
}

/**
 * What a cloud assembly deploys: templates and lists of assets by their SHA-256, assets by their names, which are hashes of what they hold.
 * Left out is what speaks of the folder it stands in.
 */
export function contentsOf(assembly: string): Record<string, string> {
  const contents: Record<string, string> = {};
  for (const name of readdirSync(assembly).sort()) {
    if (name.startsWith('asset.')) contents[name] = 'an asset';
    else if (/\.(template|assets)\.json$/.test(name))
      contents[name] = createHash('sha256')
        .update(readFileSync(join(assembly, name)))
        .digest('hex');
  }
  return contents;
}

/** The functions' archives, as they are deployed, without the codecs. */
export async function bundlesOf(assembly: string): Promise<{ asset: string; files: string[]; zippedBytes: number }[]> {
  const assets = readdirSync(assembly).filter((name) => existsSync(join(assembly, name, BUNDLE_FILE)));
  return Promise.all(
    assets.map(async (asset) => {
      const files = readdirSync(join(assembly, asset)).filter((name) => name !== CODEC_FILE);
      const zipped = files.map((name) => promisify(deflateRaw)(readFileSync(join(assembly, asset, name))));
      return { asset, files, zippedBytes: (await Promise.all(zipped)).reduce((sum, { length }) => sum + length, 0) };
    }),
  );
}
