import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { argv, exit, stderr } from 'node:process';
import { decode, encode, type SourceMapSegment } from '@jridgewell/sourcemap-codec';

/** As esbuild writes it, without the sources' text. */
export interface SourceMap {
  readonly version: 3;
  readonly sources: readonly string[];
  readonly names: readonly string[];
  readonly mappings: string;
}

/**
 * A bundle's map for what is written in this project alone, under its paths from the project's root: what stack traces are read by.
 * Packages keep the names of their functions there, and lose their lines: they are three quarters of a map, and a fault of ours is seldom
 * in them. No folder of this machine is in it, so that the same sources make the same bytes everywhere.
 * @param folder where the map stands; its sources are relative to it
 */
export function ownSourceMap(map: SourceMap, folder: string, root: string): SourceMap {
  const paths = map.sources.map((source) => relative(root, resolve(folder, source)));
  const kept = paths.filter(isOwn);
  const places = paths.map((path) => (isOwn(path) ? kept.indexOf(path) : undefined));
  const mappings = decode(map.mappings).map((segments) => {
    const line: SourceMapSegment[] = [];
    for (const [column, source, ...of] of segments) {
      const place = source === undefined ? undefined : places[source];
      // One empty segment ends what was ours.
      if (place !== undefined) line.push([column, place, of[0]!, of[1]!]);
      else if (line.at(-1)?.length !== 1) line.push([column]);
    }
    return line;
  });
  return { version: 3, sources: kept, names: [], mappings: encode(mappings) };
}

/** Packages that come with maps of their own name sources by folders that are nowhere. */
const isOwn = (path: string): boolean => path.startsWith('functions/');

if (import.meta.main) {
  const [path] = argv.slice(2);
  if (path === undefined) {
    stderr.write('own-source-map.ts MAP: leaves the lines of this project alone in a bundle’s source map\n');
    exit(2);
  }
  const map = JSON.parse(readFileSync(path, 'utf8')) as SourceMap;
  writeFileSync(path, JSON.stringify(ownSourceMap(map, dirname(path), join(import.meta.dirname, '..'))));
}
