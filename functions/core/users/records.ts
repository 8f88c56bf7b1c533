import type { Principal, Role } from '../access.ts';
import { PacsError } from '../errors.ts';
import type { Key } from '../ports/index-table.ts';

/** A person who signs in here: what is kept of him. Nobody is ever removed, so a name in the audit trail stays one person's. */
export interface UserRecord {
  readonly version: number;
  /** by which he signs in; also the subject that the audit trail names */
  readonly name: string;
  readonly displayName: string;
  readonly roles: readonly Role[];
  readonly isDisabled: boolean;
  /** ms since 1970 */
  readonly createdAt: number;
  readonly createdBy: string;
  readonly lastLoginAt?: number | undefined;
  /** sessions that were opened before are over (ms since 1970) */
  readonly sessionsFrom: number;
  /** as Passwords.hash gives it; absent: he has only been sent a link */
  readonly password?: string | undefined;
  readonly passwordChangedAt?: number | undefined;
  /** digest of the one link that he may come in by */
  readonly link?: string | undefined;
  readonly totp?: TotpRecord | undefined;
  /** a secret that he has been shown and not yet proved to hold, sealed */
  readonly totpOffered?: string | undefined;
}

export interface TotpRecord {
  /** sealed */
  readonly secret: string;
  /** of the last code that was accepted */
  readonly lastStep: number;
  /** digests of the recovery codes that are left */
  readonly recovery: readonly string[];
}

/** A person as administrators see him. */
export interface User
  extends Pick<
    UserRecord,
    'name' | 'displayName' | 'roles' | 'isDisabled' | 'createdAt' | 'createdBy' | 'lastLoginAt' | 'passwordChangedAt'
  > {
  readonly hasPassword: boolean;
  readonly hasTotp: boolean;
  /** somebody has been sent a link that is still good, or has run out unused */
  readonly hasLink: boolean;
}

/** people of a tenant */
export const USERS = 10_000;
const NAME = /^[a-z0-9][a-z0-9._@+-]{1,63}$/;
const DISPLAY_NAME_CHARACTERS = 100;

export const userKey = (tenant: string, name: string): Key => ({ partition: `${tenant}|users`, sort: name });
/** Counts the changes of who may do what, so that two of them cannot pass each other. */
export const usersHeadKey = (tenant: string): Key => ({ partition: `${tenant}|usershead`, sort: 'head' });

export const principalOf = (tenant: string, { name, roles }: Pick<UserRecord, 'name' | 'roles'>): Principal => ({
  tenant,
  subject: name,
  roles: [...roles],
});

export const shown = (record: UserRecord): User => {
  const { name, displayName, roles, isDisabled, createdAt, createdBy, lastLoginAt, passwordChangedAt } = record;
  return {
    ...{ name, displayName, roles, isDisabled, createdAt, createdBy, lastLoginAt, passwordChangedAt },
    hasPassword: record.password !== undefined,
    hasTotp: record.totp !== undefined,
    hasLink: record.link !== undefined,
  };
};

/** A name in the form that is kept: nobody minds capitals and blanks around it. */
export const normalName = (text: string): string => text.normalize('NFKC').trim().toLowerCase();

/** @throws PacsError BAD_REQUEST */
export function checkedName(text: string): string {
  const name = normalName(text);
  if (NAME.test(name)) return name;
  throw new PacsError(
    'BAD_REQUEST',
    'A user name has 2 to 64 letters a to z, digits and . _ - + @, and begins with a letter or digit.',
    {
      details: { parameter: 'name' },
    },
  );
}

/** @throws PacsError BAD_REQUEST */
export function checkedDisplayName(text: string): string {
  const name = text.normalize('NFC').trim();
  if (name !== '' && name.length <= DISPLAY_NAME_CHARACTERS && !/[\p{C}<>]/u.test(name)) return name;
  throw new PacsError('BAD_REQUEST', `A full name has 1 to ${DISPLAY_NAME_CHARACTERS} characters.`, {
    details: { parameter: 'displayName' },
  });
}
