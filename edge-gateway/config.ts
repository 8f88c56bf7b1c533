import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Ajv, type ErrorObject } from 'ajv';
import type { Condition } from '#core/routing/conditions.ts';
import { ConfigError, isNetwork } from '#embedded/config.ts';
import { readDestination } from '#embedded/dicom-destinations.ts';
import schema from './config.schema.json' with { type: 'json' };

/**
 * The gateway's configuration, checked against config.schema.json and complete: what was left out has its default. A new section has
 * its rules and defaults there and its type here.
 */
export interface EdgeConfig {
  readonly aeTitle: string;
  readonly tenant: string;
  readonly bind: string;
  /** absolute */
  readonly dataDir: string;
  readonly log: 'debug' | 'info' | 'error';
  readonly dicom: {
    readonly port: number;
    readonly checkCalledAETitle: boolean;
    readonly maxAssociations: number;
    readonly identity?: IdentityConfig;
    readonly tls?: { readonly port: number; readonly cert: string; readonly key: string; readonly ca?: string };
  };
  readonly allowed: 'any' | readonly CallingEntity[];
  readonly moveDestinations: readonly MoveDestination[];
  /** systems that are told what modalities say of procedure steps, beside the archive */
  readonly procedureSteps: { readonly forwardTo: readonly MoveDestination[] };
  /** systems that are told by Instance Availability Notification of what modalities have stored here */
  readonly availabilityListeners: readonly MoveDestination[];
  /** the first one also answers queries */
  readonly upstreams: readonly [UpstreamConfig, ...UpstreamConfig[]];
  readonly cache: { readonly maxAgeHours: number; readonly maxBytes: number; readonly unaskedAfterHours: number };
  readonly ledger: { readonly maxAgeDays: number; readonly maxRecords: number };
  readonly commitment: {
    readonly limitHours: number;
    readonly unknownSeconds: number;
    readonly askAgainMinutes: number;
  };
  readonly disk: { readonly reserveBytes: number };
  readonly viewers: { readonly enabled: boolean; readonly token?: Secret };
  readonly http: { readonly bind: string; readonly port: number; readonly token?: Secret };
  readonly heartbeat?: { readonly id: string; readonly everySeconds: number; readonly apiUrl?: string };
  /** PEM, or the path of a file that holds it */
  readonly remoteConfiguration?: { readonly publicKey: string };
}

export type Right = 'store' | 'query' | 'retrieve' | 'commit' | 'worklist' | 'mpps';
export type SendPriority = 'stat' | 'high' | 'routine' | 'low';

/** Whom user identities of associations are verified by. */
export interface IdentityConfig {
  readonly required: boolean;
  /** path of a JSON file: see embedded/dicom-users.ts */
  readonly users?: string;
  /** of JSON Web Tokens */
  readonly issuer?: {
    readonly url: string;
    readonly audience: string;
    readonly jwksUrl?: string;
    readonly rolesClaim: string;
  };
}

export interface CallingEntity {
  /** `*`: any */
  readonly aeTitle: string;
  /** or a network, as `address/bits` */
  readonly address?: string;
  readonly rights: readonly Right[];
  readonly priority: SendPriority;
}

export interface MoveDestination {
  readonly aeTitle: string;
  readonly host: string;
  readonly port: number;
  readonly tls?: TlsFiles;
}

/** paths of PEM files */
export interface TlsFiles {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** The value itself, or where it stands. */
export type Secret = string | { readonly env: string } | { readonly file: string };

export interface UpstreamAuth {
  readonly bearerToken?: Secret;
  readonly basic?: { readonly user: string; readonly password: Secret };
  readonly clientCredentials?: {
    readonly tokenUrl: string;
    readonly clientId: string;
    /** one of the two */
    readonly clientSecret?: Secret;
    readonly privateKey?: Secret;
    readonly keyId?: string;
    /** absent: tokenUrl */
    readonly assertionAudience?: string;
    readonly scope?: string;
    readonly audience?: string;
  };
  /** the identity that it got by its enrolment (enrolment/identity.ts) */
  readonly enrolled?: true;
}

export type Evidence = 'digest' | 'retrieve' | 'accepted';

export interface UpstreamConfig {
  readonly name: string;
  /** DICOMweb root */
  readonly url: string;
  readonly auth?: UpstreamAuth;
  readonly tls?: TlsFiles;
  readonly parallel: number;
  readonly batch: { readonly instances: number; readonly bytes: number };
  readonly bandwidth: readonly BandwidthRow[];
  readonly compression: 'none' | 'htj2k' | 'jpegls';
  readonly evidence: 'auto' | Evidence;
  readonly when?: Condition;
  readonly retry: { readonly firstMs: number; readonly mostMs: number; readonly refusals: number };
  readonly timeoutMs: number;
}

export interface BandwidthRow {
  readonly days: readonly ('mon' | 'tue' | 'wed' | 'thu' | 'fri' | 'sat' | 'sun')[];
  /** HH:MM, local time */
  readonly from: string;
  readonly to: string;
  readonly bytesPerSecond: number;
}

type Environment = Readonly<Record<string, string | undefined>>;
type Document = Record<string, unknown>;

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);

const validate = new Ajv({
  allErrors: true,
  useDefaults: true,
  allowUnionTypes: true,
  strict: true,
}).compile<EdgeConfig>(schema);

/**
 * The file that NEPHOS_EDGE_CONFIG names, under what other variables say; without a file they are enough for one upstream.
 * @param over takes the place of the file's members
 * @throws ConfigError that names each wrong place
 */
export function readEdgeConfig(env: Environment, over: Document = {}): EdgeConfig {
  const path = configFileOf(env);
  const document = { ...(path === undefined ? {} : readDocument(path)), ...over };
  return checked(underEnvironment(document, env), path ?? 'the environment');
}

const DATA_DIR = './edge-data';
/** Where `enrol` writes the configuration that no variable names. */
export const ownConfigFile = (env: Environment): string => join(env.NEPHOS_DATA_DIR ?? DATA_DIR, 'edge.json');

/** The file of the configuration: the one that is named, or the one that the enrolment has left in the data folder; undefined: none. */
export function configFileOf(env: Environment): string | undefined {
  if (env.NEPHOS_EDGE_CONFIG !== undefined) return env.NEPHOS_EDGE_CONFIG;
  const own = ownConfigFile(env);
  return existsSync(own) ? own : undefined;
}

/** @throws ConfigError */
export function checked(document: unknown, name: string): EdgeConfig {
  const copy = structuredClone(document);
  if (!validate(copy)) throw new ConfigError(`${name} is no configuration of a gateway:\n${explain(validate.errors)}`);
  const bind = copy.bind;
  const config: EdgeConfig = {
    ...copy,
    dataDir: resolve(copy.dataDir),
    // Nobody is let in from a network by default: an AE title proves nothing.
    allowed: copy.allowed ?? (LOOPBACK.has(bind) ? 'any' : []),
  };
  const names = config.upstreams.map((upstream) => upstream.name);
  const twice = names.find((one, i) => names.indexOf(one) !== i);
  if (twice !== undefined) throw new ConfigError(`${name}: two upstreams have the name ${JSON.stringify(twice)}`);
  for (const [i, { address }] of config.allowed === 'any' ? [] : config.allowed.entries())
    if (address !== undefined && !isNetwork(address))
      throw new ConfigError(`${name}: allowed/${i}/address is neither an address nor a network`);
  for (const { name: one, auth } of config.upstreams) {
    const { clientSecret, privateKey } = auth?.clientCredentials ?? {};
    if (auth?.clientCredentials && (clientSecret === undefined) === (privateKey === undefined))
      throw new ConfigError(
        `${name}: the clientCredentials of ${one} need a clientSecret or a privateKey, one of them`,
      );
  }
  if (config.viewers.enabled && config.viewers.token === undefined && !LOOPBACK.has(config.http.bind))
    throw new ConfigError(`${name}: http.bind ${config.http.bind} is not loopback, so viewers.token is needed`);
  if (config.http.token === undefined && !LOOPBACK.has(config.http.bind))
    throw new ConfigError(`${name}: http.bind ${config.http.bind} is not loopback, so http.token is needed`);
  return config;
}

/** @throws ConfigError */
export function readDocument(path: string): Document {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError(`NEPHOS_EDGE_CONFIG: ${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
  try {
    const document: unknown = JSON.parse(text);
    if (typeof document === 'object' && document !== null && !Array.isArray(document)) return document as Document;
  } catch (error) {
    throw new ConfigError(`${path} is not JSON: ${(error as Error).message}`);
  }
  throw new ConfigError(`${path} must hold a JSON object`);
}

/** One line for each place: `upstreams/0/url must match …`. Values are not repeated: they may be secrets. */
function explain(errors: readonly ErrorObject[] | null | undefined): string {
  const lines = (errors ?? []).map(({ instancePath, keyword, message, params }) => {
    const place = instancePath.slice(1).replaceAll('~1', '/') || 'the document';
    if (keyword === 'additionalProperties')
      return `  ${place} must not have ${JSON.stringify(params.additionalProperty)}`;
    if (keyword === 'required' && params.missingProperty === 'upstreams')
      return '  there is no upstream: set NEPHOS_UPSTREAM, or upstreams in the file that NEPHOS_EDGE_CONFIG names';
    if (keyword === 'enum') return `  ${place} must be one of ${(params.allowedValues as string[]).join(', ')}`;
    return `  ${place} ${message}`;
  });
  return [...new Set(lines)].join('\n');
}

/** Each variable sets one place of the document. */
export function underEnvironment(document: Document, env: Environment): Document {
  const section = (name: string): Document => ({ ...((document[name] as Document | undefined) ?? {}) });
  const dicom = section('dicom');
  const made: Document = { ...document };
  if (env.NEPHOS_DATA_DIR !== undefined) made.dataDir = env.NEPHOS_DATA_DIR;
  if (env.NEPHOS_BIND !== undefined) made.bind = env.NEPHOS_BIND;
  if (env.NEPHOS_AE_TITLE !== undefined) made.aeTitle = env.NEPHOS_AE_TITLE;
  if (env.NEPHOS_TENANT !== undefined) made.tenant = env.NEPHOS_TENANT;
  if (env.NEPHOS_LOG !== undefined) made.log = env.NEPHOS_LOG;
  if (env.NEPHOS_DICOM_PORT !== undefined) dicom.port = number(env.NEPHOS_DICOM_PORT);
  if (env.NEPHOS_DICOM_TLS_CERT !== undefined || env.NEPHOS_DICOM_TLS_KEY !== undefined) {
    dicom.tls = defined({
      cert: env.NEPHOS_DICOM_TLS_CERT,
      key: env.NEPHOS_DICOM_TLS_KEY,
      ca: env.NEPHOS_DICOM_TLS_CA,
      port: number(env.NEPHOS_DICOM_TLS_PORT),
    });
  }
  if (Object.keys(dicom).length > 0) made.dicom = dicom;
  if (env.NEPHOS_DICOM_ALLOWED_AES !== undefined) made.allowed = allowedOf(env.NEPHOS_DICOM_ALLOWED_AES);
  if (env.NEPHOS_DICOM_DESTINATIONS !== undefined)
    made.moveDestinations = listOf(env.NEPHOS_DICOM_DESTINATIONS).map(destinationOf(env));
  const http = defined({
    port: number(env.NEPHOS_HTTP_PORT),
    bind: env.NEPHOS_HTTP_BIND,
    token:
      env.NEPHOS_HTTP_TOKEN_FILE === undefined
        ? env.NEPHOS_HTTP_TOKEN && { env: 'NEPHOS_HTTP_TOKEN' }
        : { file: env.NEPHOS_HTTP_TOKEN_FILE },
  });
  if (Object.keys(http).length > 0) made.http = { ...section('http'), ...http };
  if (env.NEPHOS_GATEWAY_ID !== undefined) made.heartbeat = { ...section('heartbeat'), id: env.NEPHOS_GATEWAY_ID };
  if (env.NEPHOS_UPSTREAM !== undefined) made.upstreams = [upstreamOf(env.NEPHOS_UPSTREAM, env, document)];
  return made;
}

/** Without a token of its own, the row that the file has for this very archive: it may have been enrolled there. */
function upstreamOf(url: string, env: Environment, { upstreams }: Document): Document {
  const token = env.NEPHOS_UPSTREAM_TOKEN_FILE
    ? { file: env.NEPHOS_UPSTREAM_TOKEN_FILE }
    : env.NEPHOS_UPSTREAM_TOKEN && { env: 'NEPHOS_UPSTREAM_TOKEN' };
  const known = Array.isArray(upstreams) ? upstreams.find((one) => one?.url === url) : undefined;
  if (!token && known !== undefined) return known;
  return { url, ...(token && { auth: { bearerToken: token } }) };
}

/** `CT1@10.0.0.7=store+query`, as the archive's own variable has it; `*`: anybody */
function allowedOf(text: string): unknown {
  const names = listOf(text);
  if (names.includes('*')) return 'any';
  return names.map((one) => {
    const [entity = '', rights] = one.split('=');
    const [aeTitle, address] = entity.split('@');
    return defined({ aeTitle, address, rights: rights?.split('+') });
  });
}

/** `WS1@10.0.0.8:104`, `WS1@10.0.0.8:2762/tls`: with the certificates of the gateway's own TLS port */
const destinationOf =
  (env: Environment) =>
  (text: string): Document => {
    const { secure, ...entity } = readDestination('NEPHOS_DICOM_DESTINATIONS')(text);
    if (!secure) return entity;
    const { NEPHOS_DICOM_TLS_CERT: cert, NEPHOS_DICOM_TLS_KEY: key, NEPHOS_DICOM_TLS_CA: ca } = env;
    return { ...entity, tls: defined({ cert, key, ca }) };
  };

const listOf = (text: string): string[] =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
/** What is no number is left for the schema to refuse. */
const number = (text: string | undefined): unknown => (text !== undefined && /^\d+$/.test(text) ? Number(text) : text);
const defined = (members: Document): Document =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
