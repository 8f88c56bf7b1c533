import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import schema from '#edge/config.schema.json' with { type: 'json' };
import { checked } from '#edge/config.ts';

const ROOT = join(import.meta.dirname, '../..');
const page = readFileSync(join(ROOT, 'docs/edge-gateway.md'), 'utf8');
const source = readFileSync(join(ROOT, 'edge-gateway/config.ts'), 'utf8');

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly default?: unknown;
}
const definitions = schema.definitions as unknown as Readonly<Record<string, Schema>>;
/** Said in words below the table. */
const IN_WORDS = new Set(['secret', 'condition']);
const nameOf = ({ $ref = '' }: Schema): string => $ref.split('/').at(-1)!;
const resolved = (one: Schema): Schema => (one.$ref === undefined ? one : { ...definitions[nameOf(one)], ...one });

/** Every key with its default; of objects that always are there, their members alone. */
function* keysOf(of: Schema, path = ''): Generator<readonly [key: string, fallback: unknown]> {
  for (const [name, member] of Object.entries(of.properties ?? {})) {
    if (name === '$schema') continue;
    const one = resolved(member);
    const key = `${path}${name}`;
    const isSection = one.properties !== undefined && JSON.stringify(one.default) === '{}';
    if (!isSection) yield [key, one.default];
    if (IN_WORDS.has(nameOf(member))) continue;
    yield* keysOf(one, `${key}.`);
    if (one.items) yield* keysOf(resolved(one.items), `${key}[].`);
  }
}

const documented = new Map(
  [...page.matchAll(/^\| `([\w[\].]+)` \|(.*?)\|/gm)].map((match) => [match[1]!, match[2]!.trim()]),
);

test('the page names every key of the configuration, and no other', () => {
  expect([...documented.keys()].sort()).toEqual([...keysOf(schema as Schema)].map(([key]) => key).sort());
});

test('the defaults on the page are those of the schema', () => {
  for (const [key, fallback] of keysOf(schema as Schema)) {
    const told = documented.get(key)!;
    // A list of all there is is said in a word.
    if (told === 'all') expect(fallback, key).toBeInstanceOf(Array);
    else expect(told, key).toBe(fallback === undefined ? '' : `\`${JSON.stringify(fallback)}\``);
  }
});

test('the example is a configuration', () => {
  const [, example = ''] = /```json\n([\s\S]*?)```/.exec(page)!;
  expect(checked(JSON.parse(example), 'the example').upstreams).toHaveLength(2);
});

test('the environment variables on the page are those that are read', () => {
  const read = new Set([...source.matchAll(/NEPHOS_[A-Z_]+/g)].map(([name]) => name));
  const told = new Set([...page.matchAll(/`(NEPHOS_[A-Z_]+)`/g)].map((match) => match[1]!));
  expect([...told].sort()).toEqual([...read].sort());
});

test('conditions name every member that the schema has', () => {
  for (const name of Object.keys(definitions.condition!.properties!)) expect(page).toContain(`\`${name}\``);
});
