import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { QUEUES, queueName } from '#adapters/aws/schema.ts';
import { ENVIRONMENT, queueVariable } from '#lambda/environment.ts';
import type { Recorder } from './recorder.ts';

interface Template {
  Resources: Record<string, { Type: string; Properties?: object; DependsOn?: string | string[] }>;
  Outputs?: Record<string, unknown>;
}

/** What an engine lacks, as checked in: each with the reason. */
export interface Lacks {
  readonly stacks: Readonly<Record<string, string>>;
  readonly types: Readonly<Record<string, string>>;
  /** by type: resources that have one of these properties */
  readonly properties: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** by type: what the engine has in its place, and which properties that does not take */
  readonly 'stands in': Readonly<Record<string, { readonly type: string; readonly without: readonly string[] }>>;
}

/**
 * Takes resources of types that the engine lacks out of the templates of a cloud assembly, or puts others in their place; in place.
 * @returns type and number of what was taken out
 * @throws when something that stays refers to what was taken out: the engine would then deploy something else than the template says
 */
export function localize(
  assembly: string,
  { types, properties, 'stands in': standsIn }: Lacks,
): Record<string, number> {
  const dropped: Record<string, number> = {};
  for (const file of readdirSync(assembly).filter((name) => name.endsWith('.template.json'))) {
    const path = join(assembly, file);
    const template = JSON.parse(readFileSync(path, 'utf8')) as Template;
    const gone = new Set<string>();
    let replaced = 0;
    for (const [id, { Type, Properties }] of Object.entries(template.Resources)) {
      const other = standsIn[Type];
      if (other !== undefined) {
        const kept = Object.entries(Properties ?? {}).filter(([name]) => !other.without.includes(name));
        Object.assign(template.Resources[id]!, { Type: other.type, Properties: Object.fromEntries(kept) });
        dropped[Type] = (dropped[Type] ?? 0) + 1;
        replaced++;
        continue;
      }
      const lacking = Object.keys(properties[Type] ?? {}).some((name) => name in (Properties ?? {}));
      if (types[Type] === undefined && !lacking) continue;
      gone.add(id);
      delete template.Resources[id];
      dropped[Type] = (dropped[Type] ?? 0) + 1;
    }
    if (gone.size + replaced === 0) continue;
    for (const resource of Object.values(template.Resources)) {
      const after = [resource.DependsOn ?? []].flat().filter((id) => !gone.has(id));
      if (after.length === 0) delete resource.DependsOn;
      else resource.DependsOn = after;
    }
    for (const [name, output] of Object.entries(template.Outputs ?? {})) {
      if (refersTo(output, gone)) delete template.Outputs?.[name];
    }
    for (const [id, resource] of Object.entries(template.Resources)) {
      const found = refersTo(resource, gone);
      if (found !== undefined) throw new Error(`${file}: ${id} refers to ${found}, which the engine lacks`);
    }
    writeFileSync(path, JSON.stringify(template));
  }
  return dropped;
}

type Variables = Record<string, unknown>;

/** Changes the variables of every function of the assembly, in place. @returns functions that `change` took */
function changeVariables(
  assembly: string,
  change: (variables: Variables, name: string, stack: string) => boolean,
): number {
  let changed = 0;
  for (const file of readdirSync(assembly).filter((name) => name.endsWith('.template.json'))) {
    const path = join(assembly, file);
    const template = JSON.parse(readFileSync(path, 'utf8')) as Template;
    for (const { Type, Properties } of Object.values(template.Resources)) {
      if (Type !== 'AWS::Lambda::Function') continue;
      const { FunctionName, Environment } = Properties as {
        FunctionName?: string;
        Environment?: { Variables?: Variables };
      };
      if (FunctionName === undefined || Environment?.Variables === undefined) continue;
      if (change(Environment.Variables, FunctionName, file.replace('.template.json', ''))) changed++;
    }
    writeFileSync(path, JSON.stringify(template));
  }
  return changed;
}

/** The functions fetch the keys of the user pool from where the engine has them, instead of from AWS. The issuer that tokens name stays. */
export const redirectKeys = (assembly: string, endpoint: string): number =>
  changeVariables(assembly, (variables) => {
    const url = variables[ENVIRONMENT.oidcJwksUrl];
    if (url === undefined) return false;
    const text = JSON.stringify(url).replace(/https:\/\/cognito-idp\.[a-z0-9-]+\.amazonaws\.com/, endpoint);
    variables[ENVIRONMENT.oidcJwksUrl] = JSON.parse(text);
    return true;
  });

/** Each function (`stack/name`) calls AWS through a recorder of its own; SQS too, whose clients go where a queue's URL says. */
export const callThrough = (assembly: string, recorders: ReadonlyMap<string, Recorder>): number =>
  changeVariables(assembly, (variables, name, stack) => {
    const recorder = recorders.get(`${stack}/${name}`);
    if (recorder === undefined) return false;
    variables.AWS_ENDPOINT_URL = recorder.endpoint;
    const prefix = name.slice(0, name.lastIndexOf('-'));
    for (const queue of Object.keys(QUEUES)) {
      if (variables[queueVariable(queue)] === undefined) continue;
      variables[queueVariable(queue)] = `${recorder.endpoint}/000000000000/${queueName(prefix, queue)}`;
    }
    return true;
  });

/** The first of `ids` that a `Ref` or `Fn::GetAtt` within `value` names. */
function refersTo(value: unknown, ids: ReadonlySet<string>): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    const target = key === 'Ref' ? inner : key === 'Fn::GetAtt' ? [inner].flat()[0] : undefined;
    if (typeof target === 'string' && ids.has(target)) return target;
    const found = refersTo(inner, ids);
    if (found !== undefined) return found;
  }
  return undefined;
}
