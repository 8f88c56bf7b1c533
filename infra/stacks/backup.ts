import { Duration } from 'aws-cdk-lib';
import * as backup from 'aws-cdk-lib/aws-backup';
import type * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type * as s3 from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import { removalOf } from '../removal.ts';
import type { Backup } from '../settings.ts';

export interface BackupProps extends Pick<NephosStackProps, 'settings'> {
  readonly backup: Backup;
  readonly key: IKey;
  readonly table: dynamodb.TableV2;
  readonly archive: s3.IBucket;
}

/** Copies of index and objects in a vault that is locked, and every month the proof that they can be restored. */
export class BackupStack extends NephosStack {
  constructor(scope: Construct, { backup: settings, key, table, archive, ...props }: BackupProps) {
    super(scope, 'Backup', {
      ...props,
      description: 'copies in a locked vault, and their restoration every month',
      stateful: true,
    });
    const { prefix } = this.names;
    const kept = Duration.days(settings.vaultLockDays);
    const vault = new backup.BackupVault(this, 'Vault', {
      backupVaultName: prefix,
      encryptionKey: key,
      lockConfiguration: {
        minRetention: kept,
        // From then on nobody can take the lock off, AWS included.
        ...(settings.compliance && { changeableFor: Duration.days(3) }),
      },
      removalPolicy: removalOf(this.settings),
    });
    const plan = new backup.BackupPlan(this, 'Plan', {
      backupPlanName: prefix,
      backupVault: vault,
      backupPlanRules: [
        new backup.BackupPlanRule({
          ruleName: 'daily',
          scheduleExpression: events.Schedule.cron({ hour: '3', minute: '30' }),
          startWindow: Duration.hours(1),
          completionWindow: Duration.hours(12),
          deleteAfter: kept,
        }),
      ],
    });
    plan.addSelection('Data', {
      backupSelectionName: prefix,
      role: this.#role('BackupRole', [
        'service-role/AWSBackupServiceRolePolicyForBackup',
        'AWSBackupServiceRolePolicyForS3Backup',
      ]),
      disableDefaultBackupPolicy: true,
      resources: [backup.BackupResource.fromArn(table.tableArn), backup.BackupResource.fromArn(archive.bucketArn)],
    });
    this.#restoreTest(vault, table);
  }

  /** AWS's own policies: Backup refuses roles that lack what they grant. */
  #role(id: string, policies: readonly string[]): iam.Role {
    return new iam.Role(this, id, {
      assumedBy: new iam.ServicePrincipal('backup.amazonaws.com'),
      managedPolicies: policies.map((name) => iam.ManagedPolicy.fromAwsManagedPolicyName(name)),
    });
  }

  /** The index is restored beside itself on the first of each month, looked at for a day, and deleted again. */
  #restoreTest(vault: backup.IBackupVault, table: dynamodb.TableV2): void {
    const name = `${this.names.prefix.replaceAll('-', '_')}_monthly`;
    const plan = new backup.CfnRestoreTestingPlan(this, 'RestoreTest', {
      restoreTestingPlanName: name,
      scheduleExpression: 'cron(0 5 1 * ? *)',
      startWindowHours: 12,
      recoveryPointSelection: {
        algorithm: 'RANDOM_WITHIN_WINDOW',
        includeVaults: [vault.backupVaultArn],
        recoveryPointTypes: ['SNAPSHOT'],
        selectionWindowDays: 30,
      },
    });
    const role = this.#role('RestoreRole', ['service-role/AWSBackupServiceRolePolicyForRestores']);
    const selection = new backup.CfnRestoreTestingSelection(this, 'RestoreIndex', {
      restoreTestingPlanName: name,
      restoreTestingSelectionName: 'index',
      protectedResourceType: 'DynamoDB',
      protectedResourceArns: [table.tableArn],
      iamRoleArn: role.roleArn,
      validationWindowHours: 24,
    });
    selection.node.addDependency(plan);
  }
}
