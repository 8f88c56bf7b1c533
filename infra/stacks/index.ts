import { CfnOutput } from 'aws-cdk-lib';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import type { Construct } from 'constructs';
import { TABLE } from '#adapters/aws/schema.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import { removalOf } from '../removal.ts';
import type { KeysStack } from './keys.ts';

/** The one table (its access patterns: functions/adapters/aws/schema.ts), with a replica in the second region. */
export class IndexStack extends NephosStack {
  readonly table: dynamodb.TableV2;

  constructor(scope: Construct, props: Pick<NephosStackProps, 'settings'> & { readonly keys: KeysStack }) {
    super(scope, 'Index', { ...props, description: 'the index', stateful: true });
    const { settings } = this;
    const { secondRegion, retention } = settings;
    const pointInTimeRecoverySpecification = {
      pointInTimeRecoveryEnabled: true,
      recoveryPeriodInDays: retention.indexRecoveryDays,
    };
    const deletionProtection = !retention.deletable;
    this.table = new dynamodb.TableV2(this, 'Table', {
      tableName: this.names.table,
      partitionKey: { name: TABLE.partitionKey, type: dynamodb.AttributeType.STRING },
      sortKey: { name: TABLE.sortKey, type: dynamodb.AttributeType.STRING },
      billing: dynamodb.Billing.onDemand(),
      pointInTimeRecoverySpecification,
      deletionProtection,
      contributorInsightsSpecification: { enabled: settings.kind === 'prod' },
      removalPolicy: removalOf(settings),
      dynamoStream: dynamodb.StreamViewType[TABLE.streamViewType],
      ...(secondRegion !== undefined && {
        replicas: [{ region: secondRegion, pointInTimeRecoverySpecification, deletionProtection }],
      }),
      encryption: dynamodb.TableEncryptionV2.customerManagedKey(
        props.keys.key,
        secondRegion === undefined ? undefined : { [secondRegion]: props.keys.replicaArn(secondRegion) },
      ),
    });
    // For the backups, of which there may be none any more before their stack is gone.
    this.exportValue(this.table.tableArn);
    new CfnOutput(this, 'TableName', { value: this.table.tableName });
  }
}
