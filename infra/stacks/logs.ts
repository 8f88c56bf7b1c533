import type { IKey } from 'aws-cdk-lib/aws-kms';
import * as logs from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';
import { FUNCTIONS } from '#lambda/functions.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import { removalOf } from '../removal.ts';
import { CLOUDFRONT_REGION } from './firewall.ts';

const groupIn = (stack: NephosStack, id: string, logGroupName: string, encryptionKey?: IKey): logs.LogGroup =>
  new logs.LogGroup(stack, id, {
    logGroupName,
    retention: stack.settings.retention.logDays,
    removalPolicy: removalOf(stack.settings),
    ...(encryptionKey && { encryptionKey }),
  });

/**
 * The log groups of a region, apart from what writes into them: they hold what happened for as long as the settings say, while functions, API, firewall
 * and service may be deleted and made anew at any time, and would find their names taken by groups that stayed. Others name them (Names.logGroup).
 */
export class LogsStack extends NephosStack {
  constructor(
    scope: Construct,
    { key, ...props }: Pick<NephosStackProps, 'settings' | 'region'> & { readonly key: IKey },
  ) {
    super(scope, 'Logs', { ...props, description: 'the logs', stateful: true });
    const { firewall, fargate } = this.settings;
    const names = [
      ...Object.keys(FUNCTIONS),
      'api-access',
      ...(fargate && !this.isSecond ? ['service', 'service-flow'] : []),
    ];
    for (const name of names) groupIn(this, name, this.names.logGroup(name), key);
    if (firewall) groupIn(this, 'firewall', this.names.firewallLogGroup('REGIONAL'), key);
  }
}

/** The log group of the firewall before CloudFront, which is in us-east-1, where no key of the deployment need be. */
export class FrontLogsStack extends NephosStack {
  constructor(scope: Construct, props: Pick<NephosStackProps, 'settings'>) {
    super(scope, 'FrontLogs', {
      ...props,
      region: CLOUDFRONT_REGION,
      description: "the log of CloudFront's firewall",
      stateful: true,
    });
    groupIn(this, 'firewall', this.names.firewallLogGroup('CLOUDFRONT'));
  }
}
