import type { Template } from './deployment.ts';

/**
 * As much of IAM as the roles of this deployment use: statements that allow, with actions by name, resources with `*` at most, and
 * conditions on the service that KMS is called through. Anything else is refused loudly rather than judged wrongly.
 */
export interface Statement {
  readonly sid: string;
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  readonly conditional: boolean;
}

type Value = string | readonly Value[] | { readonly [name: string]: Value };

/** Reads the statements of the policies that stand on the role of a function, with references resolved by `resolve`. */
export function roleOf(template: Template, functionId: string, resolve: (reference: string) => string): Statement[] {
  const { Resources } = template;
  const found = Resources[functionId]?.Properties.Role as { 'Fn::GetAtt': [string, string] } | undefined;
  if (found === undefined) throw new Error(`there is no function ${functionId}`);
  const [role] = found['Fn::GetAtt'];
  return Object.values(Resources)
    .filter(
      ({ Type, Properties }) => Type === 'AWS::IAM::Policy' && JSON.stringify(Properties.Roles).includes(`"${role}"`),
    )
    .flatMap(({ Properties }) => (Properties.PolicyDocument as { Statement: Record<string, Value>[] }).Statement)
    .map((statement) => {
      if (statement.Effect !== 'Allow' || statement.NotAction || statement.NotResource)
        throw new Error('not a plain statement');
      const actions = [statement.Action].flat() as string[];
      if (actions.some((action) => action.includes('*'))) throw new Error(`an action with a wildcard: ${actions}`);
      return {
        sid: String(statement.Sid ?? ''),
        actions,
        resources: ([statement.Resource].flat() as Value[]).map((resource) => textOf(resource, resolve)),
        conditional: statement.Condition !== undefined,
      };
    });
}

const PSEUDO: Readonly<Record<string, string>> = {
  'AWS::Partition': 'aws',
  'AWS::Region': 'us-east-1',
  'AWS::AccountId': '000000000000',
};

function textOf(value: Value, resolve: (reference: string) => string): string {
  if (typeof value === 'string') return value;
  const [[name, inner] = ['', '']] = Object.entries(value);
  if (name === 'Ref') return PSEUDO[String(inner)] ?? resolve(String(inner));
  if (name === 'Fn::GetAtt') return resolve(String([inner].flat()[0]));
  if (name === 'Fn::ImportValue') return resolve(textOf(inner as Value, resolve));
  if (name === 'Fn::Join') {
    const [separator, parts] = inner as unknown as [string, Value[]];
    return parts.map((part) => textOf(part, resolve)).join(separator);
  }
  throw new Error(`unknown function ${name}`);
}

export function allows(statements: readonly Statement[], action: string, resource: string): Statement | undefined {
  return statements.find(
    (statement) =>
      !statement.conditional &&
      statement.actions.includes(action) &&
      statement.resources.some((one) => matches(one, resource)),
  );
}

export const matches = (pattern: string, resource: string): boolean =>
  new RegExp(
    `^${pattern
      .split('*')
      .map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'))
      .join('.*')}$`,
    's',
  ).test(resource);
