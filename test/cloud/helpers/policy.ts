import type { Template } from './deployment.ts';

/**
 * As much of IAM as the roles of this deployment use: statements that allow, with actions by name, resources with `*` at most, and
 * conditions on the service that KMS is called through, or on the prefix of a listing. Anything else is refused loudly rather than judged wrongly.
 */
export interface Statement {
  readonly sid: string;
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  readonly conditional: boolean;
  /** of s3:ListBucket: the only prefixes that may be listed */
  readonly prefix?: string;
}

type Value = string | readonly Value[] | { readonly [name: string]: Value };

/** Reads the statements of the policies that stand on the role of a function of a region, with references resolved by `resolve`. */
export function roleOf(
  template: Template,
  functionId: string,
  region: string,
  resolveOther: (reference: string) => string,
): Statement[] {
  const { Resources } = template;
  const resolve = (reference: string): string => (reference === 'AWS::Region' ? region : resolveOther(reference));
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
        ...conditionOf(statement.Condition),
      };
    });
}

function conditionOf(condition: Value | undefined): Pick<Statement, 'conditional' | 'prefix'> {
  const prefix = (condition as { StringLike?: { 's3:prefix'?: unknown } } | undefined)?.StringLike?.['s3:prefix'];
  const isPrefixAlone = typeof prefix === 'string' && Object.keys(condition as object).length === 1;
  return isPrefixAlone ? { conditional: false, prefix } : { conditional: condition !== undefined };
}

const PSEUDO: Readonly<Record<string, string>> = {
  'AWS::Partition': 'aws',
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
    (statement) => !statement.conditional && statement.actions.includes(action) && concerns(statement, resource),
  );
}

/** A listing is asked for as `bucket?prefix=…`. */
export function concerns({ resources, prefix }: Pick<Statement, 'resources' | 'prefix'>, resource: string): boolean {
  const [bucket = '', listed] = resource.split('?prefix=');
  if (prefix !== undefined && !(listed !== undefined && matches(prefix, listed))) return false;
  return resources.some((one) => matches(one, listed === undefined ? resource : bucket));
}

export const matches = (pattern: string, resource: string): boolean =>
  new RegExp(
    `^${pattern
      .split('*')
      .map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'))
      .join('.*')}$`,
    's',
  ).test(resource);
