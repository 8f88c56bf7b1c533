import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import * as apigateway from 'aws-cdk-lib/aws-apigateway';
import * as logs from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import {
  FUNCTIONS,
  type FunctionName,
  type FunctionSpec,
  type HttpTrigger,
  TOO_LARGE_ANSWER,
} from '#lambda/functions.ts';
import type { NephosStack } from '../nephos-stack.ts';
import type { ArchiveFunction } from './archive-function.ts';

type Functions = Readonly<Partial<Record<FunctionName, ArchiveFunction>>>;

/** of the REST API: the first segment of its path, which CloudFront adds */
export const STAGE_NAME = 'live';

/** Execution time that API Gateway grants an integration that answers whole (ms); the functions behind it end earlier. */
const WHOLE_TIMEOUT = Duration.seconds(29);

/** The REST API: each row of functions.ts that HTTP starts becomes a method; what no row names goes to the row `ANY /{proxy+}`. */
export class ArchiveApi extends Construct {
  readonly api: apigateway.RestApi;
  readonly #stack: NephosStack;
  readonly #functions: Functions;
  readonly #authorizer: apigateway.RequestAuthorizer;
  readonly #integrations = new Map<FunctionName, apigateway.Integration>();

  constructor(stack: NephosStack, functions: Functions) {
    super(stack, 'Http');
    this.#stack = stack;
    this.#functions = functions;
    this.api = new apigateway.RestApi(this, 'Api', {
      restApiName: stack.names.prefix,
      description: 'DICOMweb and the API beside it',
      endpointConfiguration: { types: [apigateway.EndpointType.REGIONAL] },
      // Bodies are bytes; API Gateway hands them to the functions in base64.
      binaryMediaTypes: ['*/*'],
      disableExecuteApiEndpoint: false,
      // Of the account in this region, for all its APIs: it stays when this one goes.
      cloudWatchRole: stack.settings.apiLogRole,
      ...(stack.settings.apiLogRole && { cloudWatchRoleRemovalPolicy: RemovalPolicy.RETAIN }),
      deployOptions: {
        stageName: STAGE_NAME,
        metricsEnabled: true,
        tracingEnabled: true,
        // Execution logs hold query strings and bodies: patients' names.
        loggingLevel: apigateway.MethodLoggingLevel.OFF,
        dataTraceEnabled: false,
        throttlingRateLimit: 5_000,
        throttlingBurstLimit: 5_000,
        accessLogDestination: new apigateway.LogGroupLogDestination(this.#accessLog()),
        accessLogFormat: apigateway.AccessLogFormat.custom(JSON.stringify(ACCESS_LOG)),
      },
    });
    this.#authorizer = new apigateway.RequestAuthorizer(this, 'Authorizer', {
      handler: this.#functionOf('authorizer'),
      // It may look at a header or a cookie; whoever has neither is told so by the authorizer.
      identitySources: [],
      resultsCacheTtl: Duration.seconds(0),
    });
    this.#routes();
    this.#errors();
  }

  /** of stacks/logs.ts */
  #accessLog(): logs.ILogGroup {
    return logs.LogGroup.fromLogGroupName(this, 'AccessLog', this.#stack.names.logGroup('api-access'));
  }

  #routes(): void {
    const rows = (Object.entries(FUNCTIONS) as [FunctionName, FunctionSpec][]).flatMap(([name, spec]) =>
      spec.triggers.filter((trigger) => trigger.kind === 'http').map((trigger) => ({ name, trigger })),
    );
    const rest = rows.find(({ trigger }) => trigger.method === 'ANY' && trigger.path === '/{proxy+}');
    if (rest === undefined) throw new Error('no function takes what no row names');
    for (const { name, trigger } of rows) this.#method(name, trigger);
    // API Gateway chooses the resource first and the method then: a method that a resource lacks never reaches `/{proxy+}`.
    for (const path of new Set(rows.map(({ trigger }) => trigger.path))) {
      if (!rows.some(({ trigger }) => trigger.path === path && trigger.method === 'ANY'))
        this.#method(rest.name, { ...rest.trigger, path });
    }
  }

  #method(name: FunctionName, { method, path, public: open }: HttpTrigger): void {
    const resource = this.api.root.resourceForPath(path);
    const options: apigateway.MethodOptions = open
      ? { authorizationType: apigateway.AuthorizationType.NONE }
      : { authorizationType: apigateway.AuthorizationType.CUSTOM, authorizer: this.#authorizer };
    for (const verb of method === 'GET' ? ['GET', 'HEAD'] : [method])
      resource.addMethod(verb, this.#integrationOf(name), options);
  }

  #integrationOf(name: FunctionName): apigateway.Integration {
    let integration = this.#integrations.get(name);
    if (integration === undefined) {
      const handler = this.#functionOf(name);
      const streams = handler.spec.streaming && !this.#stack.settings.bufferedResponses;
      integration = new apigateway.LambdaIntegration(handler, {
        proxy: true,
        // One permission a function instead of two a method.
        scopePermissionToMethod: false,
        ...(streams
          ? {
              responseTransferMode: apigateway.ResponseTransferMode.STREAM,
              timeout: Duration.seconds(handler.spec.timeoutSeconds),
            }
          : { timeout: WHOLE_TIMEOUT }),
      });
      this.#integrations.set(name, integration);
    }
    return integration;
  }

  #functionOf(name: FunctionName): ArchiveFunction {
    const found = this.#functions[name];
    if (found === undefined) throw new Error(`there is no function ${name}`);
    return found;
  }

  /** What API Gateway itself answers has the headers that the viewer's page needs to read it, and says nothing of the inside. */
  #errors(): void {
    for (const [id, type] of [
      ['Default4xx', apigateway.ResponseType.DEFAULT_4XX],
      ['Default5xx', apigateway.ResponseType.DEFAULT_5XX],
    ] as const) {
      this.api.addGatewayResponse(id, {
        type,
        responseHeaders: {
          'Cross-Origin-Resource-Policy': "'same-origin'",
          'Cache-Control': "'no-store'",
          'X-Content-Type-Options': "'nosniff'",
        },
        templates: { 'application/json': '{"message":$context.error.messageString}' },
      });
    }
    // Never a bare refusal: the functions behind would have said the same.
    this.api.addGatewayResponse('RequestTooLarge', {
      type: apigateway.ResponseType.REQUEST_TOO_LARGE,
      responseHeaders: Object.fromEntries(
        Object.entries(TOO_LARGE_ANSWER.headers).map(([name, value]) => [name, `'${value}'`]),
      ),
      templates: { 'application/json': TOO_LARGE_ANSWER.body },
    });
  }
}

/** Which call, by whom, with what result; neither address nor query, which may hold a patient's name. */
const ACCESS_LOG = {
  requestId: '$context.requestId',
  time: '$context.requestTimeEpoch',
  method: '$context.httpMethod',
  resource: '$context.resourcePath',
  status: '$context.status',
  bytes: '$context.responseLength',
  ms: '$context.responseLatency',
  integrationMs: '$context.integrationLatency',
  authorizerMs: '$context.authorizer.latency',
  error: '$context.error.responseType',
  trace: '$context.xrayTraceId',
};
