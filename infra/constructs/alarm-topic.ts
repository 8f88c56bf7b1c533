import * as iam from 'aws-cdk-lib/aws-iam';
import type * as kms from 'aws-cdk-lib/aws-kms';
import * as sns from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import type { NephosStack } from '../nephos-stack.ts';

/**
 * Where alarms are told; those whom the settings name get them by mail. `key`: one whose policy lets CloudWatch use it. `of` is in its name:
 * a region may have several.
 */
export function alarmTopic(stack: NephosStack, key: kms.IKey, of = 'alarms'): sns.Topic {
  const topic = new sns.Topic(stack, 'Alarms', {
    topicName: `${stack.names.prefix}-${of}-${stack.region}`,
    masterKey: key,
    enforceSSL: true,
  });
  for (const email of stack.settings.alarmEmails) topic.addSubscription(new EmailSubscription(email));
  topic.addToResourcePolicy(
    new iam.PolicyStatement({
      sid: 'Alarms',
      principals: [new iam.ServicePrincipal('cloudwatch.amazonaws.com')],
      actions: ['sns:Publish'],
      resources: [topic.topicArn],
      conditions: { StringEquals: { 'aws:SourceAccount': stack.account } },
    }),
  );
  return topic;
}
