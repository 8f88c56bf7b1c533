import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { CONFORMANCE_PATH, conformanceStatement } from '../scripts/conformance.ts';

const ROOT = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'CONFORMANCE.md', ...below('docs')];

function below(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name));
}

test('the conformance statement says what the code does (npm run conformance)', () => {
  expect(readFileSync(CONFORMANCE_PATH, 'utf8') === conformanceStatement()).toBe(true);
});

test('links between pages, and to files, lead somewhere', () => {
  let links = 0;
  for (const page of pages) {
    for (const [, target] of read(page).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)) {
      links++;
      expect(existsSync(join(ROOT, dirname(page), target!)), `${page} → ${target}`).toBe(true);
    }
  }
  expect(links).toBeGreaterThan(5);
});

test('the scripts that the pages name exist', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const named = pages.flatMap((page) => [...read(page).matchAll(/npm run ([\w:-]+)/g)].map((match) => match[1]!));
  expect(named.length).toBeGreaterThan(3);
  for (const name of new Set(named)) expect(scripts, name).toHaveProperty([name]);
});

test('the environment variables of the README are those of the configuration', () => {
  const source = [
    'embedded/config.ts',
    'embedded/audit-repository.ts',
    'api/throttle.ts',
    'core/configuration.ts',
    'adapters/oidc/environment.ts',
  ]
    .map((file) => read(`functions/${file}`))
    .join('\n');
  const documented = new Set([...read('README.md').matchAll(/`(NEPHOS_[A-Z_]+)`/g)].map((match) => match[1]!));
  const known = new Set(
    [...source.matchAll(/'(NEPHOS_[A-Z_]+)'|env\.(NEPHOS_[A-Z_]+)/g)].map((match) => match[1] ?? match[2]!),
  );
  known.delete('NEPHOS_LIMIT_');
  expect([...documented].filter((name) => !name.startsWith('NEPHOS_LIMIT_')).sort()).toEqual([...known].sort());
});

test('every decision has its context, decision, status and consequences', () => {
  const decisions = below('docs/decisions');
  expect(decisions.length).toBeGreaterThan(5);
  for (const page of decisions) {
    for (const part of ['Context', 'Decision', 'Status', 'Consequences'])
      expect(read(page), `${page}: ${part}`).toMatch(new RegExp(`\\*\\*${part}|## ${part}`));
  }
});
