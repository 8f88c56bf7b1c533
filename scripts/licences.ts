import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BundledPart, ohifParts } from './ohif.ts';
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
/** Besides, of packages that build or test, and are not given out: copyleft of single files; and no rights kept at all. */
const TOOLS = [...PERMISSIVE, 'MPL-2.0', 'CC0-1.0'];
/** Besides, of what OHIF's makers have built into it: it is theirs to choose. */
const BUILT_IN = [...PERMISSIVE, 'BSL-1.0', 'Apache-2.0 WITH LLVM-exception'];
/** Built in as well, and not among the allowed: named, so that nobody takes it for one of them, and nothing else slips in beside it. */
const NAMED: Readonly<Record<string, string>> = { 'shepherd.js': 'AGPL-3.0' };

export const LICENCES_PATH = join(ROOT, 'docs/licences.md');

/** Whether an SPDX expression (of one kind of operator, as packages have them) is allowed. What is not understood is not. */
export const isAllowed = (expression: string, development: boolean): boolean =>
  isOneOf(expression, development ? TOOLS : PERMISSIVE);

function isOneOf(expression: string, allowed: readonly string[]): boolean {
  const bare = /^\(([^()]*)\)$/.exec(expression)?.[1] ?? expression;
  if (bare.includes(' AND ')) return bare.split(' AND ').every((one) => allowed.includes(one));
  return bare.split(' OR ').some((one) => allowed.includes(one));
}

/** Packages with a licence that is not allowed, and names for it. */
export const refusedPackages = (): string[] =>
  [...lockedPackages().values()]
    .filter(({ licence, development }) => !isAllowed(licence, development))
    .map(({ name, licence }) => `${name}: ${licence}`);

/** Parts of the viewer with a licence that is neither allowed nor named, and names for it. */
export const refusedParts = (parts: readonly BundledPart[] = ohifParts()): string[] =>
  parts.flatMap((part) => [
    ...(part.licence === undefined || isOneOf(part.licence, BUILT_IN) || NAMED[part.name] === part.licence
      ? []
      : [`${part.name}: ${part.licence}`]),
    ...refusedParts(part.parts),
  ]);

const flat = (parts: readonly BundledPart[]): BundledPart[] => parts.flatMap((part) => [part, ...flat(part.parts)]);

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
  const builtIn = new Map<string, Set<string>>();
  for (const { name, licence = 'not said' } of flat(ohifParts()))
    builtIn.set(licence, (builtIn.get(licence) ?? new Set()).add(name));
  const byLicenceIn = [...builtIn].sort(([a], [b]) => (a < b ? -1 : 1));
  const byLicence = [...tools].sort(([a], [b]) => (a < b ? -1 : 1));
  return `# Licences of the packages

Generated from the lock file (\`npm run licences\`); a test compares the two, and refuses a package whose licence is not among the allowed.
Nephos itself is under [Apache-2.0](../LICENSE). Versions are in the SBOM (\`npm run sbom\`).

Allowed for what is given out: ${PERMISSIVE.join(', ')}. For tools that build and test, and are not given out, also MPL-2.0 and CC0-1.0.

\`empty-npm-package\` stands for what OHIF was built from and does not need to run: that is in its bundle, and below.
Preact is a development package of the lock file and yet given out, as part of the console: it is under MIT.

## Given out

| package | licence |
|---|---|
${table(byName)}

## Built into the viewer

OHIF comes built (\`@ohif/app\`, MIT, its licence file is in its package and nothing in it is changed). What its bundle shows of the libraries in it ([why and how](decisions/0150-what-a-bundle-shows.md)), with the licence that the
registry states for each; some were looked up at another version than the one built in, as the SBOM says. **shepherd.js**, which draws guided tours, is under AGPL-3.0: OHIF's makers give it out in their package, and whoever may not
have it has to build OHIF without it.

| licence | libraries |
|---|---|
${table(byLicenceIn.map(([licence, names]) => [licence, [...names].sort().join(', ')] as const))}

## In the images

Beside packages of npm, the images of the gateway and the service hold Node (MIT, with what its LICENSE lists) and the libraries of Debian that it needs: the C library (LGPL-2.1 or later) and those of GCC (GPL-3 with the runtime
exception). Their texts, and which versions they are, stand in the image, in \`/app/licences\`.

## Used to build and test

| licence | packages |
|---|---|
${table(byLicence.map(([licence, names]) => [licence, [...names].sort().join(', ')] as const))}
`;
}

if (import.meta.main) writeFileSync(LICENCES_PATH, licencesPage());
