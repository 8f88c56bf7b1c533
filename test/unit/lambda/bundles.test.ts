import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { expect, test } from 'vitest';
import { BUNDLE_LIMIT_BYTES, BUNDLING } from '#lambda/bundling.ts';
import { FUNCTIONS, type FunctionName } from '#lambda/functions.ts';

const ROOT = join(import.meta.dirname, '../../..');
/** Of the embedded host alone: compiled for one machine, or the issuer of an archive without one. */
const NATIVE = /\.node$|lmdb|msgpackr-extract|oidc-provider|node_modules\/koa\//;

const names = Object.keys(FUNCTIONS) as FunctionName[];

test('the bundles are small, whole, and made of nothing that is built for one machine', async () => {
  const { banner, mainFields, ...options } = BUNDLING;
  const { outputFiles, metafile } = await build({
    ...options,
    mainFields: [...mainFields],
    banner: { js: banner },
    entryPoints: names.map((name) => ({ in: join(ROOT, FUNCTIONS[name].entry), out: name })),
    absWorkingDir: ROOT,
    outdir: join(ROOT, 'unused'),
    write: false,
    metafile: true,
    logLevel: 'error',
  });
  expect(outputFiles).toHaveLength(names.length);
  for (const { contents, path } of outputFiles) {
    expect(gzipSync(contents).length, path).toBeLessThan(BUNDLE_LIMIT_BYTES);
  }
  for (const [path, { imports, exports, inputs }] of Object.entries(metafile.outputs)) {
    const left = imports.filter(({ external, path: name }) => external && !name.startsWith('node:'));
    // What Node brings may be asked for without its prefix.
    expect(left.filter(({ path: name }) => !process.getBuiltinModule(name)).map(({ path: name }) => name)).toEqual([]);
    expect(
      Object.keys(inputs).filter((input) => NATIVE.test(input)),
      path,
    ).toEqual([]);
    expect(exports, path).toContain('handler');
  }
});
