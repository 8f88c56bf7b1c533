import type { Synthesized, Template } from './synth.ts';

/** What stands in the account: templates by stack. Stacks that a deployment no longer names stay as they were. */
export type Standing = ReadonlyMap<string, Template>;

/**
 * Deploys one assembly over what stands, stack by stack, as CloudFormation would: a stack that lets go of an export which another one still imports is refused,
 * and so is one of CDK's values for another region that is still read there.
 *
 * `only`: stacks that are deployed, as by `cdk deploy --exclusively`; default: all, in their order
 * @returns what stands then, and what was refused: `Keys drops … for Api`
 */
export function update(
  standing: Standing,
  { templates }: Pick<Synthesized, 'templates'>,
  only: readonly string[] = [...templates.keys()],
): { standing: Standing; refused: string[] } {
  const now = new Map(standing);
  const refused: string[] = [];
  for (const [stack, template] of templates) {
    if (!only.includes(stack)) continue;
    const before = now.get(stack);
    const kept = new Set(template && exportsOf(template));
    for (const name of before === undefined ? [] : exportsOf(before)) {
      if (kept.has(name)) continue;
      for (const [other, { Resources }] of now)
        if (other !== stack && importsOf(Resources).has(name)) refused.push(`${stack} drops ${name} for ${other}`);
    }
    now.set(stack, template);
  }
  return { standing: now, refused };
}

function exportsOf({ Resources, Outputs }: Template): string[] {
  const written = Object.values(Resources)
    .filter(({ Type }) => Type === 'Custom::CrossRegionExportWriter')
    .flatMap(({ Properties }) => Object.keys(Properties.WriterProps.exports));
  return [...Object.values(Outputs ?? {}).flatMap(({ Export }) => (Export ? [Export.Name] : [])), ...written];
}

function importsOf(value: unknown, found = new Set<string>()): Set<string> {
  if (typeof value !== 'object' || value === null) return found;
  for (const [key, inner] of Object.entries(value)) {
    if (key === 'Fn::ImportValue' && typeof inner === 'string') found.add(inner);
    else if (key === 'ReaderProps') for (const name of Object.keys(inner.imports)) found.add(name);
    else importsOf(inner, found);
  }
  return found;
}

/** Deletes stacks that no deployment names any more, one after another. @returns what stands then, and what was refused */
export function remove(standing: Standing, stacks: readonly string[]): { standing: Standing; refused: string[] } {
  const now = new Map(standing);
  const refused: string[] = [];
  for (const stack of stacks) {
    const gone = now.get(stack);
    if (gone === undefined) continue;
    now.delete(stack);
    for (const [other, { Resources }] of now)
      for (const name of exportsOf(gone))
        if (importsOf(Resources).has(name)) refused.push(`${stack} drops ${name} for ${other}`);
  }
  return { standing: now, refused };
}
