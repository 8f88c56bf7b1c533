import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RECORD_KINDS } from '#core/access/confined-index.ts';

const ROOT = join(import.meta.dirname, '../../..');
/** Records of an edge gateway's own work, where nobody is confined. */
const OF_GATEWAYS = /^(edge|forward)/;

test('every kind of record that the code names has a rule of reach', () => {
  const named = new Set<string>();
  for (const file of globSync('functions/{core,api,dicomweb,dimse,adapters,embedded,lambda}/**/*.ts', { cwd: ROOT })) {
    const text = readFileSync(join(ROOT, file), 'utf8');
    // `${t}|kind…`, as partitions are written everywhere.
    for (const [, kind] of text.matchAll(/`\$\{(?:t|tenant)\}\|([a-z-]+)/g)) named.add(kind!);
  }
  expect(named.size).toBeGreaterThan(30);
  const without = [...named].filter((kind) => !(kind in RECORD_KINDS) && !OF_GATEWAYS.test(kind));
  expect(without, 'say in RECORD_KINDS (core/access/confined-index.ts) how these are judged').toEqual([]);
});

test('no kind is listed that is not there', () => {
  const files = globSync('functions/**/*.ts', { cwd: ROOT });
  const text = files.map((file) => readFileSync(join(ROOT, file), 'utf8')).join('\n');
  for (const kind of Object.keys(RECORD_KINDS)) expect(text, kind).toMatch(new RegExp(`}\\|${kind}[|\`]`));
});
