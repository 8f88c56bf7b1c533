import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Enums, Models, Serialize, Spec } from '@cyclonedx/cyclonedx-library';
import { build as bundle } from 'esbuild';
import { build as buildSite } from 'vite';
import { BUNDLING } from '#lambda/bundling.ts';
import { FUNCTIONS, type FunctionName } from '#lambda/functions.ts';
import { ohifParts } from './ohif.ts';
import { type LockedPackage, lockedPackages, packageFolderOf, ROOT } from './packages.ts';
import {
  bundledComponent,
  nodeComponent,
  type PartComponent,
  type SystemParts,
  systemComponents,
} from './sbom-parts.ts';

/**
 * `npm run sbom [-- gateway=FILE service=FILE]`: what is in each deliverable, as CycloneDX 1.6 in JSON: build/sbom/archive.cdx.json (what
 * `npm start` runs, with the console), site.cdx.json (console and viewer in the cloud), gateway.cdx.json and service.cdx.json (the images),
 * function-<name>.cdx.json (each Lambda bundle). Made of what the bundlers say they took in, of the lock file, of what OHIF's bundle shows
 * (ohif.ts), and, for an image that has been built, of its own /app/licences/system.json, which FILE is a copy of.
 */
const OUT = join(ROOT, 'build/sbom');
const VIEWER = 'node_modules/@ohif/app';

export interface Beside {
  /** what is no package of npm */
  readonly system?: readonly PartComponent[];
  /** there is more of the system in it than is named */
  readonly isSystemUnknown?: boolean;
}

/** The document of one deliverable. @param folders of packages, as the lock file names them */
export function sbomOf(deliverable: string, folders: Iterable<string>, beside: Beside = {}): string {
  const locked = lockedPackages();
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const bom = new Models.Bom();
  const root = new Models.Component(Enums.ComponentType.Application, `nephos-${deliverable}`, {
    version,
    bomRef: 'root',
  });
  root.licenses.add(new Models.SpdxLicense('Apache-2.0'));
  bom.metadata.component = root;
  for (const folder of new Set(folders)) {
    const found = locked.get(folder);
    if (found === undefined) throw new Error(`${folder} is not in the lock file`);
    const component = componentOf(found);
    bom.components.add(component);
    root.dependencies.add(component.bomRef);
  }
  const normalizer = new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6);
  const document = JSON.parse(new Serialize.JsonSerializer(normalizer).serialize(bom, { sortLists: true }));
  return JSON.stringify(withParts(document, beside), null, 1);
}

interface Document {
  readonly components?: PartComponent[];
  readonly dependencies?: { readonly ref: string; readonly dependsOn?: string[] }[];
}

/** What the library's models have no words for: parts with their evidence, and where a list is known not to be whole. */
function withParts(document: Document, { system = [], isSystemUnknown = false }: Beside): object {
  const components = (document.components ?? []).map((component) =>
    component['bom-ref'] === VIEWER
      ? { ...component, components: ohifParts().map((part) => bundledComponent(part, VIEWER)) }
      : component,
  );
  const refs = system.map((component) => component['bom-ref']);
  const dependencies = (document.dependencies ?? []).map((one) =>
    one.ref === 'root' ? { ...one, dependsOn: [...(one.dependsOn ?? []), ...refs].sort() } : one,
  );
  const incomplete = [
    ...(isSystemUnknown ? ['root'] : []),
    ...(components.some((one) => one['bom-ref'] === VIEWER) ? [VIEWER] : []),
  ];
  return {
    ...document,
    components: [...components, ...system],
    dependencies: [...dependencies, ...refs.map((ref) => ({ ref }))],
    // Modules of OHIF that another library alone takes in stand in its bundle without a name.
    ...(incomplete.length > 0 && { compositions: [{ aggregate: 'incomplete', assemblies: incomplete }] }),
  };
}

function componentOf({ folder, name, version, licence, integrity, optional }: LockedPackage): Models.Component {
  const [group, bare] = name.startsWith('@') ? (name.split('/') as [string, string]) : [undefined, name];
  const component = new Models.Component(Enums.ComponentType.Library, bare, {
    version,
    bomRef: folder,
    scope: optional ? Enums.ComponentScope.Optional : Enums.ComponentScope.Required,
    purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
    ...(group !== undefined && { group }),
  });
  component.licenses.add(
    / (AND|OR) /.test(licence) ? new Models.LicenseExpression(licence) : new Models.SpdxLicense(licence),
  );
  const sha512 = /^sha512-(.+)$/.exec(integrity ?? '')?.[1];
  if (sha512 !== undefined)
    component.hashes.set(Enums.HashAlgorithm['SHA-512'], Buffer.from(sha512, 'base64').toString('hex'));
  return component;
}

const foldersOf = (paths: Iterable<string>): Set<string> =>
  new Set([...paths].map(packageFolderOf).filter((folder) => folder !== undefined));

/** What each function's bundle is made of. */
export async function functionPackages(): Promise<ReadonlyMap<FunctionName, ReadonlySet<string>>> {
  const { banner, mainFields, ...options } = BUNDLING;
  const { metafile } = await bundle({
    ...options,
    mainFields: [...mainFields],
    banner: { js: banner },
    entryPoints: Object.entries(FUNCTIONS).map(([out, { entry }]) => ({ in: join(ROOT, entry), out })),
    absWorkingDir: ROOT,
    outdir: join(ROOT, 'unused'),
    write: false,
    metafile: true,
    logLevel: 'error',
  });
  const packages = new Map<FunctionName, ReadonlySet<string>>();
  for (const [path, { inputs }] of Object.entries(metafile.outputs)) {
    const name = /([^/]+)\.js$/.exec(path)?.[1] as FunctionName;
    // The codecs are not bundled: they are laid beside, whole, where the function renders.
    const codecs = FUNCTIONS[name].codecs ? ['node_modules/dcmjs-codecs'] : [];
    const taken = Object.entries(inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
    packages.set(name, new Set([...foldersOf(taken.map(([input]) => input)), ...codecs]));
  }
  return packages;
}

/** What the image of a program is made of: its own build says it. */
function imagePackages(program: 'gateway' | 'service'): string[] {
  const folder = join(ROOT, 'build', program);
  rmSync(folder, { recursive: true, force: true });
  execFileSync(process.execPath, [join(ROOT, 'edge-gateway/build.ts'), folder, program], { stdio: 'ignore' });
  return JSON.parse(readFileSync(join(folder, 'licences/packages.json'), 'utf8')) as string[];
}

/** Of an image's own list; without one, Node alone, of the version that its Dockerfile names. */
export function systemOf(dockerfile: string, list?: string): Beside {
  if (list !== undefined) return { system: systemComponents(JSON.parse(readFileSync(list, 'utf8')) as SystemParts) };
  const version = /^FROM node:([\d.]+)-/m.exec(readFileSync(join(ROOT, dockerfile), 'utf8'))?.[1];
  if (version === undefined) throw new Error(`${dockerfile} names no Node`);
  return { system: [nodeComponent(version)], isSystemUnknown: true };
}

/** What the console's files are made of. */
export async function consolePackages(): Promise<Set<string>> {
  const built = await buildSite({ root: join(ROOT, 'web'), logLevel: 'error', build: { write: false } });
  const paths: string[] = [];
  for (const { output } of [built].flat() as { output: { moduleIds?: string[] }[] }[])
    for (const { moduleIds } of output) paths.push(...(moduleIds ?? []));
  return foldersOf(paths);
}

/** Folders of what `npm start` runs: what the lock file does not call development, the console's packages, and the Node that runs it. */
export function archivePackages(console: Iterable<string>): string[] {
  const production = [...lockedPackages().values()].filter(({ development }) => !development);
  return [...production.map(({ folder }) => folder), ...console, 'node_modules/node'];
}

const DOCKERFILES = { gateway: 'edge-gateway/Dockerfile', service: 'functions/fargate/Dockerfile' } as const;

async function main(given: readonly string[]): Promise<void> {
  mkdirSync(OUT, { recursive: true });
  const lists = new Map(given.map((one) => one.split(/=(.*)/s, 2) as [string, string]));
  const write = (deliverable: string, folders: Iterable<string>, beside: Beside = {}): void => {
    const path = join(OUT, `${deliverable}.cdx.json`);
    const packages = [...folders];
    writeFileSync(path, `${sbomOf(deliverable, packages, beside)}\n`);
    process.stdout.write(`${path}: ${new Set(packages).size} packages\n`);
  };
  const console = await consolePackages();
  write('archive', archivePackages(console));
  write('site', [...console, VIEWER]);
  for (const program of ['gateway', 'service'] as const)
    write(program, imagePackages(program), systemOf(DOCKERFILES[program], lists.get(program)));
  for (const [name, packages] of await functionPackages()) write(`function-${name}`, packages);
}

if (import.meta.main) await main(process.argv.slice(2));
