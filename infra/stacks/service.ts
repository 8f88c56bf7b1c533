import { CfnOutput, Duration } from 'aws-cdk-lib';
import * as acm from 'aws-cdk-lib/aws-certificatemanager';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecr from 'aws-cdk-lib/aws-ecr';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import * as elb from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as logs from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';
import { SERVICE } from '#fargate/spec.ts';
import { type Deployed, environmentOf } from '../environment.ts';
import { type Resources, statementsFor } from '../grants.ts';
import { NephosStack, type NephosStackProps } from '../nephos-stack.ts';
import type { Fargate } from '../settings.ts';

export interface ServiceProps extends Pick<NephosStackProps, 'settings'> {
  readonly fargate: Fargate;
  readonly deployed: Deployed;
  readonly resources: Resources;
}

/** Shorter than the 65 s for which the service keeps a connection: the load balancer never sends into one that is being closed. */
const IDLE = Duration.seconds(60);

/**
 * The optional service on Fargate (functions/fargate): a container of the archive behind a load balancer without public addresses, which
 * CloudFront reaches as a VPC origin. Objects and index are reached by gateway endpoints; the NAT gateway carries the rest.
 */
export class ServiceStack extends NephosStack {
  readonly loadBalancer: elb.ApplicationLoadBalancer;

  constructor(scope: Construct, { fargate, deployed, resources, ...props }: ServiceProps) {
    super(scope, 'Service', { ...props, description: SERVICE.purpose });
    // CDK's classes do not fit its own interfaces under exactOptionalPropertyTypes.
    const vpc = this.#vpc() as ec2.IVpc;
    const task = this.#task({ fargate, deployed, resources });
    const tasks = new ec2.SecurityGroup(this, 'TaskTraffic', { vpc, description: 'what reaches the tasks' });
    const service = new ecs.FargateService(this, 'Tasks', {
      serviceName: this.names.prefix,
      cluster: new ecs.Cluster(this, 'Cluster', {
        clusterName: this.names.prefix,
        vpc,
        containerInsightsV2: ecs.ContainerInsights.ENABLED,
      }) as ecs.ICluster,
      taskDefinition: task,
      desiredCount: fargate.tasks,
      minHealthyPercent: 100,
      maxHealthyPercent: 200,
      circuitBreaker: { rollback: true },
      assignPublicIp: false,
      securityGroups: [tasks],
      ...(fargate.tasks > 0 && { healthCheckGracePeriod: Duration.seconds(60) }),
    });
    const entrance = new ec2.SecurityGroup(this, 'Entrance', {
      vpc,
      description: 'CloudFront',
      allowAllOutbound: false,
    });
    entrance.addIngressRule(ec2.Peer.prefixList(fargate.cloudFrontPrefixList), ec2.Port.tcp(443), 'CloudFront');
    this.loadBalancer = new elb.ApplicationLoadBalancer(this, 'LoadBalancer', {
      vpc,
      internetFacing: false,
      securityGroup: entrance,
      idleTimeout: IDLE,
      dropInvalidHeaderFields: true,
      deletionProtection: !this.settings.retention.deletable,
    });
    const listener = this.loadBalancer.addListener('Https', {
      port: 443,
      protocol: elb.ApplicationProtocol.HTTPS,
      open: false,
      sslPolicy: elb.SslPolicy.TLS13_RES,
      certificates: [acm.Certificate.fromCertificateArn(this, 'Certificate', fargate.certificateArn)],
    });
    listener.addTargets('Archive', {
      port: SERVICE.port,
      protocol: elb.ApplicationProtocol.HTTP,
      targets: [service],
      deregistrationDelay: Duration.seconds(SERVICE.stopSeconds),
      healthCheck: { path: '/healthz', healthyHttpCodes: '200', interval: Duration.seconds(15) },
    });
    // With `tasks: 0` nothing asks for it any more, and this stack is updated while CloudFront's still does: what is exported stays.
    this.exportValue(this.loadBalancer.loadBalancerArn);
    new CfnOutput(this, 'LoadBalancerName', { value: this.loadBalancer.loadBalancerDnsName });
  }

  #vpc(): ec2.Vpc {
    const prod = this.settings.kind === 'prod';
    const flow = logs.LogGroup.fromLogGroupName(this, 'FlowLog', this.names.logGroup('service-flow'));
    return new ec2.Vpc(this, 'Network', {
      maxAzs: 2,
      natGateways: prod ? 2 : 1,
      // CDK's own way would deploy a function to empty a group that nothing here uses.
      restrictDefaultSecurityGroup: false,
      subnetConfiguration: [
        { name: 'nat', subnetType: ec2.SubnetType.PUBLIC, mapPublicIpOnLaunch: false, cidrMask: 28 },
        { name: 'tasks', subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS, cidrMask: 24 },
      ],
      gatewayEndpoints: {
        S3: { service: ec2.GatewayVpcEndpointAwsService.S3 },
        DynamoDb: { service: ec2.GatewayVpcEndpointAwsService.DYNAMODB },
      },
      flowLogs: {
        rejected: {
          destination: ec2.FlowLogDestination.toCloudWatchLogs(flow),
          trafficType: ec2.FlowLogTrafficType.REJECT,
        },
      },
    });
  }

  #task({ fargate, deployed, resources }: Omit<ServiceProps, 'settings'>): ecs.FargateTaskDefinition {
    const role = new iam.Role(this, 'TaskRole', {
      assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com'),
      description: `Nephos: ${SERVICE.purpose}`,
    });
    for (const statement of statementsFor(SERVICE.grants, resources)) role.addToPolicy(statement);
    const task = new ecs.FargateTaskDefinition(this, 'Task', {
      family: this.names.prefix,
      cpu: fargate.cpu,
      memoryLimitMiB: fargate.memoryMiB,
      taskRole: role,
      runtimePlatform: {
        cpuArchitecture: ecs.CpuArchitecture.ARM64,
        operatingSystemFamily: ecs.OperatingSystemFamily.LINUX,
      },
    });
    const [repository, tag] = fargate.image.split(':');
    task.addContainer('archive', {
      image: ecs.ContainerImage.fromEcrRepository(
        ecr.Repository.fromRepositoryName(this, 'Repository', repository!),
        tag,
      ),
      environment: environmentOf(SERVICE, deployed),
      portMappings: [{ containerPort: SERVICE.port }],
      readonlyRootFilesystem: true,
      stopTimeout: Duration.seconds(SERVICE.stopSeconds),
      healthCheck: {
        command: ['CMD', '/usr/local/bin/node', '/app/healthcheck.js'],
        interval: Duration.seconds(30),
        startPeriod: Duration.seconds(20),
      },
      logging: ecs.LogDrivers.awsLogs({
        streamPrefix: 'service',
        logGroup: logs.LogGroup.fromLogGroupName(this, 'Log', this.names.logGroup('service')),
      }),
    });
    return task;
  }
}
