import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');

/** Folder → folders it may import. Imports go down only. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: ['core'],
  adapters: ['adapters', 'core'],
  dicomweb: ['dicomweb', 'core'],
  api: ['api', 'dicomweb', 'core'],
  dimse: ['dimse', 'core'],
  lambda: ['lambda', 'api', 'dicomweb', 'adapters', 'core'],
  embedded: ['embedded', 'api', 'dicomweb', 'dimse', 'adapters', 'core'],
  fargate: ['fargate', 'lambda', 'embedded', 'api', 'dicomweb', 'adapters', 'core'],
  edge: ['edge', 'embedded', 'api', 'dicomweb', 'dimse', 'adapters', 'core'],
};
/** What makes a host of a module; core knows no host. */
const HOST_MODULES =
  /^(node:)?(fs|net|http|https|http2|tls|dgram|os|child_process|cluster|worker_threads|process|timers)(\/|$)|^@aws-sdk\/|^lmdb$/;

interface Import {
  readonly file: string;
  readonly specifier: string;
}

const folderOf = (layer: string): string => (layer === 'edge' ? 'edge-gateway' : `functions/${layer}`);
const files = (Object.keys(MAY_IMPORT) as string[]).flatMap((layer) =>
  readdirSync(join(ROOT, folderOf(layer)), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .map((name) => `${folderOf(layer)}/${name}`),
);
const imports: Import[] = files.flatMap((file) => {
  const text = readFileSync(join(ROOT, file), 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => ({ file, specifier: match[1]! }));
});
const layerOf = (file: string): string => (file.startsWith('edge-gateway/') ? 'edge' : file.split('/')[1]!);

test('this test looked at the code', () => {
  expect(files.length).toBeGreaterThan(120);
  expect(imports.length).toBeGreaterThan(500);
  expect(new Set(imports.map(({ file }) => layerOf(file))).size).toBe(Object.keys(MAY_IMPORT).length);
});

test('imports between layers go down only', () => {
  const wrong = imports.filter(({ file, specifier }) => {
    const target = /^#(\w+)\//.exec(specifier)?.[1];
    return target !== undefined && !MAY_IMPORT[layerOf(file)]!.includes(target);
  });
  expect(wrong).toEqual([]);
});

test('no relative import leaves its layer', () => {
  const wrong = imports.filter(({ file, specifier }) => {
    if (!specifier.startsWith('.')) return false;
    const target = join('/', file, '..', specifier);
    return !target.startsWith(`/${folderOf(layerOf(file))}/`);
  });
  expect(wrong).toEqual([]);
});

test('core knows neither files nor sockets nor AWS, and reads neither clock nor environment', () => {
  expect(imports.filter(({ file, specifier }) => layerOf(file) === 'core' && HOST_MODULES.test(specifier))).toEqual([]);
  const readers = files.filter(
    (file) =>
      layerOf(file) === 'core' &&
      /\b(process\.(env|cwd|hrtime)|Date\.now\(|new Date\(\)|Math\.random\(|performance\.now\()/.test(
        readFileSync(join(ROOT, file), 'utf8').replace(/^\s*(\*|\/\/).*$/gm, ''),
      ),
  );
  expect(readers).toEqual([]);
});

test('dcmjs is behind one folder', () => {
  const wrong = imports.filter(
    ({ file, specifier }) => /^dcmjs(\/|$)/.test(specifier) && !file.startsWith('functions/core/dicom/'),
  );
  expect(wrong).toEqual([]);
  expect(imports.some(({ specifier }) => specifier.startsWith('dcmjs/'))).toBe(true);
});

// Opening LMDB's file beside a writer loses what the writer commits: only who knows of the door may open it.
test('LMDB is opened behind the door of the index', () => {
  // How the index is opened stands in a file of its own, for who opens it.
  const options = 'functions/adapters/local/lmdb-file.ts';
  const isOpening = (specifier: string): boolean => specifier === 'lmdb' || specifier.endsWith('/lmdb-file.ts');
  const opening = imports.filter(({ specifier }) => isOpening(specifier)).map(({ file }) => file);
  const knocking = imports.filter(({ specifier }) => specifier === './index-door.ts').map(({ file }) => file);
  expect([...new Set(opening)].toSorted()).toEqual([
    'functions/adapters/local/lmdb-copy.ts',
    options,
    'functions/adapters/local/lmdb-index-table.ts',
  ]);
  expect([...knocking, options]).toEqual(expect.arrayContaining(opening));
});
