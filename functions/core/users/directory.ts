import type { Role } from '../access.ts';
import { PacsError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import { asItem, asRecord, type IndexTable, type WriteOperation } from '../ports/index-table.ts';
import { dropLink, findLink, type Link, newLink } from './links.ts';
import { checkPassword, Passwords } from './passwords.ts';
import {
  checkedDisplayName,
  checkedName,
  shown,
  USERS,
  type User,
  type UserRecord,
  userKey,
  usersHeadKey,
} from './records.ts';

/** Others who change the same person at the same moment come first. */
const TRIES = 20;

/** The secret part of a one-time address, and when it runs out (ms since 1970). */
export interface GivenLink {
  readonly token: string;
  readonly expiresAt: number;
}

export interface UserChange {
  readonly displayName?: string;
  readonly roles?: readonly Role[];
  readonly isDisabled?: boolean;
}

/** The people who sign in at the archive itself: who they are and what they may do. */
export class Users {
  readonly #index: IndexTable;
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly passwords: Passwords;

  constructor(
    ports: { readonly index: IndexTable; readonly clock: Clock; readonly limits: Limits },
    passwords: Passwords = new Passwords(ports.clock),
  ) {
    this.#index = ports.index;
    this.#clock = ports.clock;
    this.#limits = ports.limits;
    this.passwords = passwords;
  }

  async find(tenant: string, name: string): Promise<UserRecord | undefined> {
    const item = await this.#index.get(userKey(tenant, name));
    return asRecord<UserRecord>(item);
  }

  /** By name. */
  async list(tenant: string): Promise<User[]> {
    return (await this.#all(tenant)).map(shown);
  }

  /** Whether somebody can sign in who may administer. */
  async hasAdministrator(tenant: string): Promise<boolean> {
    return (await this.#all(tenant)).some((user) => isAdministrator(user) && user.password !== undefined);
  }

  /** A person, and the link by which he chooses a password. @throws PacsError BAD_REQUEST; CONFLICT: the name is taken */
  async create(
    tenant: string,
    asked: {
      readonly name: string;
      readonly displayName: string;
      readonly roles: readonly Role[];
      readonly createdBy: string;
    },
  ): Promise<{ readonly user: User; readonly link: GivenLink }> {
    const name = checkedName(asked.name);
    const count = (await this.#index.query({ ...partitionOf(tenant), limit: USERS, keysOnly: true })).records.length;
    if (count >= USERS) throw new PacsError('TOO_LARGE', 'there are too many people', { details: { limit: USERS } });
    const { token, digest, expiresAt, write } = newLink(this.#clock, tenant, name, this.#limits.userLinkMs);
    const record: UserRecord = {
      ...this.#newRecord(name, asked.displayName, asked.roles, asked.createdBy),
      link: digest,
    };
    const key = userKey(tenant, name);
    const outcome = await this.#index.write([{ kind: 'put', key, item: asItem(record), if: 'absent' }, ...write]);
    if (!outcome.committed) throw new PacsError('CONFLICT', 'There is a person of this name already.');
    return { user: shown(record), link: { token, expiresAt } };
  }

  /**
   * Whoever is disabled, or is given other roles, has them from his next request on.
   * @throws PacsError BAD_REQUEST; NOT_FOUND; CONFLICT: nobody would be left who may administer
   */
  async change(tenant: string, name: string, change: UserChange): Promise<User> {
    const displayName = change.displayName === undefined ? undefined : checkedDisplayName(change.displayName);
    for (let tries = 0; tries < TRIES; tries++) {
      const head = await this.#index.get(usersHeadKey(tenant));
      const all = await this.#all(tenant);
      const before = all.find((user) => user.name === name);
      if (before === undefined) throw notFound();
      const after: UserRecord = {
        ...before,
        version: before.version + 1,
        displayName: displayName ?? before.displayName,
        roles: change.roles ?? before.roles,
        isDisabled: change.isDisabled ?? before.isDisabled,
        sessionsFrom: change.isDisabled === true ? this.#clock.now() : before.sessionsFrom,
      };
      const others = all.some((user) => user.name !== name && isAdministrator(user) && user.password !== undefined);
      if (isAdministrator(before) && !isAdministrator(after) && !others)
        throw new PacsError('CONFLICT', 'Nobody would be left who may administer the archive.');
      const outcome = await this.#index.write([
        { kind: 'put', key: userKey(tenant, name), item: asItem(after), if: { version: before.version } },
        // Two who take each other's roles away at the same moment: the second one looks again.
        {
          kind: 'put',
          key: usersHeadKey(tenant),
          item: { version: Number(head?.version ?? 0) + 1 },
          if: head === undefined ? 'absent' : { version: Number(head.version) },
        },
      ]);
      if (outcome.committed) return shown(after);
    }
    throw busy();
  }

  /** A link by which the person chooses a new password; one given before stops working, the password does when the link is used. */
  async renewLink(tenant: string, name: string): Promise<GivenLink> {
    const { token, digest, expiresAt, write } = newLink(this.#clock, tenant, name, this.#limits.userLinkMs);
    await this.update(tenant, name, (user) => ({
      user: { ...user, link: digest },
      with: [...write, ...(user.link === undefined ? [] : [dropLink(user.link)])],
    }));
    return { token, expiresAt };
  }

  /** The person signs in by password alone again. */
  async clearTotp(tenant: string, name: string): Promise<void> {
    await this.update(tenant, name, ({ totp: _, totpOffered: __, ...user }) => ({
      user: { ...user, sessionsFrom: this.#clock.now() },
    }));
  }

  /** The link by which the first administrator is made; the one before stops working. Undefined: there is one already. */
  async setupLink(tenant: string): Promise<GivenLink | undefined> {
    if (await this.hasAdministrator(tenant)) return undefined;
    const key = { ...usersHeadKey(tenant), sort: 'setup' };
    const before = await this.#index.get(key);
    const { token, digest, expiresAt, write } = newLink(this.#clock, tenant, undefined, this.#limits.userLinkMs);
    await this.#index.write([
      { kind: 'put', key, item: { digest } },
      ...write,
      ...(typeof before?.digest === 'string' ? [dropLink(before.digest)] : []),
    ]);
    return { token, expiresAt };
  }

  /** Whom a link is for; undefined: it is not good (any more). `name` is empty where the first administrator chooses it. */
  async linked(
    token: string,
  ): Promise<{ readonly tenant: string; readonly name: string; readonly displayName: string } | undefined> {
    const link = await findLink({ index: this.#index, clock: this.#clock }, token);
    if (link === undefined) return undefined;
    if (link.name === undefined)
      return (await this.hasAdministrator(link.tenant))
        ? undefined
        : { tenant: link.tenant, name: '', displayName: '' };
    const user = await this.find(link.tenant, link.name);
    if (user === undefined || user.link !== link.digest || user.isDisabled) return undefined;
    return { tenant: link.tenant, name: user.name, displayName: user.displayName };
  }

  /**
   * Sets the password of whom the link is for; his sessions are over. The link works once.
   * @throws PacsError BAD_REQUEST in words for the person; GONE
   */
  async useLink(
    token: string,
    chosen: { readonly password: string; readonly name?: string; readonly displayName?: string },
  ): Promise<{ readonly tenant: string; readonly user: UserRecord }> {
    const link = await findLink({ index: this.#index, clock: this.#clock }, token);
    if (link === undefined) throw gone();
    if (link.name === undefined) return this.#makeFirst(link, chosen);
    checkPassword(chosen.password, link.name, this.#limits.passwordCharacters);
    const password = await this.passwords.hash(chosen.password);
    const user = await this.update(link.tenant, link.name, ({ link: digest, ...before }) => {
      if (digest !== link.digest || before.isDisabled) throw gone();
      return { user: { ...before, ...this.#newPassword(password) }, with: [link.use], otherwise: gone };
    });
    return { tenant: link.tenant, user };
  }

  /** Replaces the person's password; his sessions are over. @throws PacsError BAD_REQUEST in words for the person; NOT_FOUND */
  async setPassword(tenant: string, name: string, password: string): Promise<UserRecord> {
    checkPassword(password, name, this.#limits.passwordCharacters);
    const kept = await this.passwords.hash(password);
    return this.update(tenant, name, (user) => ({ user: { ...user, ...this.#newPassword(kept) } }));
  }

  /**
   * Read, change, write, again where somebody else has changed the same person meanwhile.
   * @param change `with`: what is written together with it; `otherwise`: the error where that is what failed
   */
  async update(
    tenant: string,
    name: string,
    change: (user: UserRecord) => {
      readonly user: UserRecord;
      readonly with?: readonly WriteOperation[];
      readonly otherwise?: () => PacsError;
    },
  ): Promise<UserRecord> {
    for (let tries = 0; tries < TRIES; tries++) {
      const before = await this.find(tenant, name);
      if (before === undefined) throw notFound();
      const { user, with: more = [], otherwise } = change(before);
      const after = { ...user, version: before.version + 1 };
      const outcome = await this.#index.write([
        { kind: 'put', key: userKey(tenant, name), item: asItem(after), if: { version: before.version } },
        ...more,
      ]);
      if (outcome.committed) return after;
      if (otherwise && !outcome.failed.includes(0)) throw otherwise();
    }
    throw busy();
  }

  async #makeFirst(
    { tenant, use }: Link,
    chosen: { readonly password: string; readonly name?: string; readonly displayName?: string },
  ): Promise<{ readonly tenant: string; readonly user: UserRecord }> {
    if (await this.hasAdministrator(tenant)) throw gone();
    const name = checkedName(chosen.name ?? '');
    checkPassword(chosen.password, name, this.#limits.passwordCharacters);
    const password = await this.passwords.hash(chosen.password);
    const displayName = chosen.displayName?.trim() ? chosen.displayName : name;
    const user = { ...this.#newRecord(name, displayName, ['admin'], 'setup'), ...this.#newPassword(password) };
    const outcome = await this.#index.write([
      { kind: 'put', key: userKey(tenant, name), item: asItem(user), if: 'absent' },
      use,
    ]);
    if (!outcome.committed && outcome.failed.includes(1)) throw gone();
    if (!outcome.committed) throw new PacsError('CONFLICT', 'There is a person of this name already.');
    return { tenant, user };
  }

  #newRecord(name: string, displayName: string, roles: readonly Role[], createdBy: string): UserRecord {
    const now = this.#clock.now();
    return {
      version: 1,
      name,
      displayName: checkedDisplayName(displayName),
      roles: [...new Set(roles)],
      isDisabled: false,
      createdAt: now,
      createdBy,
      sessionsFrom: now,
    };
  }

  #newPassword(password: string): Pick<UserRecord, 'password' | 'passwordChangedAt' | 'sessionsFrom'> {
    const now = this.#clock.now();
    return { password, passwordChangedAt: now, sessionsFrom: now };
  }

  async #all(tenant: string): Promise<UserRecord[]> {
    const { records } = await this.#index.query({ ...partitionOf(tenant), limit: USERS });
    return records.map(({ item }) => asRecord<UserRecord>(item));
  }
}

const partitionOf = (tenant: string) => ({ partition: userKey(tenant, '').partition });
const isAdministrator = ({ roles, isDisabled }: UserRecord): boolean => roles.includes('admin') && !isDisabled;
const notFound = (): PacsError => new PacsError('NOT_FOUND', 'There is no such person.');
const gone = (): PacsError =>
  new PacsError('GONE', 'This link has been used or has run out. An administrator can give you another.');
const busy = (): PacsError => new PacsError('BUSY', 'somebody else is changing the same person');
