import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { lockedPackages, ROOT } from './packages.ts';

/** Licences under which a package may come with what we give out: they ask for their text to be kept, and no more. */
const PERMISSIVE = [
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'ISC',
  'MIT',
  'MIT-0',
  'Zlib',
];
/** Besides, of packages that build or test, and are not given out: copyleft of single files. */
const TOOLS = [...PERMISSIVE, 'MPL-2.0'];

export const LICENCES_PATH = join(ROOT, 'docs/licences.md');

/** Whether an SPDX expression (of one kind of operator, as packages have them) is allowed. What is not understood is not. */
export function isAllowed(expression: string, development: boolean): boolean {
  const allowed = development ? TOOLS : PERMISSIVE;
  const bare = /^\(([^()]*)\)$/.exec(expression)?.[1] ?? expression;
  if (bare.includes(' AND ')) return bare.split(' AND ').every((one) => allowed.includes(one));
  return bare.split(' OR ').some((one) => allowed.includes(one));
}

/** Packages with a licence that is not allowed, and names for it. */
export const refusedPackages = (): string[] =>
  [...lockedPackages().values()]
    .filter(({ licence, development }) => !isAllowed(licence, development))
    .map(({ name, licence }) => `${name}: ${licence}`);

/** docs/licences.md, of package-lock.json. Without versions, which the SBOM has. */
export function licencesPage(): string {
  const packages = [...lockedPackages().values()];
  const table = (rows: readonly (readonly [string, string])[]): string =>
    rows.map((row) => `| ${row.join(' | ')} |`).join('\n');
  const given = new Map(packages.filter((one) => !one.development).map(({ name, licence }) => [name, licence]));
  const tools = new Map<string, Set<string>>();
  for (const { name, licence, development } of packages)
    if (development) tools.set(licence, (tools.get(licence) ?? new Set()).add(name));
  const byName = [...given].sort(([a], [b]) => (a < b ? -1 : 1));
  const byLicence = [...tools].sort(([a], [b]) => (a < b ? -1 : 1));
  return `# Licences of the packages

Generated from the lock file (\`npm run licences\`); a test compares the two, and refuses a package whose licence is not among the allowed.
Nephos itself is under [Apache-2.0](../LICENSE). Versions are in the SBOM (\`npm run sbom\`).

Allowed for what is given out: ${PERMISSIVE.join(', ')}. For tools that build and test, and are not given out, also MPL-2.0.

OHIF comes built, with libraries of its own in it; its licence file is in its package. \`empty-npm-package\` stands for what OHIF was built from and does not need to run.
Preact is a development package of the lock file and yet given out, as part of the console: it is under MIT.

## Given out

| package | licence |
|---|---|
${table(byName)}

## Used to build and test

| licence | packages |
|---|---|
${table(byLicence.map(([licence, names]) => [licence, [...names].sort().join(', ')] as const))}
`;
}

if (import.meta.main) writeFileSync(LICENCES_PATH, licencesPage());
