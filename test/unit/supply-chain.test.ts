import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Spec, Validation } from '@cyclonedx/cyclonedx-library';
import { describe, expect, test } from 'vitest';
import { isAllowed, LICENCES_PATH, licencesPage, refusedPackages, refusedParts } from '../../scripts/licences.ts';
import { type BundledPart, ohifParts } from '../../scripts/ohif.ts';
import { lockedPackages, packageFolderOf } from '../../scripts/packages.ts';
import { archivePackages, consolePackages, functionPackages, sbomOf, systemOf } from '../../scripts/sbom.ts';

describe('licences', () => {
  test('the page says what the lock file does (npm run licences)', () => {
    expect(readFileSync(LICENCES_PATH, 'utf8') === licencesPage()).toBe(true);
  });

  test('of all packages are among the allowed', () => {
    expect(lockedPackages().size).toBeGreaterThan(100);
    expect(refusedPackages()).toEqual([]);
  });

  test('of what the viewer was built from are among the allowed, or named', () => {
    expect(refusedParts()).toEqual([]);
    const [part] = ohifParts();
    expect(refusedParts([{ ...part!, name: 'left-pad', licence: 'AGPL-3.0' }])).toEqual(['left-pad: AGPL-3.0']);
    expect(refusedParts([{ ...part!, parts: [{ ...part!, name: 'x', licence: 'GPL-3.0' }] }])).toEqual(['x: GPL-3.0']);
  });

  test.each([
    ['MIT', false, true],
    ['(MIT OR GPL-3.0-or-later)', false, true],
    ['(MIT AND Zlib)', false, true],
    ['MIT AND GPL-3.0-only', false, false],
    ['GPL-3.0-only', false, false],
    ['AGPL-3.0-only', true, false],
    ['MPL-2.0', false, false],
    ['MPL-2.0', true, true],
    ['(MIT AND (GPL-2.0-only OR ISC))', false, false],
    ['SEE LICENSE IN LICENSE', false, false],
    ['NONE', true, false],
  ])('%s, of a tool: %s, is allowed: %s', (licence, development, allowed) => {
    expect(isAllowed(licence, development)).toBe(allowed);
  });
});

/** What CycloneDX's own schema says against it. */
const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6);
const faultsOf = (text: string) => validator.validate(text);

describe('the bill of materials', () => {
  test.each([
    ['/a/node_modules/undici/lib/x.js', 'node_modules/undici'],
    ['node_modules/@aws-sdk/client-s3/dist/index.js', 'node_modules/@aws-sdk/client-s3'],
    ['../node_modules/a/node_modules/@b/c/x.js', 'node_modules/a/node_modules/@b/c'],
    ['functions/core/ids.ts', undefined],
  ])('of %s names %s', (path, folder) => {
    expect(packageFolderOf(path)).toBe(folder);
  });

  test('names each package with version, licence and hash as the lock file has them, and no place it came from', () => {
    const folders = [...lockedPackages().values()].filter(({ development }) => !development).map((one) => one.folder);
    const text = sbomOf('archive', folders);
    const bom = JSON.parse(text);
    expect(bom).toMatchObject({ bomFormat: 'CycloneDX', specVersion: '1.6' });
    expect(bom.components).toHaveLength(folders.length);
    const undici = lockedPackages().get('node_modules/undici')!;
    expect(bom.components).toContainEqual({
      type: 'library',
      name: 'undici',
      version: undici.version,
      'bom-ref': 'node_modules/undici',
      scope: 'required',
      hashes: [{ alg: 'SHA-512', content: Buffer.from(undici.integrity!.slice(7), 'base64').toString('hex') }],
      licenses: [{ license: { id: 'MIT' } }],
      purl: `pkg:npm/undici@${undici.version}`,
    });
    for (const { licenses } of bom.components) expect(licenses).toHaveLength(1);
    expect(text.replace(/"\$schema": *"[^"]*"/, '')).not.toMatch(/https?:/);
    expect(sbomOf('archive', folders.toReversed())).toBe(text);
  });

  test('of the functions is what their bundles took in', async () => {
    const packages = await functionPackages();
    const has = (name: Parameters<typeof packages.get>[0], folder: string) => packages.get(name)?.has(folder);
    expect(has('store', 'node_modules/@aws-sdk/client-s3')).toBe(true);
    expect(has('render', 'node_modules/dcmjs-codecs')).toBe(true);
    for (const [name, folders] of packages) {
      expect(folders.has('node_modules/lmdb'), name).toBe(false);
      const text = sbomOf(name, folders);
      expect(JSON.parse(text).components, name).toHaveLength(folders.size);
      expect(await faultsOf(text), name).toBeNull();
    }
  });

  test('of a package that the lock file does not know is not made', () => {
    expect(() => sbomOf('archive', ['node_modules/left-behind'])).toThrow(/not in the lock file/);
  });

  test('of the archive, and of the site in the cloud, has the console’s packages, what the viewer was built from, and the Node that runs it', async () => {
    const console = await consolePackages();
    expect([...console]).toContain('node_modules/preact');
    const archive = sbomOf('archive', archivePackages(console));
    const site = sbomOf('site', [...console, 'node_modules/@ohif/app']);
    for (const text of [archive, site]) {
      expect(await faultsOf(text)).toBeNull();
      const bom = JSON.parse(text);
      const refs = bom.components.map((one: { 'bom-ref': string }) => one['bom-ref']);
      expect(refs).toEqual(expect.arrayContaining(['node_modules/preact', 'node_modules/@ohif/app']));
      expect(refs.includes('node_modules/node')).toBe(text === archive);
      const viewer = bom.components.find((one: { 'bom-ref': string }) => one['bom-ref'] === 'node_modules/@ohif/app');
      expect(viewer.components.length).toBeGreaterThan(200);
      expect(bom.compositions).toEqual([{ aggregate: 'incomplete', assemblies: ['node_modules/@ohif/app'] }]);
    }
  });

  test('of an image has Node as its Dockerfile names it, and Debian’s libraries where the image has said which', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nephos-sbom-'));
    const list = join(folder, 'system.json');
    const libc6 = { name: 'libc6', version: '2.36-9+deb12u13', architecture: 'amd64' };
    writeFileSync(list, JSON.stringify({ node: 'v24.21.0', distribution: 'debian-12', packages: [libc6] }));
    const unknown = sbomOf('gateway', ['node_modules/lmdb'], systemOf('edge-gateway/Dockerfile'));
    const known = sbomOf('gateway', ['node_modules/lmdb'], systemOf('edge-gateway/Dockerfile', list));
    rmSync(folder, { recursive: true });
    for (const text of [unknown, known]) {
      expect(await faultsOf(text)).toBeNull();
      const { version } = lockedPackages().get('node_modules/node')!;
      expect(JSON.parse(text).components).toContainEqual(expect.objectContaining({ name: 'node', version }));
    }
    expect(JSON.parse(unknown).compositions).toEqual([{ aggregate: 'incomplete', assemblies: ['root'] }]);
    const bom = JSON.parse(known);
    expect(bom.compositions).toBeUndefined();
    expect(bom.components).toContainEqual(
      expect.objectContaining({
        ...{ name: 'libc6', version: libc6.version },
        purl: 'pkg:deb/debian/libc6@2.36-9%2Bdeb12u13?arch=amd64&distro=debian-12',
      }),
    );
    expect(bom.dependencies.find(({ ref }: { ref: string }) => ref === 'root').dependsOn).toContain('system:libc6');
  });
});

describe('what the viewer was built from', () => {
  const parts = ohifParts();
  const at = (path: string): BundledPart => parts.find((part) => part.path === path)!;

  test('is named with what shows it; a version only where something shows that', () => {
    for (const part of parts) {
      expect(part.findings.length, part.path).toBeGreaterThan(0);
      const versions = part.findings.filter(({ field }) => field === 'version');
      expect(part.version, part.path).toBe(versions[0]?.version);
      expect(
        part.findings.some(({ field }) => field === 'name'),
        part.path,
      ).toBe(true);
    }
    // The bundler's comment names it; which one it is, nothing says.
    expect(at('node_modules/d3-array').findings).toMatchObject([
      { field: 'name', technique: 'filename', confidence: 1 },
    ]);
    expect(at('node_modules/d3-array').version).toBeUndefined();
  });

  test('is compared byte by byte where a published file was taken in', () => {
    const codec = at('node_modules/@cornerstonejs/codec-openjph');
    expect(codec).toMatchObject({ version: '2.4.7', licence: 'MIT' });
    expect(codec.findings[0]).toMatchObject({ technique: 'hash-comparison', confidence: 1 });
    // Files that two releases have in common show which package it is, and not which release.
    const viewer = at('node_modules/dicom-microscopy-viewer');
    expect(viewer.findings.map(({ technique }) => technique)).toContain('hash-comparison');
    expect(viewer.version).toBeUndefined();
    expect(viewer.parts.map(({ name }) => name)).toEqual(expect.arrayContaining(['ol', 'mathjs', 'core-js-pure']));
  });

  test('tells two copies of a library apart, and believes what the code says of itself', () => {
    expect(at('node_modules/itk-wasm').version).toBe('1.0.0-b.173');
    const inner = at('node_modules/@cornerstonejs/labelmap-interpolation/node_modules/itk-wasm');
    expect(inner.version).toBe('1.0.0-b.165');
    expect(inner.findings.at(-1)).toMatchObject({ field: 'version', technique: 'source-code-analysis' });
    // What OHIF's packages depend on says nothing of a copy in another library's folder.
    expect(at('node_modules/react-select/node_modules/@babel/runtime').version).toBeUndefined();
    expect(at('node_modules/@babel/runtime').version).toBe('7.29.7');
  });

  test('says of which version a licence was looked up, where it was another one', () => {
    expect(at('node_modules/react')).not.toHaveProperty('licenceOf');
    expect(at('node_modules/axios')).toMatchObject({ version: '1.18.1', licence: 'MIT', licenceOf: '1.21.1' });
    expect(at('node_modules/shepherd.js')).toMatchObject({ version: '15.2.2', licence: 'AGPL-3.0' });
  });
});
