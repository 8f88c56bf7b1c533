import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { readReach } from '#core/access/form.ts';
import type { Principal, Reach } from '#core/access.ts';
import { asPacsError } from '#core/errors.ts';
import type { TokenVerifier } from '#core/ports/token-verifier.ts';
import { guessDelayMs } from '#core/users/attempts.ts';
import { IDENTITY, type IdentityPolicy } from '#dimse/identity.ts';
import type { UserIdentity } from '#dimse/user-information.ts';
import { ConfigError, type DicomConfig, roleOf, TENANT } from './config.ts';

/**
 * User identities of associations (PS3.7 D.3.3.7): names and passcodes of a file, and tokens as the HTTP side takes them. Kerberos
 * and SAML are verified by nobody here.
 *
 *   [{ "name": "ct1", "passcode": "scrypt:…", "rights": ["store", "worklist"], "tenant": "clinic-b", "reach": [{ "sites": ["North"] }] }]
 *
 * `passcode` is what `nephos passcode` prints; without one the name alone is enough. `rights` are those of NEPHOS_DICOM_ALLOWED_AES, all
 * where absent. `reach`: rules of the studies that it reaches (docs/roles.md), all where absent.
 * @param now ms, of a clock that never goes back
 */
export function identityPolicy(
  { identity, users: path }: Pick<DicomConfig, 'identity' | 'users'>,
  tokens: TokenVerifier,
  tenant: string,
  now: () => number = () => performance.now(),
): IdentityPolicy | undefined {
  if (identity === 'off') return undefined;
  const guesses = new WrongPasscodes(now);
  const users = path === undefined ? new Map<string, User>() : readUsers(path, tenant);
  return {
    required: identity === 'required',
    async verify({ type, primary, secondary }: UserIdentity, from = '') {
      const text = Buffer.from(primary).toString('utf8');
      if (type === IDENTITY.username || type === IDENTITY.usernameAndPasscode)
        return guesses.counted(`${text.slice(0, 64)} ${from}`, () =>
          verifyUser(users.get(text), type === IDENTITY.username ? undefined : secondary),
        );
      if (type === IDENTITY.jsonWebToken) return tokens.verify(text);
      return 'unsupported';
    },
  };
}

const FREE_GUESSES = 5;
/** names and addresses that are kept; the one not heard of for longest goes */
const KEPT = 10_000;

/** Wrong passcodes by name and address: from the fifth on each doubles the wait. Of one process. */
class WrongPasscodes {
  readonly #now: () => number;
  readonly #wrong = new Map<string, { readonly count: number; readonly notBefore: number }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** What `verify` says; undefined without asking it where the wait is not over. A modality may ask many times at once: what is right does not count. */
  async counted(who: string, verify: () => Promise<Principal | undefined>): Promise<Principal | undefined> {
    if ((this.#wrong.get(who)?.notBefore ?? 0) > this.#now()) return undefined;
    const principal = await verify();
    const before = this.#wrong.get(who)?.count ?? 0;
    this.#wrong.delete(who);
    if (principal !== undefined) return principal;
    const count = before + 1;
    const waitMs = guessDelayMs(count, FREE_GUESSES);
    this.#wrong.set(who, { count, notBefore: waitMs === 0 ? 0 : this.#now() + waitMs });
    if (this.#wrong.size > KEPT) this.#wrong.delete(this.#wrong.keys().next().value!);
    return undefined;
  }
}

interface User {
  readonly principal: Principal;
  readonly passcode: string | undefined;
}

const derive = promisify(scrypt) as (passcode: Uint8Array, salt: Uint8Array, bytes: number) => Promise<Buffer>;
const KEY_BYTES = 32;
const SALT_BYTES = 16;
/** compared with where there is no such user, so that time tells nothing */
const NOBODY = `scrypt:${'A'.repeat(22)}:${'A'.repeat(43)}`;

/** A passcode as the file of users has it. */
export async function hashPasscode(passcode: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const key = await derive(Buffer.from(passcode), salt, KEY_BYTES);
  return `scrypt:${salt.toString('base64url')}:${key.toString('base64url')}`;
}

async function verifyUser(user: User | undefined, passcode: Uint8Array | undefined): Promise<Principal | undefined> {
  // A user with a passcode must show it; one without has none to be asked for.
  if (user !== undefined && user.passcode === undefined) return user.principal;
  if (passcode === undefined) return undefined;
  const [, salt = '', hash = ''] = (user?.passcode ?? NOBODY).split(':');
  const key = await derive(passcode, Buffer.from(salt, 'base64url'), KEY_BYTES);
  const isRight = timingSafeEqual(key, Buffer.from(hash, 'base64url'));
  return isRight ? user?.principal : undefined;
}

/** @throws ConfigError */
export const tenantsOfUsers = (path: string, archiveTenant: string): string[] =>
  [...readUsers(path, archiveTenant).values()].map(({ principal }) => principal.tenant);

function reachOf(value: unknown, wrong: (what: string) => ConfigError): Reach {
  try {
    return readReach(value, 'reach');
  } catch (error) {
    throw wrong(asPacsError(error).message);
  }
}

/** @throws ConfigError */
function readUsers(path: string, archiveTenant: string): Map<string, User> {
  const name = 'NEPHOS_DICOM_USERS';
  let rows: unknown;
  try {
    rows = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ConfigError(
      `${name}: ${path} cannot be read as JSON (${(error as NodeJS.ErrnoException).code ?? 'syntax'})`,
    );
  }
  if (!Array.isArray(rows)) throw new ConfigError(`${name}: ${path} is no list of users`);
  const users = new Map<string, User>();
  for (const row of rows as Record<string, unknown>[]) {
    const { name: subject, passcode, rights, reach, tenant = archiveTenant } = row ?? {};
    const wrong = (what: string): ConfigError => new ConfigError(`${name}: user ${users.size + 1} of ${path}: ${what}`);
    if (typeof subject !== 'string' || subject === '' || users.has(subject))
      throw wrong('name is missing or stands twice');
    if (passcode !== undefined && !(typeof passcode === 'string' && /^scrypt:[\w-]{22}:[\w-]{43}$/.test(passcode)))
      throw wrong('passcode is not what `nephos passcode` prints');
    if (typeof tenant !== 'string' || !TENANT.test(tenant)) throw wrong(`tenant must match ${TENANT.source}`);
    if (rights !== undefined && !Array.isArray(rights)) throw wrong('rights is no list');
    const roles = rights === undefined ? (['modality'] as const) : (rights as string[]).map(roleOf(name));
    const confined = reach === undefined ? {} : { reach: reachOf(reach, wrong) };
    users.set(subject, {
      principal: { tenant, subject, roles, ...confined },
      passcode: passcode as string | undefined,
    });
  }
  return users;
}
