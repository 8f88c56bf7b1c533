import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './packages.ts';

/**
 * What OHIF was built from. Its package has neither a lock file nor its dependencies, but the bundle is not minified: the bundler's comments
 * name the module that follows, source maps of what came built already name theirs, and some libraries say their version. Beside that
 * stands what the registry says (ohif-stated.json). A version that nothing shows stays unsaid.
 */
export interface BundledPart {
  /** tells parts apart that are there twice: `node_modules/itk-wasm`, `node_modules/x/node_modules/itk-wasm` */
  readonly path: string;
  /** of the npm package */
  readonly name: string;
  readonly version?: string;
  readonly licence?: string;
  /** the version of the package whose licence was looked at, where it is not known to be this one */
  readonly licenceOf?: string;
  readonly findings: readonly Finding[];
  /** of what came built already: what that was built from */
  readonly parts: readonly BundledPart[];
}

/** CycloneDX's `evidence.identity`: what shows a part's name or version, how, and how surely (0 to 1). */
export interface Finding {
  readonly field: 'name' | 'version';
  readonly technique: 'filename' | 'hash-comparison' | 'manifest-analysis' | 'source-code-analysis';
  readonly confidence: number;
  readonly version?: string;
  /** in words */
  readonly value: string;
}

interface Stated {
  readonly ohif: string;
  /** package of OHIF → name → exact version */
  readonly declared: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** name → version looked at, SPDX expression */
  readonly licences: Readonly<Record<string, readonly [string, string]>>;
  /** file of the bundle → the file that it is, of which versions of which package */
  readonly files: Readonly<
    Record<
      string,
      { readonly sha256: string; readonly package: string; readonly versions: readonly string[]; readonly file: string }
    >
  >;
}

const OHIF_FOLDER = join(ROOT, 'node_modules/@ohif/app');
const DIST = join(OHIF_FOLDER, 'dist');
/** Folders of what came built already, by the package that each is. */
const BUILT = { ort: 'onnxruntime-web', 'dicom-microscopy-viewer': 'dicom-microscopy-viewer' } as const;
/** Scripts beside the bundle that say themselves what they are. */
const SCRIPTS = [
  { file: 'es6-shim.min.js', name: 'es6-shim', version: /es6-shim: v(\d+\.\d+\.\d+)/ },
  { file: 'oidc-client.min.js', name: 'oidc-client', version: undefined },
] as const;

type Findings = Map<string, Finding[]>;
const note = (findings: Findings, path: string, ...more: Finding[]): void =>
  void findings.set(path, [...(findings.get(path) ?? []), ...more]);
const nameOf = (path: string): string => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);

let known: readonly BundledPart[] | undefined;

/** Everything that is found, by path. @throws Error where the notes are of another release than the one installed */
export const ohifParts = (): readonly BundledPart[] => {
  known ??= readParts();
  return known;
};

function readParts(): readonly BundledPart[] {
  const stated = JSON.parse(readFileSync(join(import.meta.dirname, 'ohif-stated.json'), 'utf8')) as Stated;
  const manifest = JSON.parse(readFileSync(join(OHIF_FOLDER, 'package.json'), 'utf8')) as {
    version: string;
    dependencies: Record<string, string>;
  };
  if (manifest.version !== stated.ohif)
    throw new Error(`scripts/ohif-stated.json is of OHIF ${stated.ohif}, installed is ${manifest.version}`);
  const declared = { '@ohif/app': manifest.dependencies, ...stated.declared };
  const files = readdirSync(DIST, { recursive: true, encoding: 'utf8' }).map((file) => file.replaceAll('\\', '/'));

  const built = Object.entries(BUILT).map(([folder, name]) => {
    const own: Findings = new Map([[`node_modules/${name}`, [fact('name', 'filename', 1, `the folder ${folder}/`)]]]);
    compareFiles(own, stated, (file) => file.startsWith(`${folder}/`));
    const inner: Findings = new Map();
    readMaps(
      inner,
      files.filter((file) => file.startsWith(`${folder}/`) && file.endsWith('.map')),
    );
    return partOf(`node_modules/${name}`, own, stated, partsOf(inner, stated));
  });

  const findings: Findings = new Map();
  const outside = (file: string): boolean => !Object.keys(BUILT).some((folder) => file.startsWith(`${folder}/`));
  for (const file of files.filter((one) => outside(one) && one.endsWith('.js'))) readModules(findings, file);
  compareFiles(findings, stated, outside);
  for (const script of SCRIPTS) readScript(findings, script);
  for (const path of findings.keys()) noteDeclared(findings, path, declared);
  // Its code came built; the import is a name alone.
  for (const name of Object.values(BUILT)) findings.delete(`node_modules/${name}`);
  return [...partsOf(findings, stated), ...built].sort(byPath);
}

const fact = (
  field: Finding['field'],
  technique: Finding['technique'],
  confidence: number,
  value: string,
  version?: string,
): Finding => ({ field, technique, confidence, value, ...(version !== undefined && { version }) });
const byPath = (a: BundledPart, b: BundledPart): number => (a.path < b.path ? -1 : 1);

/** `;// CONCATENATED MODULE: path` before a module's code; `// EXTERNAL MODULE: path` where it is elsewhere in the bundle. */
const MODULE = /^;?\/\/ (CONCATENATED|EXTERNAL) MODULE: \S*?((?:[^/\s.]+\/(?:[^/\s.]+\/)?)?node_modules\/\S+)$/gm;
const PACKAGE = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)/;
/** The bundler makes another name of one that is taken. */
const VERSION = /^(?:export )?(?:const|let|var) (?:version_version|version|VERSION) = ["'](\d+\.\d+\.\d+[\w.+-]*)["']/m;

function readModules(findings: Findings, file: string): void {
  const text = readFileSync(join(DIST, file), 'utf8');
  const found = [...text.matchAll(MODULE)];
  for (const [at, { 1: kind, 2: module = '', index, 0: line }] of found.entries()) {
    const path = PACKAGE.exec(module)?.[1];
    if (path === undefined) continue;
    const known = findings.get(path) ?? [];
    const isHere = kind === 'CONCATENATED';
    const confidence = isHere ? 1 : 0.9;
    if (!known.some((one) => one.field === 'name' && one.confidence >= confidence))
      findings.set(path, [
        ...known.filter(({ field, technique }) => field !== 'name' || technique !== 'filename'),
        fact('name', 'filename', confidence, `the bundler's comment: ${module}`),
      ]);
    if (!isHere) continue;
    const code = text.slice(index + line.length, found[at + 1]?.index ?? index + line.length + 100_000);
    // A module that holds the version and little else; longer ones speak of versions of other things.
    const version = code.length < 4_000 ? VERSION.exec(code)?.[1] : undefined;
    if (version !== undefined && !findings.get(path)!.some((one) => one.version === version))
      note(findings, path, fact('version', 'source-code-analysis', 0.9, `${module} says so`, version));
  }
}

/** What a source map names; the maps of several builds of the same name the same. */
function readMaps(findings: Findings, files: readonly string[]): void {
  for (const file of files) {
    const text = readFileSync(join(DIST, file), 'utf8');
    const list = /"sources":(\[(?:"(?:[^"\\]|\\.)*",?)*\])/.exec(text)?.[1] ?? '[]';
    for (const source of JSON.parse(list) as string[]) {
      const path = /(node_modules\/(?:[^?|]*\/node_modules\/)?(?:@[^/]+\/)?[^/?|]+)\//.exec(source)?.[1];
      if (path !== undefined && !findings.has(path))
        note(findings, path, fact('name', 'source-code-analysis', 1, `the source map ${file} names its sources`));
    }
  }
}

/** Files that are, byte for byte, those of a published package. */
function compareFiles(findings: Findings, { files }: Stated, where: (file: string) => boolean): void {
  for (const [file, { sha256, package: name, versions, file: theirs }] of Object.entries(files)) {
    if (!where(file) || !existsSync(join(DIST, file))) continue;
    if (
      createHash('sha256')
        .update(readFileSync(join(DIST, file)))
        .digest('hex') !== sha256
    )
      continue;
    const path = `node_modules/${name}`;
    const value = `${file} is ${theirs} of ${versions.join(' and of ')}`;
    note(findings, path, fact('name', 'hash-comparison', 1, value));
    const [version, ...others] = versions;
    if (others.length === 0) note(findings, path, fact('version', 'hash-comparison', 1, value, version));
  }
}

function readScript(findings: Findings, { file, name, version: pattern }: (typeof SCRIPTS)[number]): void {
  if (!existsSync(join(DIST, file))) return;
  const path = `node_modules/${name}`;
  note(findings, path, fact('name', 'filename', 0.9, file));
  const version = pattern?.exec(readFileSync(join(DIST, file), 'utf8'))?.[1];
  if (version) note(findings, path, fact('version', 'source-code-analysis', 0.9, `${file} says so`, version));
}

/** OHIF's own packages name exact versions. What stands in the folder of another library may be any other one. */
function noteDeclared(findings: Findings, path: string, declared: Stated['declared']): void {
  if (/node_modules\/.*node_modules\//.test(path)) return;
  const name = nameOf(path);
  const by = new Map<string, string[]>();
  for (const [owner, { [name]: version }] of Object.entries(declared))
    if (version !== undefined && /^\d/.test(version)) by.set(version, [...(by.get(version) ?? []), owner]);
  const [only, ...others] = by;
  if (only === undefined || others.length > 0) return;
  const [version, owners] = only;
  note(findings, path, fact('version', 'manifest-analysis', 0.8, `${owners.join(', ')} depend on exactly it`, version));
}

const partsOf = (findings: Findings, stated: Stated): BundledPart[] =>
  [...findings.keys()].map((path) => partOf(path, findings, stated, [])).sort(byPath);

function partOf(path: string, all: Findings, { licences }: Stated, parts: readonly BundledPart[]): BundledPart {
  const name = nameOf(path);
  const findings = (all.get(path) ?? []).toSorted((a, b) => b.confidence - a.confidence);
  const version = findings.find(({ field }) => field === 'version')?.version;
  const [lookedAt, licence] = licences[name] ?? [];
  return {
    ...{ path, name, findings, parts },
    ...(version !== undefined && { version }),
    ...(licence !== undefined && { licence }),
    ...(lookedAt !== undefined && lookedAt !== version && { licenceOf: lookedAt }),
  };
}
