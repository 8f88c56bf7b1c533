import { createHash } from 'node:crypto';
import type { Principal, Reach, Role } from './access.ts';
import { clientOf, clientPrincipal, type KnownClient } from './clients.ts';
import { expiryOf } from './expiring.ts';
import { newVersion } from './ids.ts';
import type { Clock } from './ports/clock.ts';
import { asItem, asRecord, type IndexTable, type Key } from './ports/index-table.ts';
import type { TokenVerifier } from './ports/token-verifier.ts';

/** How long a browser's session lasts (ms). */
export const SESSION_MS = 12 * 60 * 60 * 1000;
/** Tells our tokens from those of an issuer, and lets a scanner of leaked secrets find them. */
export const TOKEN_PREFIX = 'nephos_';
const BOOTSTRAP = { partition: '_system|tokens', sort: 'bootstrap' };

interface TokenRecord {
  tenant: string;
  subject: string;
  roles: Role[];
  /** as those of the principal */
  reach?: Reach;
  claims?: readonly string[];
  /** ms since 1970; null: until revoked */
  expiresAt: number | null;
  /** of a session: the hash of the token it was opened with; it ends with that one */
  parent?: string;
  /** of a machine client: its id; it ends with the client, and permits what the client may do when it is used */
  client?: string;
}

/** A token that an administrator has given out. The token itself is nowhere: it was shown once. */
export interface IssuedToken {
  readonly id: string;
  /** what it is for, in the words of who made it */
  readonly name: string;
  /** whom the audit trail names for what is done with it */
  readonly subject: string;
  readonly roles: readonly Role[];
  /** the studies that it reaches at most */
  readonly reach?: Reach | undefined;
  readonly createdAt: number;
  readonly createdBy: string;
  /** ms since 1970; null: until revoked */
  readonly expiresAt: number | null;
}

const issuedKey = (tenant: string, id: string): Key => ({ partition: `${tenant}|tokens`, sort: id });
/** Tokens of one tenant that are listed. */
const ISSUED_TOKENS = 1_000;

/**
 * Opaque tokens, kept as SHA-256 only: 256 random bits need no slow hash, and a look-up by hash compares nothing secret.
 * Serves the bootstrap administrator and the sessions of browsers.
 */
export class TokenStore implements TokenVerifier {
  readonly #index: IndexTable;
  readonly #clock: Clock;

  constructor(ports: { readonly index: IndexTable; readonly clock: Clock }) {
    this.#index = ports.index;
    this.#clock = ports.clock;
  }

  /** The administrator's token at the very first start; undefined ever after: it is shown once and kept hashed. */
  async bootstrap(tenant: string): Promise<string | undefined> {
    const { token, hash } = this.#newToken();
    const record: TokenRecord = { tenant, subject: 'admin', roles: ['admin'], expiresAt: null };
    const outcome = await this.#index.write([
      { kind: 'put', key: BOOTSTRAP, item: { hash }, if: 'absent' },
      { kind: 'put', key: keyOf(hash), item: asItem(record) },
    ]);
    return outcome.committed ? token : undefined;
  }

  /** A new administrator's token; the one before stops working. */
  async renewBootstrap(tenant: string): Promise<string> {
    return this.#renew(BOOTSTRAP, { tenant, subject: 'admin', roles: ['admin'], expiresAt: null });
  }

  /** A new token of one edge gateway, which may report for that one alone; the one before stops working. */
  async renewGateway(tenant: string, id: string): Promise<string> {
    const key = { partition: '_system|tokens', sort: `gateway|${tenant}|${id}` };
    return this.#renew(key, { tenant, subject: `gateway:${id}`, roles: ['gateway'], expiresAt: null });
  }

  /** Takes back what `renewGateway` gave: the gateway has another identity now. */
  async forgetGateway(tenant: string, id: string): Promise<void> {
    const key = { partition: '_system|tokens', sort: `gateway|${tenant}|${id}` };
    const old = await this.#index.get(key);
    if (typeof old?.hash !== 'string') return;
    await this.#index.write([
      { kind: 'delete', key },
      { kind: 'delete', key: keyOf(old.hash) },
    ]);
  }

  /** `key` remembers which token is to be forgotten next time. */
  async #renew(key: Key, record: TokenRecord): Promise<string> {
    const old = await this.#index.get(key);
    const { token, hash } = this.#newToken();
    await this.#index.write([
      { kind: 'put', key, item: { hash } },
      { kind: 'put', key: keyOf(hash), item: asItem(record) },
      ...(typeof old?.hash === 'string' ? [{ kind: 'delete' as const, key: keyOf(old.hash) }] : []),
    ]);
    return token;
  }

  /** A new token for a machine or a person, for what its roles permit. @returns the token, which nobody can be told again */
  async issue(tenant: string, asked: Omit<IssuedToken, 'id' | 'createdAt'>): Promise<IssuedToken & { token: string }> {
    const { token, hash } = this.#newToken();
    const issued: IssuedToken = { id: newVersion(this.#clock), createdAt: this.#clock.now(), ...asked };
    const { subject, roles, reach, expiresAt } = asked;
    const record: TokenRecord = { tenant, subject, roles: [...roles], ...(reach && { reach }), expiresAt };
    await this.#index.write([
      { kind: 'put', key: issuedKey(tenant, issued.id), item: asItem({ ...issued, hash }) },
      { kind: 'put', key: keyOf(hash), item: asItem(record) },
    ]);
    return { ...issued, token };
  }

  /** Newest first. */
  async listIssued(tenant: string): Promise<IssuedToken[]> {
    const { partition } = issuedKey(tenant, '');
    const { records } = await this.#index.query({ partition, descending: true, limit: ISSUED_TOKENS });
    return records.map(({ item: { hash: _, ...issued } }) => asRecord<IssuedToken>(issued));
  }

  /** It stops working at once, and so do the sessions opened with it. @returns whether there was such a token */
  async revokeIssued(tenant: string, id: string): Promise<boolean> {
    const item = await this.#index.get(issuedKey(tenant, id));
    if (typeof item?.hash !== 'string') return false;
    await this.#index.write([
      { kind: 'delete', key: keyOf(item.hash) },
      { kind: 'delete', key: issuedKey(tenant, id) },
    ]);
    return true;
  }

  /**
   * @param opened with what token: where that is one of ours the session ends with it, and where it is a session's with what that was opened with;
   * `until`: its end, where it is sooner than that of a session (ms since 1970)
   */
  async openSession(
    principal: Principal,
    { token, until = Number.POSITIVE_INFINITY }: { readonly token?: string; readonly until?: number } = {},
  ): Promise<string> {
    const made = this.#newToken();
    const { tenant, subject, roles, reach, claims } = principal;
    const expiresAt = Math.min(until, this.#clock.now() + SESSION_MS);
    const parent = token?.startsWith(TOKEN_PREFIX) ? await this.#origin(hashOf(token)) : undefined;
    const key = keyOf(made.hash);
    const record: TokenRecord = {
      tenant,
      subject,
      roles: [...roles],
      ...(reach && { reach }),
      ...(claims && { claims }),
      expiresAt,
      ...(parent !== undefined && { parent }),
    };
    await this.#index.write([{ kind: 'put', key, item: asItem(record) }, expiryOf(key, expiresAt)]);
    return made.token;
  }

  /** A token for a machine client that has shown who it is, for those of its roles that `client` names. */
  async openForClient({ tenant, client }: KnownClient, lifeMs: number): Promise<string> {
    const made = this.#newToken();
    const { subject, roles } = clientPrincipal(tenant, client);
    const expiresAt = this.#clock.now() + lifeMs;
    const record: TokenRecord = { tenant, subject, roles: [...roles], expiresAt, client: client.id };
    const key = keyOf(made.hash);
    await this.#index.write([{ kind: 'put', key, item: asItem(record) }, expiryOf(key, expiresAt)]);
    return made.token;
  }

  async revoke(token: string): Promise<void> {
    await this.#index.write([{ kind: 'delete', key: keyOf(hashOf(token)) }]);
  }

  async verify(token: string): Promise<Principal | undefined> {
    const record = await this.#valid(hashOf(token));
    const parent = record?.parent === undefined ? record : await this.#valid(record.parent);
    if (!record || !parent) return undefined;
    if (parent.client !== undefined) {
      const client = await clientOf({ index: this.#index }, parent.tenant, parent.client);
      if (client === undefined) return undefined;
      const principal = clientPrincipal(parent.tenant, client);
      return { ...principal, roles: principal.roles.filter((role) => parent.roles.includes(role)) };
    }
    const { tenant, subject, roles, reach, claims } = record;
    return { tenant, subject, roles, ...(reach && { reach }), ...(claims && { claims }) };
  }

  /** What a token goes back to: itself, or what its session was opened with. Sessions out of sessions would outlive what they began with. */
  async #origin(hash: string): Promise<string> {
    return (await this.#valid(hash))?.parent ?? hash;
  }

  async #valid(hash: string): Promise<TokenRecord | undefined> {
    const record = asRecord<TokenRecord>(await this.#index.get(keyOf(hash)));
    return record && (record.expiresAt === null || record.expiresAt > this.#clock.now()) ? record : undefined;
  }

  #newToken(): { token: string; hash: string } {
    const token = `${TOKEN_PREFIX}${Buffer.from(this.#clock.randomBytes(32)).toString('base64url')}`;
    return { token, hash: hashOf(token) };
  }
}

const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex');
const keyOf = (hash: string) => ({ partition: `_system|token|${hash}`, sort: 'token' });
