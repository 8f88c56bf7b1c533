import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { FUNCTIONS, type FunctionName, type FunctionSpec, type HttpTrigger } from '#lambda/functions.ts';
import { isLike } from '#test/fixtures/iam-like.ts';
import { devDeployment, prodDeployment, type Resource, type Synthesized, synthesize } from '../synth.ts';

const rows = Object.entries(FUNCTIONS) as [FunctionName, FunctionSpec][];
const stackOf = (spec: FunctionSpec) =>
  spec.triggers.some(({ kind }) => kind === 'http' || kind === 'authorizer') ? 'Api' : 'Workers';
const functionOf = (deployment: Synthesized, name: FunctionName, second = ''): Resource =>
  deployment.one(
    `${stackOf(FUNCTIONS[name])}${second}`,
    'AWS::Lambda::Function',
    ({ FunctionName: physical }) => physical?.endsWith(`-${name}`) === true,
  );

describe('the functions', () => {
  test.each(rows)('%s is what its row says', (name, spec) => {
    expect(functionOf(prodDeployment(), name).Properties).toMatchObject({
      Runtime: 'nodejs24.x',
      Architectures: ['arm64'],
      MemorySize: spec.memoryMiB,
      Timeout: spec.timeoutSeconds,
      TracingConfig: { Mode: 'Active' },
      LoggingConfig: { LogFormat: 'JSON' },
    });
  });

  test('each has a role and an encrypted log group of its own', () => {
    const roles = new Set<string>();
    for (const [name] of rows) {
      const { Role, LoggingConfig } = functionOf(prodDeployment(), name).Properties;
      roles.add(JSON.stringify(Role));
      expect(LoggingConfig.LogGroup).toBe(`/nephos-prod/${name}`);
      const log = prodDeployment().one(
        'Logs',
        'AWS::Logs::LogGroup',
        ({ LogGroupName }) => LogGroupName === LoggingConfig.LogGroup,
      );
      expect(log.Properties.RetentionInDays).toBe(365);
      expect(log.Properties.KmsKeyId).toBeDefined();
    }
    expect(roles.size).toBe(rows.length);
  });

  test('the same run in the second region, on its own buckets and the table there', () => {
    for (const [name] of rows) expect(functionOf(prodDeployment(), name, '2').Properties.Runtime).toBe('nodejs24.x');
    const { Variables } = functionOf(prodDeployment(), 'retrieve', '2').Properties.Environment;
    expect(Variables.NEPHOS_ARCHIVE_BUCKET).toBe('nephos-prod-archive-123456789012-eu-central-1');
    expect(Variables.NEPHOS_PUBLIC_URL).toBe('https://pacs.example.org');
  });

  test('take tokens of the pool of the deployment, or of the issuer it names', () => {
    const own = functionOf(devDeployment(), 'authorizer').Properties.Environment.Variables;
    expect(JSON.stringify(own.NEPHOS_OIDC_ISSUER)).toContain('cognito-idp');
    expect(own.NEPHOS_OIDC_ROLES_CLAIM).toBe('cognito:groups');
    expect(own.NEPHOS_OIDC_CLIENT_ID, 'nobody can come back to an address that is not known').toBeUndefined();
    const issuer = {
      url: 'https://login.example.org/realms/clinic',
      audience: 'pacs',
      clientId: 'pacs-console',
      rolesClaim: 'realm_access.roles',
      roles: 'pacs-admins=admin,reading=radiologist+auditor',
    };
    const named = synthesize({ publicUrl: 'https://d111.cloudfront.net', issuer });
    expect(functionOf(named, 'authorizer').Properties.Environment.Variables).toMatchObject({
      NEPHOS_PUBLIC_URL: 'https://d111.cloudfront.net',
      NEPHOS_OIDC_ISSUER: issuer.url,
      NEPHOS_OIDC_AUDIENCE: 'pacs',
      NEPHOS_OIDC_CLIENT_ID: 'pacs-console',
      NEPHOS_OIDC_ROLES_CLAIM: issuer.rolesClaim,
      NEPHOS_OIDC_ROLES: issuer.roles,
    });
    expect([...named.stacks.keys()]).not.toContain('Identity');
  });
});

describe('rates of principals and addresses', () => {
  const answering = rows.filter(([, { triggers }]) =>
    triggers.some(({ kind }: { kind: string }) => kind === 'http' || kind === 'authorizer'),
  );
  const ratesOf = (deployment: Synthesized, name: FunctionName, suffix?: string) =>
    Object.entries(functionOf(deployment, name, suffix).Properties.Environment.Variables).filter(([variable]) =>
      variable.startsWith('NEPHOS_RATE_'),
    );

  test('are told to whatever answers a request, in both regions, and to nothing else', () => {
    for (const [name] of rows) {
      const expected = answering.some(([one]) => one === name)
        ? { NEPHOS_RATE_REQUESTS: '2000', NEPHOS_RATE_BYTES: '1073741824', NEPHOS_RATE_FAILURES: '30' }
        : {};
      for (const suffix of [undefined, '2'])
        expect(Object.fromEntries(ratesOf(prodDeployment(), name, suffix)), name).toEqual(expected);
      expect(Object.fromEntries(ratesOf(devDeployment(), name)), name).toEqual(expected);
    }
    expect(answering.length).toBeGreaterThan(6);
  });

  test('lie where each of those may read and write them, and need no right that it does not have', () => {
    // One item an account, in the table of the index: all may read it, and these make updates there.
    for (const [name, { grants }] of answering)
      expect(
        grants.index.some(
          ({ writes, partitions = ['*'] }) =>
            writes.includes('add') && partitions.some((one) => isLike(one, 'main|rates\u00001')),
        ),
        name,
      ).toBe(true);
  });

  test('may be set, and switched off', () => {
    const set = synthesize({ rates: { requestsPerSecond: 50 } });
    expect(Object.fromEntries(ratesOf(set, 'retrieve'))).toMatchObject({ NEPHOS_RATE_REQUESTS: '50' });
    expect(ratesOf(synthesize({ rates: false }), 'retrieve')).toEqual([]);
  });
});

describe('the REST API', () => {
  test('takes so many requests a second from all together, whatever the firewall lets through', () => {
    for (const deployment of [devDeployment(), prodDeployment()])
      expect(deployment.one('Api', 'AWS::ApiGateway::Stage').Properties.MethodSettings).toContainEqual(
        expect.objectContaining({ HttpMethod: '*', ThrottlingRateLimit: 5_000, ThrottlingBurstLimit: 5_000 }),
      );
  });

  const methods = (deployment: Synthesized) => {
    const resources = deployment.stacks.get('Api')!;
    const pathOf = (ref: { Ref?: string }): string => {
      const resource = ref.Ref === undefined ? undefined : resources[ref.Ref];
      return resource === undefined ? '' : `${pathOf(resource.Properties.ParentId)}/${resource.Properties.PathPart}`;
    };
    return deployment.all('Api', 'AWS::ApiGateway::Method').map(({ Properties }) => ({
      path: pathOf(Properties.ResourceId),
      method: Properties.HttpMethod as string,
      open: Properties.AuthorizationType === 'NONE',
      uri: JSON.stringify(Properties.Integration.Uri),
      transfer: Properties.Integration.ResponseTransferMode as string | undefined,
      timeoutMs: Properties.Integration.TimeoutInMillis as number,
    }));
  };
  const httpRows = rows.flatMap(([name, spec]) =>
    spec.triggers
      .filter((trigger): trigger is HttpTrigger => trigger.kind === 'http')
      .map((trigger) => ({ name, spec, trigger })),
  );

  test('leads each route to the function of its row, streaming where the row says so, HEAD as GET', () => {
    const found = methods(prodDeployment());
    expect(httpRows.length).toBeGreaterThan(40);
    for (const { name, spec, trigger } of httpRows) {
      for (const verb of trigger.method === 'GET' ? ['GET', 'HEAD'] : [trigger.method]) {
        const method = found.find((one) => one.path === trigger.path && one.method === verb);
        expect(method, `${verb} ${trigger.path}`).toMatchObject({
          open: trigger.public === true,
          transfer: spec.streaming ? 'STREAM' : undefined,
        });
        expect(method?.uri).toContain(`"${name}`);
        expect(method?.uri.includes('/response-streaming-invocations')).toBe(spec.streaming);
        expect(method?.timeoutMs).toBe(spec.streaming ? spec.timeoutSeconds * 1_000 : 29_000);
      }
    }
  });

  test('asks for authorization everywhere but where a row is public, or nothing is routed', () => {
    const routed = new Set(httpRows.map(({ trigger }) => `${trigger.method} ${trigger.path}`));
    const open = methods(prodDeployment()).filter((one) => one.open);
    const unexplained = open.filter(({ method, path, uri }) => {
      const row = httpRows.find(
        ({ trigger }) =>
          trigger.path === path && (trigger.method === method || (trigger.method === 'GET' && method === 'HEAD')),
      );
      if (row) return row.trigger.public !== true;
      // What no row names is answered 404, 405 or as a preflight, by the function that sees no data without a principal.
      return !(method === 'ANY' && !routed.has(`ANY ${path}`) && uri.includes('"search'));
    });
    expect(unexplained).toEqual([]);
  });

  test('answers whole where an engine cannot stream', () => {
    const buffered = methods(synthesize({ bufferedResponses: true }));
    expect(buffered.every(({ transfer, uri }) => transfer === undefined && uri.includes('/invocations'))).toBe(true);
  });

  test('logs calls without queries, addresses and bodies', () => {
    const stage = prodDeployment().one('Api', 'AWS::ApiGateway::Stage').Properties;
    expect(stage.AccessLogSetting.Format).not.toMatch(/querystring|sourceIp|identity|path"?:"\$context\.path/i);
    expect(stage.MethodSettings).toMatchObject([
      { LoggingLevel: 'OFF', DataTraceEnabled: false, MetricsEnabled: true },
    ]);
  });

  test('answers what is over its limits, or those of Lambda, with where larger bodies go', () => {
    const { ResponseParameters, ResponseTemplates } = prodDeployment().one(
      'Api',
      'AWS::ApiGateway::GatewayResponse',
      ({ ResponseType }) => ResponseType === 'REQUEST_TOO_LARGE',
    ).Properties;
    expect(ResponseParameters['gatewayresponse.header.link']).toBe(
      `'</api/transactions>; rel="urn:nephos:rel:store-transactions"'`,
    );
    expect(JSON.parse(ResponseTemplates['application/json'])).toMatchObject({ status: 413, code: 'TOO_LARGE' });
  });

  test('hands bodies on as bytes', () => {
    expect(prodDeployment().one('Api', 'AWS::ApiGateway::RestApi').Properties.BinaryMediaTypes).toEqual(['*/*']);
  });
});

describe('the workers', () => {
  test.each(
    rows.flatMap(([name, spec]) =>
      spec.triggers.filter((trigger) => trigger.kind === 'queue').map((trigger) => [name, trigger] as const),
    ),
  )('%s works a queue off in batches whose failures come back one by one', (name, trigger) => {
    const mapping = prodDeployment().one('Workers', 'AWS::Lambda::EventSourceMapping', ({ EventSourceArn }) =>
      JSON.stringify(EventSourceArn).includes(trigger.queue.replaceAll('-', '')),
    ).Properties;
    expect(mapping).toMatchObject({
      BatchSize: trigger.batchSize,
      FunctionResponseTypes: ['ReportBatchItemFailures'],
      ScalingConfig: { MaximumConcurrency: Math.min(trigger.maxConcurrency, 50) },
    });
    expect(JSON.stringify(mapping.FunctionName)).toContain(name);
  });

  test('schedules run in the region that takes changes, and in no other', () => {
    const states = (deployment: Synthesized, stack: string) =>
      deployment.all(stack, 'AWS::Scheduler::Schedule').map(({ Properties }) => Properties.State);
    expect(states(prodDeployment(), 'Workers')).toEqual(['ENABLED', 'ENABLED', 'ENABLED', 'ENABLED']);
    expect(states(prodDeployment(), 'Workers2')).toEqual(['DISABLED', 'DISABLED', 'DISABLED', 'DISABLED']);
  });
});

describe('the front', () => {
  const config = (deployment: Synthesized) =>
    deployment.one('Front', 'AWS::CloudFront::Distribution').Properties.DistributionConfig;
  const code = (deployment: Synthesized, id: string): string =>
    deployment.one('Front', 'AWS::CloudFront::Function', ({ Name }) => Name.endsWith(`-${id}`)).Properties.FunctionCode;

  test('is one domain, by HTTP/2 and HTTP/3, TLS 1.2 and newer, behind the firewall', () => {
    expect(config(prodDeployment())).toMatchObject({
      Aliases: ['pacs.example.org'],
      HttpVersion: 'http2and3',
      ViewerCertificate: { MinimumProtocolVersion: 'TLSv1.2_2021', SslSupportMethod: 'sni-only' },
    });
    expect(config(prodDeployment()).WebACLId).toBeDefined();
    expect(config(devDeployment()).WebACLId).toBeUndefined();
  });

  test('keeps no answer of the API for others, and takes every method where changes are made', () => {
    const behaviours = config(prodDeployment()).CacheBehaviors;
    const of = (path: string) => behaviours.find(({ PathPattern }: { PathPattern: string }) => PathPattern === path);
    for (const path of ['/dicomweb*', '/api/*', '/wado*', '/healthz']) {
      // The managed policies CachingDisabled and AllViewerExceptHostHeader.
      expect(of(path)).toMatchObject({
        CachePolicyId: '4135ea2d-6df8-44a3-9df3-4b5a84be39ad',
        OriginRequestPolicyId: 'b689b0a8-53d0-40ab-baf2-68738e2966ac',
        ViewerProtocolPolicy: 'https-only',
      });
    }
    expect(of('/dicomweb*').AllowedMethods).toEqual(expect.arrayContaining(['POST', 'DELETE', 'OPTIONS']));
    expect(of('/wado*').AllowedMethods).not.toContain('POST');
  });

  test('lets the viewer have its shared memory and code from strings, the console its own files alone', () => {
    const policies = prodDeployment()
      .all('Front', 'AWS::CloudFront::ResponseHeadersPolicy')
      .map(({ Properties }) => Properties.ResponseHeadersPolicyConfig);
    const of = (name: string) => policies.find(({ Name }) => Name.endsWith(`-${name}`));
    for (const name of ['viewer', 'console', 'consolefiles']) {
      expect(of(name).CustomHeadersConfig.Items).toEqual(
        expect.arrayContaining([
          { Header: 'cross-origin-opener-policy', Value: 'same-origin', Override: true },
          { Header: 'cross-origin-embedder-policy', Value: 'require-corp', Override: true },
        ]),
      );
      expect(of(name).SecurityHeadersConfig.StrictTransportSecurity).toMatchObject({
        AccessControlMaxAgeSec: 31_536_000,
      });
    }
    const csp = (name: string): string => of(name).SecurityHeadersConfig.ContentSecurityPolicy.ContentSecurityPolicy;
    expect(csp('viewer')).toContain("'unsafe-eval'");
    expect(csp('console')).not.toContain('unsafe');
    for (const host of [
      'archive-123456789012-eu-west-1.s3.eu-west-1',
      'landing-123456789012-eu-central-1.s3.eu-central-1',
    ])
      expect(csp('console')).toContain(`https://nephos-prod-${host}.amazonaws.com`);
  });

  test('asks the second region where the first fails to answer a reader, and never twice for a change', () => {
    const { OriginGroups, Origins } = config(prodDeployment());
    expect(OriginGroups.Items).toMatchObject([{ FailoverCriteria: { StatusCodes: { Items: [500, 502, 503, 504] } } }]);
    const ids = Origins.map(({ Id }: { Id: string }) => Id);
    const groups: { originIds: { originId: string }[] }[] = [];
    const source = code(prodDeployment(), 'ApiRequest').replace("import cf from 'cloudfront';", '');
    const ask = (method: string) =>
      runInNewContext(`${source}; handler(event)`, {
        cf: { createRequestOriginGroup: (group: (typeof groups)[0]) => groups.push(group) },
        event: { request: { method, uri: '/dicomweb/studies', headers: { host: { value: 'pacs.example.org' } } } },
      });
    expect(ask('POST').headers['x-forwarded-host']).toEqual({ value: 'pacs.example.org' });
    expect(groups).toEqual([]);
    ask('GET');
    expect(groups[0]?.originIds.map(({ originId }) => originId)).toEqual(['api-primary', 'api-secondary']);
    for (const { originId } of groups[0]!.originIds) expect(ids).toContain(originId);
  });

  test.each([
    ['/', '/index.html'],
    ['/viewer', '/viewer.html'],
    ['/viewer/nephos', '/viewer.html'],
    ['/app-config.js', '/app-config.js'],
    ['/console/index-1a2b3c4d.js', '/console/index-1a2b3c4d.js'],
  ])('%s is the file %s', (uri, file) => {
    const request = runInNewContext(`${code(prodDeployment(), 'SitePages')}; handler(event)`, {
      event: { request: { uri } },
    });
    expect(request.uri).toBe(file);
  });

  test('with one region there is nowhere to fail over to', () => {
    expect(config(devDeployment()).OriginGroups).toBeUndefined();
    expect(code(devDeployment(), 'ApiRequest')).not.toContain('createRequestOriginGroup');
  });
});

describe('the firewall', () => {
  test.each(['FrontFirewall', 'ApiFirewall', 'ApiFirewall2'])(
    '%s counts what would refuse DICOM bodies, and redacts its log',
    (stack) => {
      const { Rules } = prodDeployment().one(stack, 'AWS::WAFv2::WebACL').Properties;
      const overridden = Rules.flatMap(({ Statement }: Resource['Properties']) =>
        (Statement.ManagedRuleGroupStatement?.RuleActionOverrides ?? []).map((one: Resource['Properties']) => {
          expect(one.ActionToUse).toEqual({ Count: {} });
          return one.Name;
        }),
      );
      for (const name of [
        'SizeRestrictions_BODY',
        'CrossSiteScripting_BODY',
        'GenericLFI_BODY',
        'Log4JRCE_BODY',
        'NoUserAgent_HEADER',
      ])
        expect(overridden).toContain(name);
      const rate = {
        AggregateKeyType: 'IP',
        EvaluationWindowSec: 300,
        Limit: 100_000 * (stack === 'FrontFirewall' ? 1 : 20),
      };
      expect(Rules[0]).toMatchObject({
        Priority: 0,
        Action: { Block: { CustomResponse: { ResponseCode: 429 } } },
        Statement: { RateBasedStatement: rate },
      });
      expect(prodDeployment().one(stack, 'AWS::WAFv2::LoggingConfiguration').Properties.RedactedFields).toEqual(
        expect.arrayContaining([{ QueryString: {} }, { SingleHeader: { Name: 'authorization' } }]),
      );
    },
  );
});

describe('failing over', () => {
  test('sends changes to the second region, runs the schedules there, and replicates back', () => {
    const over = synthesize({ kind: 'prod', region: 'eu-west-1', secondRegion: 'eu-central-1', writesTo: 'second' });
    const states = (stack: string) =>
      over.all(stack, 'AWS::Scheduler::Schedule').map(({ Properties }) => Properties.State);
    expect([states('Workers'), states('Workers2')]).toEqual([
      ['DISABLED', 'DISABLED', 'DISABLED', 'DISABLED'],
      ['ENABLED', 'ENABLED', 'ENABLED', 'ENABLED'],
    ]);
    const { Origins } = over.one('Front', 'AWS::CloudFront::Distribution').Properties.DistributionConfig;
    const primary = Origins.find(({ Id }: { Id: string }) => Id === 'api-primary');
    expect(JSON.stringify(primary.DomainName)).toContain('eu-central-1');
    const back = over.one('Storage2', 'AWS::S3::Bucket', ({ BucketName }) => BucketName.includes('-archive-'));
    expect(JSON.stringify(back.Properties.ReplicationConfiguration.Rules[0].Destination.Bucket)).toContain('eu-west-1');
  });
});

describe('operations', () => {
  test('somebody is told of studies that could not be sent on, or wait for long', () => {
    const alarms = prodDeployment()
      .all('Operations', 'AWS::CloudWatch::Alarm')
      .map(({ Properties }) => Properties);
    for (const [MetricName, Threshold] of [
      ['routingStopped', 1],
      ['routingOldest', 21_600],
    ])
      expect(alarms).toContainEqual(
        expect.objectContaining({
          Namespace: 'Nephos',
          MetricName,
          Threshold,
          Dimensions: [
            { Name: 'service', Value: 'nephos' },
            { Name: 'tenant', Value: 'main' },
          ],
          AlarmActions: [expect.anything()],
        }),
      );
  });

  test('somebody is told of objects that are missing or unknown, and of nightly runs that fail', () => {
    const alarms = prodDeployment()
      .all('Operations', 'AWS::CloudWatch::Alarm')
      .map(({ Properties }) => Properties);
    for (const MetricName of ['objectsMissing', 'objectsUnknown'])
      expect(alarms).toContainEqual(
        expect.objectContaining({
          Namespace: 'Nephos',
          MetricName,
          Threshold: 1,
          Dimensions: [
            { Name: 'service', Value: 'nephos' },
            { Name: 'tenant', Value: 'main' },
          ],
          AlarmActions: [expect.anything()],
        }),
      );
    for (const name of ['sweep', 'reconcile', 'tier', 'audit'])
      expect(alarms.map(({ AlarmName }) => AlarmName)).toContainEqual(expect.stringMatching(`-${name}-errors$`));
  });

  test('say "patients affected" when reading or storing fails, and tell it', () => {
    const alarm = prodDeployment().one('Operations', 'AWS::CloudWatch::CompositeAlarm').Properties;
    const rule = JSON.stringify(alarm.AlarmRule);
    for (const id of ['apifailing', 'storeerrors', 'searcherrors', 'ingestold', 'indexthrottled'])
      expect(rule).toContain(id);
    expect(alarm.AlarmActions).toHaveLength(1);
    expect(prodDeployment().one('Operations', 'AWS::SNS::Subscription').Properties).toMatchObject({
      Protocol: 'email',
      Endpoint: 'pacs@example.org',
    });
  });

  test('copies are kept in a locked vault and restored every month', () => {
    expect(prodDeployment().one('Backup', 'AWS::Backup::BackupVault').Properties.LockConfiguration).toEqual({
      MinRetentionDays: 35,
    });
    expect(prodDeployment().one('Backup', 'AWS::Backup::RestoreTestingPlan').Properties.ScheduleExpression).toBe(
      'cron(0 5 1 * ? *)',
    );
    expect(
      prodDeployment().one('Backup', 'AWS::Backup::BackupSelection').Properties.BackupSelection.Resources,
    ).toHaveLength(2);
  });

  test('changes of objects are in a trail', () => {
    const trail = prodDeployment().one('Audit', 'AWS::CloudTrail::Trail').Properties;
    expect(trail).toMatchObject({ EnableLogFileValidation: true, IsLogging: true });
    expect(JSON.stringify(trail.AdvancedEventSelectors)).toContain('"readOnly"');
  });

  test('the bill is exported, and a budget warns', () => {
    expect(prodDeployment().all('Costs', 'AWS::BCMDataExports::Export')).toHaveLength(2);
    expect(prodDeployment().one('Costs', 'AWS::Budgets::Budget').Properties.Budget.BudgetLimit).toEqual({
      Amount: 500,
      Unit: 'USD',
    });
  });
});

describe('every resource that can be tagged', () => {
  test('names its deployment and its part, for the bill', () => {
    for (const [stack, resources] of prodDeployment().stacks) {
      for (const { Type, Properties } of Object.values(resources)) {
        if (
          ![
            'AWS::S3::Bucket',
            'AWS::Lambda::Function',
            'AWS::SQS::Queue',
            'AWS::KMS::Key',
            'AWS::ApiGateway::RestApi',
          ].includes(Type)
        )
          continue;
        // CDK's own, for what CloudFormation cannot do: it has the tags of its stack.
        if (Type === 'AWS::Lambda::Function' && Properties.FunctionName === undefined) continue;
        expect(Properties.Tags, `${stack} ${Type}`).toEqual(
          expect.arrayContaining([
            { Key: 'nephos:stage', Value: 'prod' },
            { Key: 'nephos:part', Value: stack.replace(/2$/, '').toLowerCase() },
          ]),
        );
      }
    }
  });
});

describe('building the templates again', () => {
  test('gives the same: `cdk diff` shows nothing where nothing was changed', () => {
    const again = synthesize({});
    expect(Object.fromEntries(again.stacks)).toEqual(Object.fromEntries(devDeployment().stacks));
  });
});
