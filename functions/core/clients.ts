import { createHash, timingSafeEqual } from 'node:crypto';
import type { Principal, Role } from './access.ts';
import type { PublicJwk } from './client-proof.ts';
import { PacsError } from './errors.ts';
import { putExpiring } from './expiring.ts';
import { newVersion } from './ids.ts';
import type { Clock } from './ports/clock.ts';
import { asItem, asRecord, type IndexTable, type Key, type WriteOperation } from './ports/index-table.ts';

/** How a machine shows who it is: a secret, a signature by a key of its own (RFC 7523), or a certificate on its connection. */
export const CLIENT_METHODS = ['client_secret', 'private_key_jwt', 'certificate'] as const;
export type ClientMethod = (typeof CLIENT_METHODS)[number];

export interface ClientSecret {
  readonly id: string;
  readonly createdAt: number;
  /** ms since 1970 */
  readonly expiresAt: number;
}

/** A program that asks by itself: an AI worker, an integration, an edge gateway. What it may do stands here, and is asked for with every request. */
export interface MachineClient {
  /** `client_id`: what it is for, and something random; unique in the archive */
  readonly id: string;
  readonly name: string;
  readonly roles: readonly Role[];
  readonly method: ClientMethod;
  /** of an edge gateway: its id */
  readonly gateway?: string | undefined;
  /** at most two: the new one is given to the machine while the old one still holds */
  readonly secrets: readonly ClientSecret[];
  readonly keys: readonly PublicJwk[];
  /** `SHA256:<hex>` of a certificate, or a name in it: `DNS:…`, `URI:…`, `IP Address:…`, `email:…` */
  readonly certificates: readonly string[];
  readonly createdAt: number;
  readonly createdBy: string;
}

/** As it is kept: secrets with their hashes; `version` grows with each change. */
interface ClientRecord extends Omit<MachineClient, 'secrets'> {
  readonly version: number;
  readonly secrets: readonly (ClientSecret & { readonly hash: string })[];
}

type Ports = { readonly index: IndexTable; readonly clock: Clock };
export type AskedClient = Pick<MachineClient, 'name' | 'roles' | 'method' | 'keys' | 'certificates'> &
  Partial<Pick<MachineClient, 'gateway'>>;

/** clients of a tenant */
const CLIENTS = 1_000;
/** valid at once: the one in use, and the one that follows it */
const CLIENT_SECRETS = 2;
/** of one client */
export const CLIENT_KEYS = 4;
export const CLIENT_CERTIFICATES = 4;
/** Lets a scanner of leaked secrets find them. */
const SECRET_PREFIX = 'nephoscs_';

export const clientKey = (tenant: string, id: string): Key => ({ partition: `${tenant}|clients`, sort: id });
/** From a `client_id`, which names no tenant, to its tenant. */
const clientTenantKey = (id: string): Key => ({ partition: `_system|client|${id}`, sort: 'client' });
const certificateKey = (name: string): Key => ({
  partition: `_system|clientcertificate|${hashOf(name)}`,
  sort: 'client',
});
const assertionKey = (id: string, jti: string): Key => ({
  partition: `_system|assertions|${id}`,
  sort: hashOf(jti),
});

const CLIENT_ID = /^[a-z0-9][a-z0-9-]{0,79}$/;
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** The audit trail names it by this. A gateway reports for the id in its subject alone. */
const clientSubject = ({ id, gateway }: Pick<MachineClient, 'id' | 'gateway'>): string =>
  gateway === undefined ? `client:${id}` : `gateway:${gateway}`;

export const clientPrincipal = (tenant: string, client: MachineClient): Principal => ({
  tenant,
  subject: clientSubject(client),
  roles: client.roles,
});

/** `AI triage (north)` → `ai-triage-north-7k2mz9q4`: readable in a log, and nobody else's. */
function newClientId(clock: Clock, name: string): string {
  const slug = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 60);
  const random = [...clock.randomBytes(10)].map((byte) => ALPHABET[byte & 31]).join('');
  return slug === '' ? random : `${slug}-${random}`;
}

/**
 * @returns the client, and for `client_secret` its first secret, which nobody can be told again
 * @throws PacsError TOO_LARGE; CONFLICT where a certificate is another client's
 */
export async function createClient(
  ports: Ports,
  tenant: string,
  asked: AskedClient,
  by: string,
  secretMs: number,
): Promise<{ readonly client: MachineClient; readonly secret?: string }> {
  const { records } = await ports.index.query({
    partition: clientKey(tenant, '').partition,
    limit: CLIENTS,
    keysOnly: true,
  });
  if (records.length >= CLIENTS)
    throw new PacsError('TOO_LARGE', 'there are too many clients', { details: { limit: CLIENTS } });
  const made = asked.method === 'client_secret' ? newSecret(ports.clock, secretMs) : undefined;
  const record = newRecord(ports.clock, asked, by, made ? [made.kept] : []);
  const outcome = await ports.index.write([
    ...recordClient(tenant, record),
    ...record.certificates.map((name) => claim(tenant, record.id, name)),
  ]);
  if (!outcome.committed)
    throw new PacsError('CONFLICT', 'a certificate of this name or fingerprint is another client’s');
  return { client: shown(record), ...(made && { secret: made.secret }) };
}

export const newRecord = (
  clock: Clock,
  { name, roles, method, gateway, keys, certificates }: AskedClient,
  by: string,
  secrets: ClientRecord['secrets'] = [],
): ClientRecord => ({
  version: 1,
  id: newClientId(clock, gateway === undefined ? name : `gateway-${gateway}`),
  name,
  roles,
  method,
  ...(gateway !== undefined && { gateway }),
  secrets,
  keys,
  certificates,
  createdAt: clock.now(),
  createdBy: by,
});

/** The writes that make a client known; none may be there before. */
export const recordClient = (tenant: string, record: ClientRecord): WriteOperation[] => [
  { kind: 'put', key: clientKey(tenant, record.id), item: asItem(record), if: 'absent' },
  { kind: 'put', key: clientTenantKey(record.id), item: { tenant }, if: 'absent' },
];

const claim = (tenant: string, client: string, name: string): WriteOperation => ({
  kind: 'put',
  key: certificateKey(name),
  item: { tenant, client },
  if: 'absent',
});

/** In the order of their ids. */
export async function listClients({ index }: Pick<Ports, 'index'>, tenant: string): Promise<MachineClient[]> {
  const { records } = await index.query({ partition: clientKey(tenant, '').partition, limit: CLIENTS });
  return records.map(({ item }) => shown(asRecord<ClientRecord>(item)));
}

/** @throws PacsError NOT_FOUND */
export const getClient = async ({ index }: Pick<Ports, 'index'>, tenant: string, id: string): Promise<MachineClient> =>
  shown(await recordOf(index, tenant, id));

async function recordOf(index: IndexTable, tenant: string, id: string): Promise<ClientRecord> {
  const item = await index.get(clientKey(tenant, id));
  if (item === undefined) throw new PacsError('NOT_FOUND', 'there is no such client');
  return asRecord<ClientRecord>(item);
}

/** What changes counts with the next request, tokens that are out included. @throws PacsError NOT_FOUND; CONFLICT */
export async function changeClient(
  { index }: Pick<Ports, 'index'>,
  tenant: string,
  id: string,
  change: Partial<Pick<MachineClient, 'name' | 'roles' | 'keys' | 'certificates'>>,
): Promise<MachineClient> {
  const before = await recordOf(index, tenant, id);
  const next = { ...before, ...change };
  const added = next.certificates.filter((name) => !before.certificates.includes(name));
  const gone = before.certificates.filter((name) => !next.certificates.includes(name));
  return shown(
    await replace(index, tenant, before, next, [
      ...added.map((name) => claim(tenant, id, name)),
      ...gone.map((name) => ({ kind: 'delete' as const, key: certificateKey(name) })),
    ]),
  );
}

async function replace(
  index: IndexTable,
  tenant: string,
  { id, version }: ClientRecord,
  next: ClientRecord,
  beside: readonly WriteOperation[] = [],
): Promise<ClientRecord> {
  const item = { ...next, version: version + 1 };
  const outcome = await index.write([
    { kind: 'put', key: clientKey(tenant, id), item: asItem(item), if: { version } },
    ...beside,
  ]);
  if (!outcome.committed)
    throw new PacsError('CONFLICT', 'somebody else has changed the client, or a certificate is another client’s');
  return item;
}

/** It is refused from now on, with every token that it has. @throws PacsError NOT_FOUND */
export async function deleteClient({ index }: Pick<Ports, 'index'>, tenant: string, id: string): Promise<void> {
  await index.write(forgetClient(tenant, await recordOf(index, tenant, id)));
}

export const forgetClient = (
  tenant: string,
  { id, certificates }: Pick<MachineClient, 'id' | 'certificates'>,
): WriteOperation[] => [
  { kind: 'delete', key: clientKey(tenant, id) },
  { kind: 'delete', key: clientTenantKey(id) },
  ...certificates.map((name) => ({ kind: 'delete' as const, key: certificateKey(name) })),
];

/**
 * A further secret, so that the machine can be given it while the one before still holds. Of expired ones none is kept.
 * @throws PacsError NOT_FOUND; BAD_REQUEST for a client of another method; CONFLICT while two are valid
 */
export async function addSecret(
  { index, clock }: Ports,
  tenant: string,
  id: string,
  lifeMs: number,
): Promise<{ readonly client: MachineClient; readonly secret: string }> {
  const before = await recordOf(index, tenant, id);
  if (before.method !== 'client_secret') throw new PacsError('BAD_REQUEST', 'this client has no secrets');
  const valid = before.secrets.filter(({ expiresAt }) => expiresAt > clock.now());
  if (valid.length >= CLIENT_SECRETS)
    throw new PacsError('CONFLICT', 'two secrets are valid: remove one first', { details: { limit: CLIENT_SECRETS } });
  const { secret, kept } = newSecret(clock, lifeMs);
  const next = await replace(index, tenant, before, { ...before, secrets: [...valid, kept] });
  return { client: shown(next), secret };
}

/** @throws PacsError NOT_FOUND */
export async function removeSecret(
  { index }: Pick<Ports, 'index'>,
  tenant: string,
  id: string,
  secret: string,
): Promise<void> {
  const before = await recordOf(index, tenant, id);
  const secrets = before.secrets.filter((one) => one.id !== secret);
  if (secrets.length === before.secrets.length) throw new PacsError('NOT_FOUND', 'there is no such secret');
  await replace(index, tenant, before, { ...before, secrets });
}

function newSecret(clock: Clock, lifeMs: number): { secret: string; kept: ClientSecret & { hash: string } } {
  const secret = `${SECRET_PREFIX}${Buffer.from(clock.randomBytes(32)).toString('base64url')}`;
  const kept = { id: newVersion(clock), createdAt: clock.now(), expiresAt: clock.now() + lifeMs, hash: hashOf(secret) };
  return { secret, kept };
}

export interface KnownClient {
  readonly tenant: string;
  readonly client: MachineClient;
}

/** Of a tenant; undefined where there is none (any more). */
export async function clientOf(
  { index }: Pick<Ports, 'index'>,
  tenant: string,
  id: string,
): Promise<MachineClient | undefined> {
  const item = await index.get(clientKey(tenant, id));
  return item && shown(asRecord<ClientRecord>(item));
}

/** By its `client_id`; undefined where there is none (any more). */
export async function findClient({ index }: Pick<Ports, 'index'>, id: string): Promise<KnownClient | undefined> {
  const found = await find(index, id);
  return found && { tenant: found.tenant, client: shown(found.record) };
}

async function find(index: IndexTable, id: string): Promise<{ tenant: string; record: ClientRecord } | undefined> {
  if (!CLIENT_ID.test(id)) return undefined;
  const tenant = (await index.get(clientTenantKey(id)))?.tenant;
  if (typeof tenant !== 'string') return undefined;
  const item = await index.get(clientKey(tenant, id));
  return item && { tenant, record: asRecord<ClientRecord>(item) };
}

/** Who has this secret; undefined for a wrong or expired one. 256 random bits need no slow hash. */
export async function clientBySecret(
  { index, clock }: Ports,
  id: string,
  secret: string,
): Promise<KnownClient | undefined> {
  const found = await find(index, id);
  const given = Buffer.from(hashOf(secret), 'hex');
  if (found?.record.method !== 'client_secret') return undefined;
  const holds = found.record.secrets.some(
    ({ hash, expiresAt }) => expiresAt > clock.now() && timingSafeEqual(Buffer.from(hash, 'hex'), given),
  );
  return holds ? { tenant: found.tenant, client: shown(found.record) } : undefined;
}

/** Who has shown a certificate with one of these names (as MachineClient.certificates); undefined where nobody is registered with it. */
export async function clientByCertificate(
  { index }: Pick<Ports, 'index'>,
  names: readonly string[],
): Promise<KnownClient | undefined> {
  for (const name of names) {
    const { tenant, client } = ((await index.get(certificateKey(name))) ?? {}) as { tenant?: string; client?: string };
    const item = tenant !== undefined && client !== undefined && (await index.get(clientKey(tenant, client)));
    if (item && tenant !== undefined) return { tenant, client: shown(asRecord<ClientRecord>(item)) };
  }
  return undefined;
}

/** Takes an assertion for used: of two that come at once, one. @returns false where this one has been used before */
export async function useAssertion(
  { index, clock }: Ports,
  { client }: KnownClient,
  { jti, expiresAt }: { readonly jti: string; readonly expiresAt: number },
): Promise<boolean> {
  const key = assertionKey(client.id, jti);
  return (await index.write(putExpiring(clock, key, { item: {}, expiresAt, if: 'absent' }))).committed;
}

const shown = ({
  id,
  name,
  roles,
  method,
  gateway,
  secrets,
  keys,
  certificates,
  createdAt,
  createdBy,
}: ClientRecord): MachineClient => ({
  id,
  name,
  roles,
  method,
  ...(gateway !== undefined && { gateway }),
  secrets: secrets.map(({ id, createdAt, expiresAt }) => ({ id, createdAt, expiresAt })),
  keys,
  certificates,
  createdAt,
  createdBy,
});

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');
