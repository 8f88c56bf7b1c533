import { isLike } from '#test/fixtures/iam-like.ts';
import type { Template } from './deployment.ts';

/**
 * As much of IAM as the roles of this deployment use: statements that allow, with actions by name, resources with `*` at most, and
 * conditions on the service that KMS is called through, on the prefix of a listing, or on partitions of the index. Anything else is refused
 * loudly rather than judged wrongly.
 */
export interface Statement {
  readonly sid: string;
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  readonly conditional: boolean;
  /** of s3:ListBucket: the only prefixes that may be listed */
  readonly prefix?: string;
  /** of DynamoDB: the only partitions */
  readonly partitions?: readonly string[];
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

function conditionOf(condition: Value | undefined): Pick<Statement, 'conditional' | 'prefix' | 'partitions'> {
  if (condition === undefined) return { conditional: false };
  const [[operator, keys] = ['', {}], ...others] = Object.entries(condition);
  const [[key, value] = ['', undefined], ...otherKeys] = Object.entries(keys);
  if (others.length + otherKeys.length > 0) throw new Error('more than one condition');
  switch (`${operator} ${key}`) {
    case 'StringLike s3:prefix':
      return { conditional: false, prefix: value as string };
    case 'ForAllValues:StringLike dynamodb:LeadingKeys':
      return { conditional: false, partitions: value as string[] };
    case 'StringEquals kms:ViaService':
    case 'StringEquals iam:PassedToService':
      return { conditional: true };
    default:
      throw new Error(`unknown condition ${operator} ${key}`);
  }
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

/** A listing is asked for as `bucket?prefix=…`, a record as `table?partition=…`. */
export function concerns(
  { resources, prefix, partitions }: Pick<Statement, 'resources' | 'prefix' | 'partitions'>,
  resource: string,
): boolean {
  const [, arn = '', kind, value = ''] = /^(.*?)(?:\?(prefix|partition)=(.*))?$/s.exec(resource) ?? [];
  if (prefix !== undefined && !(kind === 'prefix' && isLike(prefix, value))) return false;
  if (partitions !== undefined && !(kind === 'partition' && partitions.some((one) => isLike(one, value)))) return false;
  return resources.some((one) => isLike(one, arn));
}
