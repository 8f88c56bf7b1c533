import type * as apigateway from 'aws-cdk-lib/aws-apigateway';
import * as wafv2 from 'aws-cdk-lib/aws-wafv2';
import type { Construct } from 'constructs';
import { webAcl } from '../constructs/web-acl.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import type { Firewall } from '../settings.ts';

/** CloudFront takes its firewall and its certificate from us-east-1, wherever the deployment is. */
export const CLOUDFRONT_REGION = 'us-east-1';

export interface FirewallProps extends Pick<NephosStackProps, 'settings' | 'region'> {
  readonly firewall: Firewall;
}

/** The firewall before CloudFront. */
export class FrontFirewallStack extends NephosStack {
  readonly webAclArn: string;

  constructor(scope: Construct, { firewall, ...props }: FirewallProps) {
    super(scope, 'FrontFirewall', {
      ...props,
      region: CLOUDFRONT_REGION,
      description: 'the firewall before CloudFront',
    });
    this.webAclArn = webAcl(this, { scope: 'CLOUDFRONT', firewall }).attrArn;
  }
}

/** The firewall before the API of one region. */
export class ApiFirewallStack extends NephosStack {
  constructor(scope: Construct, { firewall, api, ...props }: FirewallProps & { readonly api: apigateway.RestApi }) {
    super(scope, 'ApiFirewall', { ...props, description: 'the firewall before the API' });
    const acl = webAcl(this, { scope: 'REGIONAL', firewall });
    new wafv2.CfnWebACLAssociation(this, 'Association', {
      resourceArn: api.deploymentStage.stageArn,
      webAclArn: acl.attrArn,
    });
  }
}
