import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { runInNewContext } from 'node:vm';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { siteFiles } from '#infra/site-files.ts';
import type { Deployed } from './deployment.ts';
import { ENGINE_IDENTITY } from './engines.ts';

interface Behaviour {
  readonly PathPattern?: string;
  readonly TargetOriginId: string;
  readonly ResponseHeadersPolicyId: { readonly Ref: string };
  readonly FunctionAssociations: readonly {
    readonly FunctionARN: { readonly 'Fn::GetAtt': readonly [string, string] };
  }[];
}
/** What CloudFront's function asks for where reading may fail over. */
interface OriginGroup {
  readonly originIds: readonly { readonly originId: string }[];
  readonly failoverCriteria: { readonly statusCodes: readonly number[] };
}
// biome-ignore lint/suspicious/noExplicitAny: a template is whatever CloudFormation takes
type Properties = Record<string, any>;

/** Puts console and viewer into their bucket, as the stack SiteContent does. */
export async function putSite(deployed: Deployed): Promise<void> {
  const s3 = new S3Client({ ...ENGINE_IDENTITY, endpoint: deployed.engine.endpoint, forcePathStyle: true });
  const Bucket = deployed.output('Site', 'SiteBucket');
  for (const { key, file, mediaType } of siteFiles())
    await s3.send(new PutObjectCommand({ Bucket, Key: key, Body: await readFile(file), ContentType: mediaType }));
  s3.destroy();
}

/**
 * CloudFront, as far as a browser needs it: behaviours by path, their functions, headers and origin groups, all read from the template that was deployed;
 * the site from its bucket in the engine, the rest from the API. Over HTTP on loopback, which browsers trust as they trust TLS.
 */
export async function startFront(deployed: Deployed): Promise<{ origin: string; stop(): Promise<void> }> {
  const s3 = new S3Client({ ...ENGINE_IDENTITY, endpoint: deployed.engine.endpoint, forcePathStyle: true });
  const Bucket = deployed.output('Site', 'SiteBucket');

  const { Resources } = deployed.templates.get('Front')!;
  const [distribution] = Object.values(Resources).filter(({ Type }) => Type === 'AWS::CloudFront::Distribution');
  const { CacheBehaviors, DefaultCacheBehavior } = (distribution!.Properties as Properties).DistributionConfig as {
    CacheBehaviors: Behaviour[];
    DefaultCacheBehavior: Behaviour;
  };
  const behaviourOf = (path: string): Behaviour =>
    CacheBehaviors.find(({ PathPattern }) => patternOf(PathPattern!).test(path)) ?? DefaultCacheBehavior;
  const rewritten = ({ FunctionAssociations }: Behaviour, method: string, uri: string, host: string) => {
    const id = FunctionAssociations[0]!.FunctionARN['Fn::GetAtt'][0];
    const code = String((Resources[id]!.Properties as Properties).FunctionCode).replace(
      "import cf from 'cloudfront';",
      '',
    );
    const event = { request: { method, uri, headers: { host: { value: host } } } };
    let group: OriginGroup | undefined;
    const cf = { createRequestOriginGroup: (asked: OriginGroup) => (group = asked) };
    const request = runInNewContext(`${code}; handler(event)`, { cf, event }) as {
      uri: string;
      headers: Record<string, { value: string }>;
    };
    return { ...request, group };
  };
  const apis: Readonly<Record<string, URL>> = { 'api-primary': deployed.api, 'api-secondary': deployed.secondApi };

  const answer = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const url = incoming.url ?? '/';
    const path = url.split('?', 1)[0]!;
    const behaviour = behaviourOf(path);
    const request = rewritten(behaviour, incoming.method ?? 'GET', path, incoming.headers.host ?? '');
    const headers = headersOf(
      (Resources[behaviour.ResponseHeadersPolicyId.Ref]!.Properties as Properties).ResponseHeadersPolicyConfig,
    );
    if (behaviour.TargetOriginId.startsWith('api-')) {
      const forwarded = request.headers['x-forwarded-host']!.value;
      const { group } = request;
      const [first = 'api-primary', ...others] = group?.originIds.map(({ originId }) => originId) ?? [];
      const pass = (api: URL, rest: readonly string[]): void => {
        const passed = httpRequest(
          {
            agent: false,
            hostname: api.hostname,
            port: api.port,
            method: incoming.method,
            path: `${api.pathname}${url}`,
            // The page is on loopback without TLS; a deployed front says https.
            headers: {
              ...incoming.headers,
              host: api.host,
              'x-forwarded-host': forwarded,
              'x-forwarded-proto': 'http',
            },
          },
          (from) => {
            const [next, ...further] = rest;
            if (next !== undefined && group?.failoverCriteria.statusCodes.includes(from.statusCode ?? 502)) {
              from.resume();
              return pass(apis[next]!, further);
            }
            outgoing.writeHead(from.statusCode ?? 502, { ...from.headers, ...headers });
            from.pipe(outgoing);
          },
        );
        passed.on('error', () => outgoing.destroy());
        // What may go elsewhere has no body.
        if (group === undefined) incoming.pipe(passed);
        else passed.end();
      };
      pass(apis[first]!, others);
      return;
    }
    try {
      const found = await s3.send(new GetObjectCommand({ Bucket, Key: request.uri.slice(1) }));
      outgoing.writeHead(200, { 'content-type': found.ContentType ?? '', ...headers });
      outgoing.end(await found.Body!.transformToByteArray());
    } catch {
      outgoing.writeHead(404).end();
    }
  };
  const server = createServer((incoming, outgoing) => void answer(incoming, outgoing));
  // A connection that is closed while somebody asks over it would be a failure of the front's.
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.close();
      server.closeAllConnections();
      s3.destroy();
      await once(server, 'close');
    },
  };
}

/** `*` stands for any characters. */
const patternOf = (pattern: string): RegExp =>
  new RegExp(
    `^${pattern
      .split('*')
      .map((part) => part.replace(/[.?+^$()[\]{}|\\]/g, '\\$&'))
      .join('.*')}$`,
  );

/** The headers that a response headers policy adds, HTTPS's own promise left out: there is no TLS here. */
function headersOf(config: Properties): Record<string, string> {
  const { SecurityHeadersConfig: security, CustomHeadersConfig: custom } = config as {
    SecurityHeadersConfig?: {
      ContentSecurityPolicy?: { ContentSecurityPolicy: unknown };
      ReferrerPolicy?: { ReferrerPolicy: string };
    };
    CustomHeadersConfig?: { Items: { Header: string; Value: string }[] };
  };
  const policy = security?.ContentSecurityPolicy?.ContentSecurityPolicy;
  return {
    'x-content-type-options': 'nosniff',
    ...(security?.ReferrerPolicy && { 'referrer-policy': security.ReferrerPolicy.ReferrerPolicy }),
    ...(typeof policy === 'string' && { 'content-security-policy': policy }),
    ...Object.fromEntries((custom?.Items ?? []).map(({ Header, Value }) => [Header, Value])),
  };
}
