import { CfnOutput } from 'aws-cdk-lib';
import type * as apigateway from 'aws-cdk-lib/aws-apigateway';
import type { Construct } from 'constructs';
import { FUNCTIONS, type FunctionName, type FunctionSpec } from '#lambda/functions.ts';
import { ArchiveApi } from '../constructs/archive-api.ts';
import { ArchiveFunction } from '../constructs/archive-function.ts';
import { type Deployed, environmentOf } from '../environment.ts';
import type { Resources } from '../grants.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';

export interface ComputeProps extends Pick<NephosStackProps, 'settings' | 'region'> {
  readonly deployed: Deployed;
  readonly resources: Resources;
}

export const startedBy = (kind: FunctionSpec['triggers'][number]['kind']): FunctionName[] =>
  (Object.entries(FUNCTIONS) as [FunctionName, FunctionSpec][])
    .filter(([, spec]) => spec.triggers.some((trigger) => trigger.kind === kind))
    .map(([name]) => name);

/** What answers HTTP: the functions and the REST API before them. */
export class ApiStack extends NephosStack {
  readonly api: apigateway.RestApi;
  readonly functions: Readonly<Partial<Record<FunctionName, ArchiveFunction>>>;

  constructor(scope: Construct, { deployed, resources, ...props }: ComputeProps) {
    super(scope, 'Api', { ...props, description: 'DICOMweb and the API beside it' });
    this.functions = Object.fromEntries(
      [...startedBy('http'), ...startedBy('authorizer')].map((name) => [
        name,
        new ArchiveFunction(this, { name, resources, environment: environmentOf(FUNCTIONS[name], deployed) }),
      ]),
    );
    this.api = new ArchiveApi(this, this.functions).api;
    new CfnOutput(this, 'ApiUrl', { value: this.api.url });
    new CfnOutput(this, 'ApiId', { value: this.api.restApiId });
  }
}
