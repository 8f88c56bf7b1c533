import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { deflateRaw } from 'node:zlib';
import { BUNDLE_FILE } from '#lambda/bundling.ts';
import { CODEC_FILE } from '#lambda/functions.ts';

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

/** The functions' archives, as they are deployed; without the codecs, and without the maps that are read when an error is told. */
export async function bundlesOf(assembly: string): Promise<{ asset: string; zippedBytes: number }[]> {
  const assets = readdirSync(assembly).filter((name) => existsSync(join(assembly, name, BUNDLE_FILE)));
  return Promise.all(
    assets.map(async (asset) => {
      const files = readdirSync(join(assembly, asset)).filter((name) => name !== CODEC_FILE && !name.endsWith('.map'));
      const zipped = files.map((name) => promisify(deflateRaw)(readFileSync(join(assembly, asset, name))));
      return { asset, zippedBytes: (await Promise.all(zipped)).reduce((sum, { length }) => sum + length, 0) };
    }),
  );
}
