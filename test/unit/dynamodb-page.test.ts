import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ITEM, LOG, SCATTERED, TABLE } from '#adapters/aws/schema.ts';
import { keys } from '#core/archive/records.ts';
import { principalAccount, tokenAccount } from '#core/rate-accounts.ts';

const ROOT = join(import.meta.dirname, '../..');
const page = readFileSync(join(ROOT, 'docs/dynamodb.md'), 'utf8').replaceAll('\\|', '|');
const section = (title: string): string => page.split(`\n## ${title}`)[1]!.split('\n## ')[0]!;

/** docs/dynamodb.md; the calls of its access patterns are counted by test/cloud/budgets.test.ts. */
describe('the page of the index', () => {
  test('has the attributes of an item that the adapter writes', () => {
    const named = [...section('Items').matchAll(/^\| (.+?) \|/gm)].flatMap(([, cell = '']) =>
      [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name.replace('…', '')),
    );
    expect(named.toSorted()).toEqual([TABLE.partitionKey, TABLE.sortKey, ...Object.values(ITEM)].toSorted());
  });

  test('speaks of partitions that the archive has', () => {
    const sources = readdirSync(join(ROOT, 'functions/core'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(join(ROOT, 'functions/core', file), 'utf8'))
      .join('\n');
    const named = new Set([...page.matchAll(/`t\|([a-z|]+)/g)].map(([, name = '']) => name.replace(/\|$/, '')));
    expect(named.size).toBeGreaterThan(8);
    for (const name of named) expect(sources, name).toMatch(new RegExp(`\\}\\|${name.replaceAll('|', '\\|')}[\`|]`));
  });

  test.each([
    ['begin a store', keys.pending('t', 'v'), SCATTERED],
    ['instances of a series', keys.instance('t', '1', '2', '3'), SCATTERED],
    ['metadata of a series that is not prepared yet', { partition: 't|metadata|1|2', sort: '3' }, SCATTERED],
    ['the same beside other writers', keys.delta('t', '1', 'd'), SCATTERED],
    ['a lot of requests that a principal may make', principalAccount({ tenant: 't', subject: 's' }), SCATTERED],
    ['a token that is not valid, or seen for the first time', tokenAccount('nephos_'), SCATTERED],
    ['sweep', { partition: 't|unfolded', sort: 'd' }, SCATTERED],
  ] as const)('"%s" knows how many shards there are', (pattern, key, scattered) => {
    const rule = scattered.find(
      ({ partition, prefix }) => partition.test(key.partition) && key.sort.startsWith(prefix ?? ''),
    );
    const row = section('Access patterns')
      .split('\n')
      .find((line) => line.startsWith(`| ${pattern} |`));
    expect(row).toMatch(new RegExp(`\\(${rule?.shards} shards( each)?\\)`));
  });

  test('knows how many inboxes a log has', () => {
    expect(LOG.shards).toBe(8);
    expect(section('Access patterns')).toContain('eight inboxes');
  });
});
