import { ArnFormat } from 'aws-cdk-lib';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as wafv2 from 'aws-cdk-lib/aws-wafv2';
import type { NephosStack } from '../nephos-stack.ts';
import { removalOf } from '../removal.ts';
import type { Firewall } from '../settings.ts';

/**
 * Rules of AWS's groups that would refuse what a PACS is for: bodies of DICOM objects, which are bytes in which any pattern occurs and
 * which are larger than what the firewall looks at; queries with long lists of UIDs; clients without a User-Agent. They count instead.
 */
const COUNTED: Readonly<Record<string, readonly string[]>> = {
  AWSManagedRulesCommonRuleSet: [
    'NoUserAgent_HEADER',
    'SizeRestrictions_BODY',
    'SizeRestrictions_QUERYSTRING',
    'CrossSiteScripting_BODY',
    'EC2MetaDataSSRF_BODY',
    'GenericLFI_BODY',
    'GenericRFI_BODY',
  ],
  AWSManagedRulesKnownBadInputsRuleSet: ['JavaDeserializationRCE_BODY', 'Log4JRCE_BODY', 'ReactJSRCE_BODY'],
  AWSManagedRulesAmazonIpReputationList: [],
};

export interface WebAclProps {
  readonly scope: 'CLOUDFRONT' | 'REGIONAL';
  readonly firewall: Firewall;
  /** of the log group; undefined: CloudWatch's own */
  readonly key: IKey | undefined;
}

/**
 * What comes to the API through CloudFront comes from addresses of CloudFront, each of which stands for many clients: the front has
 * counted them by their own. The rule there is for who goes past it.
 */
const BEHIND_ONE_ADDRESS = 20;

/** The firewall before CloudFront, and the same before the API, which can also be reached without CloudFront. */
export function webAcl(stack: NephosStack, { scope, firewall, key }: WebAclProps): wafv2.CfnWebACL {
  const name = `${stack.names.prefix}-${scope.toLowerCase()}`;
  const acl = new wafv2.CfnWebACL(stack, 'WebAcl', {
    name,
    scope,
    defaultAction: { allow: {} },
    visibilityConfig: visibility(name),
    rules: [
      {
        name: 'rate',
        priority: 0,
        action: { block: { customResponse: { responseCode: 429 } } },
        statement: {
          rateBasedStatement: {
            aggregateKeyType: 'IP',
            limit: firewall.requestsPerFiveMinutes * (scope === 'REGIONAL' ? BEHIND_ONE_ADDRESS : 1),
            evaluationWindowSec: 300,
          },
        },
        visibilityConfig: visibility('rate'),
      },
      ...Object.entries(COUNTED).map(([group, counted], index) => ({
        name: group,
        priority: index + 1,
        overrideAction: { none: {} },
        statement: {
          managedRuleGroupStatement: {
            vendorName: 'AWS',
            name: group,
            ruleActionOverrides: counted.map((rule) => ({ name: rule, actionToUse: { count: {} } })),
          },
        },
        visibilityConfig: visibility(group),
      })),
    ],
  });
  const log = new logs.LogGroup(stack, 'WebAclLog', {
    // The service takes log groups with this beginning only.
    logGroupName: `aws-waf-logs-${name}`,
    retention: stack.settings.retention.logDays,
    removalPolicy: removalOf(stack.settings),
    ...(key && { encryptionKey: key }),
  });
  new wafv2.CfnLoggingConfiguration(stack, 'WebAclLogging', {
    resourceArn: acl.attrArn,
    // The service refuses the `:*` with which log groups' ARNs end.
    logDestinationConfigs: [
      stack.formatArn({
        service: 'logs',
        resource: 'log-group',
        resourceName: log.logGroupName,
        arnFormat: ArnFormat.COLON_RESOURCE_NAME,
      }),
    ],
    // Patients' names stand in queries, tokens in headers.
    redactedFields: [
      { queryString: {} },
      { singleHeader: { Name: 'authorization' } },
      { singleHeader: { Name: 'cookie' } },
    ],
  });
  return acl;
}

/** Sampled requests would show queries to whoever opens the console. */
const visibility = (metricName: string): wafv2.CfnWebACL.VisibilityConfigProperty => ({
  cloudWatchMetricsEnabled: true,
  sampledRequestsEnabled: false,
  metricName,
});
