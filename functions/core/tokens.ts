import { createHash } from 'node:crypto';
import type { Principal, Role } from './access.ts';
import type { Clock } from './ports/clock.ts';
import type { IndexTable, Key } from './ports/index-table.ts';
import type { TokenVerifier } from './ports/token-verifier.ts';

/** How long a browser's session lasts (ms). */
export const SESSION_MS = 12 * 60 * 60 * 1000;
const BOOTSTRAP = { partition: '_system|tokens', sort: 'bootstrap' };

interface TokenRecord {
  tenant: string;
  subject: string;
  roles: Role[];
  /** ms since 1970; null: until revoked */
  expiresAt: number | null;
}

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
      { kind: 'put', key: keyOf(hash), item: { ...record } },
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

  /** `key` remembers which token is to be forgotten next time. */
  async #renew(key: Key, record: TokenRecord): Promise<string> {
    const old = await this.#index.get(key);
    const { token, hash } = this.#newToken();
    await this.#index.write([
      { kind: 'put', key, item: { hash } },
      { kind: 'put', key: keyOf(hash), item: { ...record } },
      ...(typeof old?.hash === 'string' ? [{ kind: 'delete' as const, key: keyOf(old.hash) }] : []),
    ]);
    return token;
  }

  async openSession(principal: Principal): Promise<string> {
    const { token, hash } = this.#newToken();
    const { tenant, subject, roles } = principal;
    const record: TokenRecord = { tenant, subject, roles: [...roles], expiresAt: this.#clock.now() + SESSION_MS };
    await this.#index.write([{ kind: 'put', key: keyOf(hash), item: { ...record } }]);
    return token;
  }

  async revoke(token: string): Promise<void> {
    await this.#index.write([{ kind: 'delete', key: keyOf(hashOf(token)) }]);
  }

  async verify(token: string): Promise<Principal | undefined> {
    const item = await this.#index.get(keyOf(hashOf(token)));
    if (!item) return undefined;
    const { tenant, subject, roles, expiresAt } = item as unknown as TokenRecord;
    if (expiresAt !== null && expiresAt <= this.#clock.now()) return undefined;
    return { tenant, subject, roles };
  }

  #newToken(): { token: string; hash: string } {
    const token = `nephos_${Buffer.from(this.#clock.randomBytes(32)).toString('base64url')}`;
    return { token, hash: hashOf(token) };
  }
}

const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex');
const keyOf = (hash: string) => ({ partition: `_system|token|${hash}`, sort: 'token' });
