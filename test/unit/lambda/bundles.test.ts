import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { type BuildOptions, build } from 'esbuild';
import { expect, test } from 'vitest';
import { BUNDLE_LIMIT_BYTES, BUNDLING } from '#lambda/bundling.ts';
import { FUNCTIONS, type FunctionName } from '#lambda/functions.ts';
import { ownSourceMap, type SourceMap } from '../../../scripts/own-source-map.ts';

const ROOT = join(import.meta.dirname, '../../..');
/** Of the embedded host alone: compiled for one machine, or the issuer of an archive without one. */
const NATIVE = /\.node$|lmdb|msgpackr-extract|oidc-provider|node_modules\/koa\//;

const names = Object.keys(FUNCTIONS) as FunctionName[];

const bundling = (): BuildOptions => {
  const { banner, mainFields, ...options } = BUNDLING;
  const maps = { sourcemap: true, sourcesContent: false } as const;
  return {
    ...options,
    ...maps,
    mainFields: [...mainFields],
    banner: { js: banner },
    absWorkingDir: ROOT,
    write: false,
    logLevel: 'error',
  };
};
const owned = (text: string, folder: string): string =>
  JSON.stringify(ownSourceMap(JSON.parse(text) as SourceMap, folder, ROOT));

test('the bundles are small with their maps, whole, and made of nothing that is built for one machine', async () => {
  const { outputFiles, metafile } = await build({
    ...bundling(),
    metafile: true,
    entryPoints: names.map((name) => ({ in: join(ROOT, FUNCTIONS[name].entry), out: name })),
    outdir: join(ROOT, 'unused'),
  });
  const bundles = outputFiles!.filter(({ path }) => !path.endsWith('.map'));
  expect(bundles).toHaveLength(names.length);
  const sizes = bundles.map(({ path, contents }) => ({ path, zippedBytes: gzipSync(contents).length }));
  const largest = sizes.reduce((one, other) => (other.zippedBytes > one.zippedBytes ? other : one));
  const map = outputFiles!.find(({ path }) => path === `${largest.path}.map`)!;
  // What is uploaded; test/cloud/deploy.test.ts looks at every function's.
  largest.zippedBytes += gzipSync(owned(map.text, dirname(map.path))).length;
  for (const { path, zippedBytes } of sizes) expect(zippedBytes, path).toBeLessThan(BUNDLE_LIMIT_BYTES);
  for (const [path, { imports, exports, inputs }] of Object.entries(metafile!.outputs)) {
    if (path.endsWith('.map')) continue;
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

test('a stack trace of a bundle names our files and lines, and of packages what was called', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'nephos-map-'));
  const contents = `
    import { readTierSteps } from '#core/configuration.ts';
    import { jwtVerify } from 'jose';
    for (const fail of [async () => readTierSteps({ T: '?' }, 'T'), async () => jwtVerify('?', new Uint8Array(1))])
      await fail().catch(({ stack }) => console.log(stack));
  `;
  const { outputFiles } = await build({
    ...bundling(),
    stdin: { contents, resolveDir: ROOT, sourcefile: 'functions/failing.ts' },
    outfile: join(folder, 'index.mjs'),
  });
  for (const { path, contents: bytes, text } of outputFiles!)
    await writeFile(path, path.endsWith('.map') ? owned(text, folder) : bytes);
  try {
    const { stdout } = await promisify(execFile)(process.execPath, ['--enable-source-maps', join(folder, 'index.mjs')]);
    const [ours = '', theirs = ''] = stdout.split(/^(?=JWSInvalid)/m);
    const line = (await readFile(join(ROOT, 'functions/core/configuration.ts'), 'utf8'))
      .split('\n')
      .findIndex((text) => text.includes('must be steps of the form tier:idleDays'));
    expect(ours).toContain(`functions/core/configuration.ts:${line + 1}:`);
    expect(ours).toContain('readTierSteps');
    expect(ours).toContain('functions/failing.ts:4:');
    expect(theirs).toMatch(/at jwtVerify \(.*index\.mjs:\d+:\d+\)/);
    expect(theirs).toContain('functions/failing.ts:4:');
  } finally {
    await rm(folder, { recursive: true });
  }
});
