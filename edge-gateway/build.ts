import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { argv, exit, stderr, stdout } from 'node:process';
import { fileURLToPath } from 'node:url';
import { build, type Metafile, type Plugin } from 'esbuild';

/**
 * `node edge-gateway/build.ts FOLDER [gateway | service]`: a program as its image has it, the gateway or the cloud's service. One bundle for
 * each entry; beside them, as packages, what cannot be bundled: LMDB with its native library, and the codecs' wasm; and the licences of all
 * that is in it.
 */
const PROGRAMS = {
  gateway: {
    entries: { gateway: 'edge-gateway/main.ts', healthcheck: 'edge-gateway/healthcheck.ts' },
    native: ['lmdb'],
  },
  service: {
    entries: { service: 'functions/fargate/main.ts', healthcheck: 'functions/fargate/healthcheck.ts' },
    native: [],
  },
} as const;
type Program = keyof typeof PROGRAMS;
const isProgram = (name: string): name is Program => name in PROGRAMS;

const PROJECT = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const MODULES = join(PROJECT, 'node_modules');
const WORKER = './pixel-worker';
/** Bundled code cannot find its files: these stay packages. */
const PACKAGES = ['lmdb', 'dcmjs-codecs'];
const LICENCE = /^(licen[cs]e|copying|notice)/i;

/** The thread of the pixel engine is an entry of its own, which the bundle has to call by its new name. */
const workerEntry: Plugin = {
  name: 'worker-entry',
  setup(bundler) {
    bundler.onLoad({ filter: /worker-pixel-engine\.ts$/ }, ({ path }) => {
      const source = readFileSync(path, 'utf8');
      const renamed = source.replace(`'${WORKER}.ts'`, `'${WORKER}.js'`);
      if (renamed === source) throw new Error(`${path} does not start ${WORKER}.ts`);
      return { contents: renamed, loader: 'ts' };
    });
  },
};

async function bundle(program: Program, out: string): Promise<Metafile> {
  const { metafile } = await build({
    absWorkingDir: PROJECT,
    entryPoints: {
      ...PROGRAMS[program].entries,
      'pixel-worker': 'functions/adapters/local/pixel-worker.ts',
    },
    outdir: out,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    external: PACKAGES,
    plugins: [workerEntry],
    metafile: true,
    logLevel: 'warning',
    // Packages that are CommonJS ask for Node's own modules by require.
    banner: {
      js: "import { createRequire as nephosRequire } from 'node:module'; const require = nephosRequire(import.meta.url);",
    },
  });
  writeFileSync(join(out, 'package.json'), `${JSON.stringify({ type: 'module', private: true })}\n`);
  return metafile;
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** What of a package is needed when it runs: no sources, no prebuilt libraries of other kinds of Node. */
function isNeeded(path: string): boolean {
  if (/\.node$/.test(path)) return path.endsWith('.napi.glibc.node');
  return !/\/(src|dependencies|dict|test|docs?)(\/|$)|\.(d\.c?ts|map|md|html|gyp|tgz)$|rollup\.config/.test(path);
}

/** With its dependencies, optional ones where they are installed: so the library of this machine's architecture comes along. */
function copyPackage(name: string, out: string, copied = new Set<string>()): Set<string> {
  const from = join(MODULES, name);
  if (copied.has(name) || !existsSync(from)) return copied;
  copied.add(name);
  cpSync(from, join(out, 'node_modules', name), {
    recursive: true,
    dereference: true,
    filter: (path) => isNeeded(path.slice(from.length)),
  });
  const manifest = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8')) as Manifest;
  for (const other of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }))
    copyPackage(other, out, copied);
  return copied;
}

/** dcmjs-codecs is there for its wasm alone: what its own JavaScript needs stays behind. */
function copyCodecs(out: string): void {
  const target = join(out, 'node_modules/dcmjs-codecs');
  cpSync(join(MODULES, 'dcmjs-codecs'), target, {
    recursive: true,
    dereference: true,
    filter: (path) => !/\.(html|map|d\.ts)$|\/node_modules\/dcmjs-codecs\/(src|test|examples)/.test(path),
  });
}

function copyLicences(packages: Iterable<string>, out: string): number {
  let count = 0;
  for (const name of new Set(packages)) {
    const folder = join(MODULES, name);
    if (!existsSync(folder)) continue;
    for (const file of readdirSync(folder).filter((one) => LICENCE.test(one))) {
      const target = join(out, 'licences', name);
      mkdirSync(target, { recursive: true });
      cpSync(join(folder, file), join(target, file), { recursive: true });
      count++;
    }
  }
  mkdirSync(join(out, 'licences/nephos'), { recursive: true });
  const own = join(PROJECT, 'LICENSE');
  if (existsSync(own)) cpSync(own, join(out, 'licences/nephos/LICENSE'));
  return count;
}

/** The folders of packages that a path lies in, as the lock file names them: the SBOM is made of these (scripts/sbom.ts). */
function listPackages({ inputs }: Metafile, copied: Iterable<string>, out: string): void {
  const bundled = Object.keys(inputs).flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []);
  const folders = new Set([...bundled, ...[...copied].map((name) => `node_modules/${name}`)]);
  writeFileSync(join(out, 'licences/packages.json'), `${JSON.stringify([...folders].sort(), null, 1)}\n`);
}

const bundledPackages = ({ inputs }: Metafile): string[] =>
  Object.keys(inputs).flatMap((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []);

const [, , folder, program = 'gateway'] = argv;
if (folder === undefined || !isProgram(program)) {
  stderr.write('name the folder: node edge-gateway/build.ts FOLDER [gateway | service]\n');
  exit(2);
}
const out = resolve(folder);
mkdirSync(out, { recursive: true });
const metafile = await bundle(program, out);
const native = new Set<string>();
for (const name of PROGRAMS[program].native) copyPackage(name, out, native);
copyCodecs(out);
const licences = copyLicences([...bundledPackages(metafile), ...native, 'dcmjs-codecs'], out);
listPackages(metafile, [...native, 'dcmjs-codecs'], out);
stdout.write(
  `${Object.keys(metafile.outputs).length} files, ${native.size + 1} packages, ${licences} licences in ${out}\n`,
);
