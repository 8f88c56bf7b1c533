import { Aws, Duration } from 'aws-cdk-lib';
import * as bcm from 'aws-cdk-lib/aws-bcmdataexports';
import * as budgets from 'aws-cdk-lib/aws-budgets';
import * as iam from 'aws-cdk-lib/aws-iam';
import type { Construct } from 'constructs';
import { SecureBucket } from '../constructs/secure-bucket.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';

/** Budgets and data exports are services of this region, wherever the deployment is. */
const BILLING_REGION = 'us-east-1';

const CUR_COLUMNS =
  'bill_billing_period_start_date, line_item_usage_account_id, line_item_usage_start_date, line_item_usage_type, line_item_operation, ' +
  'line_item_product_code, line_item_resource_id, line_item_usage_amount, line_item_unblended_cost, line_item_line_item_type, ' +
  'pricing_unit, product, resource_tags';
const FOCUS_COLUMNS =
  'AvailabilityZone, BilledCost, BillingCurrency, BillingPeriodEnd, BillingPeriodStart, ChargeCategory, ChargeDescription, ' +
  'ChargePeriodEnd, ChargePeriodStart, ConsumedQuantity, ConsumedUnit, EffectiveCost, ListCost, PricingUnit, RegionId, ResourceId, ' +
  'ServiceCategory, ServiceName, SkuId, SubAccountId, Tags';

/** What it costs: a budget that warns, and the bill line by line (CUR 2.0, and FOCUS 1.0 for other tools) in a bucket. */
export class CostsStack extends NephosStack {
  constructor(scope: Construct, props: Pick<NephosStackProps, 'settings'>) {
    super(scope, 'Costs', { ...props, region: BILLING_REGION, description: 'budget and cost data', stateful: true });
    const { settings } = this;
    if (settings.monthlyBudgetUsd !== undefined) this.#budget(settings.monthlyBudgetUsd, settings.alarmEmails);
    if (settings.costExport) this.#exports();
  }

  #budget(amount: number, emails: readonly string[]): void {
    const subscribers = emails.map((address) => ({ address, subscriptionType: 'EMAIL' }));
    const at = (notificationType: 'ACTUAL' | 'FORECASTED', threshold: number) => ({
      notification: { notificationType, threshold, thresholdType: 'PERCENTAGE', comparisonOperator: 'GREATER_THAN' },
      subscribers,
    });
    new budgets.CfnBudget(this, 'Budget', {
      budget: {
        budgetName: this.names.prefix,
        budgetType: 'COST',
        timeUnit: 'MONTHLY',
        budgetLimit: { amount, unit: 'USD' },
        costFilters: { TagKeyValue: [`user:nephos:stage$${this.settings.stage}`] },
      },
      ...(subscribers.length > 0 && {
        notificationsWithSubscribers: [at('ACTUAL', 80), at('ACTUAL', 100), at('FORECASTED', 100)],
      }),
    });
  }

  #exports(): void {
    const bucket = new SecureBucket(this, 'Costs', {
      kind: 'costs',
      key: undefined,
      versioned: true,
      lifecycleRules: [
        { id: 'expire', expiration: Duration.days(3 * 366), noncurrentVersionExpiration: Duration.days(7) },
      ],
    });
    bucket.addToResourcePolicy(
      new iam.PolicyStatement({
        sid: 'DataExports',
        principals: [new iam.ServicePrincipal('bcm-data-exports.amazonaws.com')],
        actions: ['s3:PutObject', 's3:GetBucketPolicy'],
        resources: [bucket.bucketArn, bucket.arnForObjects('*')],
        conditions: {
          StringEquals: { 'aws:SourceAccount': this.account },
          ArnLike: {
            'aws:SourceArn': `arn:${Aws.PARTITION}:bcm-data-exports:${BILLING_REGION}:${this.account}:export/*`,
          },
        },
      }),
    );
    const dataExport = (id: string, table: string, columns: string, properties?: Record<string, string>) => {
      const made = new bcm.CfnExport(this, id, {
        export: {
          name: `${this.names.prefix}-${id.toLowerCase()}`,
          dataQuery: {
            queryStatement: `SELECT ${columns} FROM ${table}`,
            ...(properties && { tableConfigurations: { [table]: properties } }),
          },
          destinationConfigurations: {
            s3Destination: {
              s3Bucket: bucket.bucketName,
              s3Prefix: id.toLowerCase(),
              s3Region: BILLING_REGION,
              s3OutputConfigurations: {
                outputType: 'CUSTOM',
                format: 'PARQUET',
                compression: 'PARQUET',
                overwrite: 'OVERWRITE_REPORT',
              },
            },
          },
          refreshCadence: { frequency: 'SYNCHRONOUS' },
        },
      });
      if (bucket.policy) made.node.addDependency(bucket.policy);
    };
    dataExport('Cur', 'COST_AND_USAGE_REPORT', CUR_COLUMNS, {
      TIME_GRANULARITY: 'DAILY',
      INCLUDE_RESOURCES: 'TRUE',
      INCLUDE_SPLIT_COST_ALLOCATION_DATA: 'FALSE',
      INCLUDE_MANUAL_DISCOUNT_COMPATIBILITY: 'FALSE',
    });
    dataExport('Focus', 'FOCUS_1_0_AWS', FOCUS_COLUMNS);
  }
}
