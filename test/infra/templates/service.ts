import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { SERVICE } from '#fargate/spec.ts';
import { FARGATE, PROD, prodDeployment, type Synthesized, synthesize } from '../synth.ts';

let made: Synthesized | undefined;
const deployment = (): Synthesized => {
  made ??= synthesize({ ...PROD, fargate: FARGATE });
  return made;
};
const distribution = (of: Synthesized) =>
  of.one('Front', 'AWS::CloudFront::Distribution').Properties.DistributionConfig;
const requestCode = (of: Synthesized): string =>
  of.one('Front', 'AWS::CloudFront::Function', ({ Name }) => Name.endsWith('-ApiRequest')).Properties.FunctionCode;

describe('the service on Fargate', () => {
  test('is not there unless the context asks for it', () => {
    expect([...prodDeployment().stacks.keys()]).not.toContain('Service');
    expect(requestCode(prodDeployment())).not.toContain('selectRequestOriginById');
  });

  test('runs as many tasks as the context says, without public addresses, writing no file', () => {
    const { Properties } = deployment().one('Service', 'AWS::ECS::Service');
    expect(Properties.DesiredCount).toBe(2);
    expect(Properties.NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp).toBe('DISABLED');
    const task = deployment().one('Service', 'AWS::ECS::TaskDefinition').Properties;
    expect(task.RuntimePlatform.CpuArchitecture).toBe('ARM64');
    expect(task.ContainerDefinitions[0]).toMatchObject({ ReadonlyRootFilesystem: true, StopTimeout: 120 });
    const variables = task.ContainerDefinitions[0].Environment.map(({ Name }: { Name: string }) => Name);
    expect(variables).toContain('NEPHOS_ARCHIVE_BUCKET');
    expect(variables).not.toContain('NEPHOS_LANDING_BUCKET');
  });

  test('has a role with its grants and no more: no wildcard action, no resource *', () => {
    const policies = deployment().all('Service', 'AWS::IAM::Policy');
    const role = policies.find(({ Properties }) => Properties.PolicyName.startsWith('TaskRole'))!;
    const statements = role.Properties.PolicyDocument.Statement as { Action: string | string[]; Resource: unknown }[];
    const actions = statements.flatMap(({ Action }) => Action);
    expect(actions.filter((action) => action.includes('*'))).toEqual([]);
    expect(statements.some(({ Resource }) => [Resource].flat().includes('*'))).toBe(false);
    expect(actions.filter((action) => action.startsWith('s3:')).sort()).toEqual([
      's3:AbortMultipartUpload',
      's3:DeleteObject',
      's3:GetObject',
      's3:ListBucket',
      's3:PutObject',
    ]);
    expect(JSON.stringify(statements)).not.toContain('landing');
  });

  test('is reached by CloudFront alone, over TLS', () => {
    const balancer = deployment().one('Service', 'AWS::ElasticLoadBalancingV2::LoadBalancer').Properties;
    expect(balancer.Scheme).toBe('internal');
    const listener = deployment().one('Service', 'AWS::ElasticLoadBalancingV2::Listener').Properties;
    expect(listener).toMatchObject({ Port: 443, Protocol: 'HTTPS' });
    const entrances = deployment()
      .all('Service', 'AWS::EC2::SecurityGroupIngress')
      .concat(
        deployment()
          .all('Service', 'AWS::EC2::SecurityGroup')
          .flatMap((group) => group.Properties.SecurityGroupIngress ?? []),
      );
    expect(JSON.stringify(entrances)).toContain(FARGATE.cloudFrontPrefixList);
    expect(JSON.stringify(entrances)).not.toContain('0.0.0.0/0');
    const origin = distribution(deployment()).Origins.find(({ Id }: { Id: string }) => Id === 'service');
    expect(origin).toMatchObject({ DomainName: FARGATE.name });
    expect(origin.VpcOriginConfig.VpcOriginId).toBeDefined();
    const target = deployment().one('Service', 'AWS::ElasticLoadBalancingV2::TargetGroup').Properties;
    expect(target).toMatchObject({ Port: SERVICE.port, HealthCheckPath: '/healthz' });
  });

  test.each([
    ['POST', '/dicomweb/studies', ['service']],
    ['POST', '/dicomweb/studies/1.2', ['service']],
    ['GET', '/dicomweb/studies/1.2', ['service']],
    ['GET', '/dicomweb/studies', ['api-primary', 'group']],
    ['GET', '/dicomweb/studies/1.2/metadata', ['api-primary', 'group']],
    ['DELETE', '/dicomweb/studies/1.2', ['api-primary']],
    ['POST', '/api/transactions', ['api-primary']],
  ])('%s %s goes to %s', (method, uri, expected) => {
    const chosen: string[] = [];
    runInNewContext(`${requestCode(deployment()).replace("import cf from 'cloudfront';", '')}; handler(event)`, {
      cf: {
        selectRequestOriginById: (id: string) => chosen.push(id),
        createRequestOriginGroup: () => chosen.push('group'),
      },
      event: { request: { method, uri, headers: { host: { value: 'pacs.example.org' } } } },
    });
    expect(chosen).toEqual(expected);
    const ids = distribution(deployment()).Origins.map(({ Id }: { Id: string }) => Id);
    for (const id of chosen.filter((one) => one !== 'group')) expect(ids).toContain(id);
  });

  test('without tasks, and while the second region takes changes, the functions take all requests', () => {
    for (const context of [
      { ...PROD, fargate: { ...FARGATE, tasks: 0 } },
      { ...PROD, writesTo: 'second', fargate: FARGATE },
    ])
      expect(requestCode(synthesize(context))).not.toContain('selectRequestOriginById');
  });
});
