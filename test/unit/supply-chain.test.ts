import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { isAllowed, LICENCES_PATH, licencesPage, refusedPackages } from '../../scripts/licences.ts';
import { lockedPackages, packageFolderOf } from '../../scripts/packages.ts';
import { functionPackages, sbomOf } from '../../scripts/sbom.ts';

describe('licences', () => {
  test('the page says what the lock file does (npm run licences)', () => {
    expect(readFileSync(LICENCES_PATH, 'utf8') === licencesPage()).toBe(true);
  });

  test('of all packages are among the allowed', () => {
    expect(lockedPackages().size).toBeGreaterThan(100);
    expect(refusedPackages()).toEqual([]);
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
      expect(JSON.parse(sbomOf(name, folders)).components, name).toHaveLength(folders.size);
    }
  }, 120_000);

  test('of a package that the lock file does not know is not made', () => {
    expect(() => sbomOf('archive', ['node_modules/left-behind'])).toThrow(/not in the lock file/);
  });
});
