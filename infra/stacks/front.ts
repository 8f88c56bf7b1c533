import { CfnOutput, Duration } from 'aws-cdk-lib';
import * as acm from 'aws-cdk-lib/aws-certificatemanager';
import * as cloudfront from 'aws-cdk-lib/aws-cloudfront';
import * as origins from 'aws-cdk-lib/aws-cloudfront-origins';
import type { IApplicationLoadBalancer } from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import * as route53 from 'aws-cdk-lib/aws-route53';
import { CloudFrontTarget } from 'aws-cdk-lib/aws-route53-targets';
import * as s3 from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import { consolePolicy, ISOLATION_HEADERS, viewerPolicyOf } from '#embedded/site-rules.ts';
import { SERVICE_REQUESTS } from '#fargate/spec.ts';
import { apiRequestCode, sitePagesCode } from '../constructs/edge-functions.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import type { Settings } from '../settings.ts';
import { viewerPage } from '../site-files.ts';

/** An API as CloudFront reaches it. */
export interface ApiOrigin {
  readonly region: string;
  readonly restApiId: string;
  readonly stageName: string;
}

export interface FrontProps extends Pick<NephosStackProps, 'settings'> {
  readonly site: s3.IBucket;
  /** where changes go */
  readonly primary: ApiOrigin;
  /** where reading goes when the primary fails */
  readonly secondary: ApiOrigin | undefined;
  /** hosts that pages fetch from and send to directly: the buckets behind signed URLs */
  readonly direct: readonly string[];
  readonly webAclArn: string | undefined;
  /** the load balancer of the service, where one runs, and the name in its certificate */
  readonly service?: { readonly loadBalancer: IApplicationLoadBalancer; readonly name: string } | undefined;
}

const PRIMARY = 'api-primary';
const SECONDARY = 'api-secondary';
/** the primary again: an origin of a group cannot be another behaviour's own as well */
const READS = 'api-primary-reads';
const SERVICE_ID = 'service';
/** the longest CloudFront waits for the first byte without a raised quota */
const ORIGIN_READ_TIMEOUT = Duration.seconds(60);

/** One domain for everything: console and viewer from their bucket, DICOMweb and API from API Gateway. */
export class FrontStack extends NephosStack {
  readonly distribution: cloudfront.Distribution;

  constructor(scope: Construct, props: FrontProps) {
    super(scope, 'Front', { ...props, description: 'the one domain before site and API' });
    const { domain } = this.settings;
    const direct = props.direct.map((host) => `https://${host}`);
    const site = this.#siteBehaviour(props.site);
    const consolePages = { ...site, responseHeadersPolicy: this.#headers('Console', consolePolicy(direct)) };
    const viewerPolicy = viewerPolicyOf(viewerPage(), direct);
    const linkPages = { ...site, responseHeadersPolicy: this.#linkHeaders('Link', consolePolicy(direct)) };
    const linkViewer = { ...site, responseHeadersPolicy: this.#linkHeaders('LinkViewer', viewerPolicy) };
    const api = this.#apiBehaviour(props);
    this.distribution = new cloudfront.Distribution(this, 'Distribution', {
      comment: this.names.prefix,
      httpVersion: cloudfront.HttpVersion.HTTP2_AND_3,
      priceClass: priceClassOf(this.settings),
      enableIpv6: true,
      ...(domain && {
        domainNames: [domain.name],
        minimumProtocolVersion: cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
        certificate: acm.Certificate.fromCertificateArn(this, 'Certificate', domain.certificateArn),
      }),
      ...(props.webAclArn !== undefined && { webAclId: props.webAclArn }),
      defaultBehavior: {
        ...site,
        responseHeadersPolicy: this.#headers('Viewer', viewerPolicy),
      },
      additionalBehaviors: {
        '/': consolePages,
        '/index.html': consolePages,
        '/console/*': {
          ...site,
          responseHeadersPolicy: this.#headers(
            'ConsoleFiles',
            consolePolicy(direct),
            'public, max-age=31536000, immutable',
          ),
        },
        // The one pattern whose own origin is the service, so that the function may choose it; both have the same function.
        ...(api.service && { '/dicomweb/studies': api.service }),
        '/dicomweb*': api.changes,
        '/api/*': api.changes,
        '/wado*': api.readsOnly,
        // Below the address of a share link: first what is more particular.
        '/s/*/dicomweb/*': api.changes,
        '/s/*/api/*': api.changes,
        '/s/*/viewer*': linkViewer,
        '/s/*': linkPages,
        '/healthz': api.readsOnly,
      },
    });
    if (domain?.hostedZoneId !== undefined) this.#record(domain.name, domain.hostedZoneId);
    new CfnOutput(this, 'Url', { value: `https://${domain?.name ?? this.distribution.distributionDomainName}` });
    new CfnOutput(this, 'DistributionId', { value: this.distribution.distributionId });
  }

  #siteBehaviour(bucket: s3.IBucket): cloudfront.BehaviorOptions {
    // By its name: CDK would write the distribution into the bucket's policy, and the two stacks would wait for each other.
    const imported = s3.Bucket.fromBucketAttributes(this, 'Site', {
      bucketName: bucket.bucketName,
      region: this.settings.region,
    });
    return {
      origin: origins.S3BucketOrigin.withOriginAccessControl(imported),
      viewerProtocolPolicy: cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
      allowedMethods: cloudfront.AllowedMethods.ALLOW_GET_HEAD,
      cachePolicy: cloudfront.CachePolicy.CACHING_OPTIMIZED,
      compress: true,
      functionAssociations: [this.#onRequest('SitePages', sitePagesCode())],
    };
  }

  #apiBehaviour({ primary, secondary, service }: FrontProps) {
    const first = apiOrigin(PRIMARY, primary);
    const common = {
      viewerProtocolPolicy: cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
      // Answers belong to who asked: nothing is kept that another token could be given.
      cachePolicy: cloudfront.CachePolicy.CACHING_DISABLED,
      originRequestPolicy: cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
      responseHeadersPolicy: this.#apiHeaders(),
      compress: true,
      functionAssociations: [
        this.#onRequest(
          'ApiRequest',
          apiRequestCode({
            primary: PRIMARY,
            secondary: secondary && SECONDARY,
            service: service && { id: SERVICE_ID, requests: SERVICE_REQUESTS },
          }),
        ),
      ],
    };
    const group =
      secondary &&
      new origins.OriginGroup({
        primaryOrigin: apiOrigin(READS, primary),
        fallbackOrigin: apiOrigin(SECONDARY, secondary),
        fallbackStatusCodes: [500, 502, 503, 504],
      });
    const asItIs = this.#onRequest('ReadRequest', apiRequestCode({ primary: PRIMARY, secondary: undefined }));
    return {
      changes: { ...common, origin: first, allowedMethods: cloudfront.AllowedMethods.ALLOW_ALL },
      service: service && {
        ...common,
        origin: origins.VpcOrigin.withApplicationLoadBalancer(service.loadBalancer, {
          originId: SERVICE_ID,
          domainName: service.name,
          protocolPolicy: cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
          originSslProtocols: [cloudfront.OriginSslPolicy.TLS_V1_2],
          readTimeout: ORIGIN_READ_TIMEOUT,
          keepaliveTimeout: ORIGIN_READ_TIMEOUT,
        }),
        allowedMethods: cloudfront.AllowedMethods.ALLOW_ALL,
      },
      readsOnly: {
        ...common,
        origin: group ?? first,
        allowedMethods: cloudfront.AllowedMethods.ALLOW_GET_HEAD_OPTIONS,
        // CloudFront's own group fails over here: what may not change anything needs no decision by method.
        functionAssociations: [asItIs],
      },
    };
  }

  #onRequest(id: string, code: string): cloudfront.FunctionAssociation {
    return {
      eventType: cloudfront.FunctionEventType.VIEWER_REQUEST,
      function: new cloudfront.Function(this, id, {
        functionName: `${this.names.prefix}-${id}`,
        runtime: cloudfront.FunctionRuntime.JS_2_0,
        code: cloudfront.FunctionCode.fromInline(code.trim()),
      }),
    };
  }

  /** What the embedded host sends with its pages (embedded/site-rules.ts), and the promise of HTTPS. */
  #headers(
    id: string,
    contentSecurityPolicy: string,
    cacheControl?: string,
    referrer = cloudfront.HeadersReferrerPolicy.SAME_ORIGIN,
  ): cloudfront.ResponseHeadersPolicy {
    const { 'x-content-type-options': _, 'referrer-policy': __, ...isolation } = ISOLATION_HEADERS;
    const custom = { ...isolation, ...(cacheControl !== undefined && { 'cache-control': cacheControl }) };
    return new cloudfront.ResponseHeadersPolicy(this, `${id}Headers`, {
      responseHeadersPolicyName: `${this.names.prefix}-${id.toLowerCase()}`,
      securityHeadersBehavior: {
        contentSecurityPolicy: { contentSecurityPolicy, override: true },
        contentTypeOptions: { override: true },
        referrerPolicy: { referrerPolicy: referrer, override: true },
        strictTransportSecurity: STRICT_TRANSPORT,
      },
      customHeadersBehavior: {
        customHeaders: Object.entries(custom).map(([header, value]) => ({ header, value, override: true })),
      },
    });
  }

  /** Pages below a link's address tell nobody where they stand (embedded/site-rules.ts, LINK_HEADERS). */
  #linkHeaders(id: string, contentSecurityPolicy: string): cloudfront.ResponseHeadersPolicy {
    return this.#headers(id, contentSecurityPolicy, undefined, cloudfront.HeadersReferrerPolicy.NO_REFERRER);
  }

  #apiHeaders(): cloudfront.ResponseHeadersPolicy {
    return new cloudfront.ResponseHeadersPolicy(this, 'ApiHeaders', {
      responseHeadersPolicyName: `${this.names.prefix}-api`,
      securityHeadersBehavior: {
        contentTypeOptions: { override: true },
        strictTransportSecurity: STRICT_TRANSPORT,
      },
    });
  }

  #record(name: string, hostedZoneId: string): void {
    const zone = route53.HostedZone.fromHostedZoneAttributes(this, 'Zone', {
      hostedZoneId,
      zoneName: name.slice(name.indexOf('.') + 1),
    });
    const target = route53.RecordTarget.fromAlias(new CloudFrontTarget(this.distribution));
    new route53.ARecord(this, 'A', { zone, recordName: `${name}.`, target });
    new route53.AaaaRecord(this, 'AAAA', { zone, recordName: `${name}.`, target });
  }
}

const STRICT_TRANSPORT: cloudfront.ResponseHeadersStrictTransportSecurity = {
  accessControlMaxAge: Duration.days(365),
  includeSubdomains: false,
  override: true,
};

/** The cheapest class has edges in North America, Europe and Israel: whoever reads elsewhere would be sent around the world. */
const priceClassOf = ({ region, secondRegion = region }: Settings): cloudfront.PriceClass =>
  [region, secondRegion].every((one) => /^(us|ca|mx|eu|il)-/.test(one))
    ? cloudfront.PriceClass.PRICE_CLASS_100
    : cloudfront.PriceClass.PRICE_CLASS_ALL;

function apiOrigin(originId: string, { region, restApiId, stageName }: ApiOrigin): origins.HttpOrigin {
  return new origins.HttpOrigin(`${restApiId}.execute-api.${region}.amazonaws.com`, {
    originId,
    originPath: `/${stageName}`,
    protocolPolicy: cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
    originSslProtocols: [cloudfront.OriginSslPolicy.TLS_V1_2],
    readTimeout: ORIGIN_READ_TIMEOUT,
    keepaliveTimeout: ORIGIN_READ_TIMEOUT,
  });
}
