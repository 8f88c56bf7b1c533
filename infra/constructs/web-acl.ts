import { ArnFormat } from 'aws-cdk-lib';
import * as wafv2 from 'aws-cdk-lib/aws-wafv2';
import type { NephosStack } from '../nephos-stack.ts';
import type { Firewall } from '../settings.ts';

/**
 * Rules of AWS's groups that would refuse what a PACS is for: bodies of DICOM objects, which are bytes in which any pattern occurs and
 * which are larger than what the firewall looks at; queries with long lists of UIDs, and paths with long lists of frames; issuers and record
 * systems that name themselves by an address when they send a browser here; clients without a User-Agent. They count instead.
 */
const COUNTED: Readonly<Record<string, readonly string[]>> = {
  AWSManagedRulesCommonRuleSet: [
    'NoUserAgent_HEADER',
    'SizeRestrictions_BODY',
    'SizeRestrictions_QUERYSTRING',
    'SizeRestrictions_URIPATH',
    'GenericRFI_QUERYARGUMENTS',
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
}

/**
 * What comes to the API through CloudFront comes from addresses of CloudFront, each of which stands for many clients: the front has
 * counted them by their own. The rule there is for who goes past it.
 */
const BEHIND_ONE_ADDRESS = 20;
/** the highest limit that the service takes */
const HIGHEST_LIMIT = 2_000_000_000;

/** The firewall before CloudFront, and the same before the API, which can also be reached without CloudFront. */
export function webAcl(stack: NephosStack, { scope, firewall }: WebAclProps): wafv2.CfnWebACL {
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
            limit: Math.min(
              HIGHEST_LIMIT,
              firewall.requestsPerFiveMinutes * (scope === 'REGIONAL' ? BEHIND_ONE_ADDRESS : 1),
            ),
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
  new wafv2.CfnLoggingConfiguration(stack, 'WebAclLogging', {
    resourceArn: acl.attrArn,
    // The service refuses the `:*` with which log groups' ARNs end.
    logDestinationConfigs: [
      stack.formatArn({
        service: 'logs',
        resource: 'log-group',
        // of stacks/logs.ts
        resourceName: stack.names.firewallLogGroup(scope),
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
