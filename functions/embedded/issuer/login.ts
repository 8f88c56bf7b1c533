import { openIssuerKeys } from '#adapters/local/issuer-keys.ts';
import { readMasterKeys } from '#adapters/local/key-ring.ts';
import { secretBox } from '#adapters/local/secret-box.ts';
import { OidcLogin } from '#adapters/oidc/oidc-login.ts';
import type { LoginDoor } from '#api/login.ts';
import { Logins } from '#core/logins.ts';
import { Users } from '#core/users/directory.ts';
import { principalOf } from '#core/users/records.ts';
import { SignIn } from '#core/users/sign-in.ts';
import type { HttpRequest, HttpResponse } from '#dicomweb/http.ts';
import type { Archive } from '../archive.ts';
import type { Config } from '../config.ts';
import { CONSOLE_CLIENT_ID } from './clients.ts';
import { Doors } from './doors.ts';
import type { Issuer } from './issuer.ts';
import { ISSUER_PATH } from './path.ts';

/** How people sign in: at the archive's own issuer, or at the one that the environment names. */
export interface Login {
  /** undefined: by access token alone */
  readonly door: LoginDoor | undefined;
  /** of the archive's own issuer; undefined: the path is not its, or it is elsewhere */
  answer(request: HttpRequest): Promise<HttpResponse | undefined>;
}

type LoginConfig = Pick<Config, 'auth' | 'dataDir' | 'tenant' | 'oidc'> & Partial<Pick<Config, 'encryptionKeyFile'>>;

/** Undefined where everybody may do everything. @throws ConfigError when the file of keys cannot be opened */
export async function openLogin(
  { services }: Pick<Archive, 'services'>,
  config: LoginConfig,
  onDefect: (error: unknown) => void,
): Promise<Login | undefined> {
  if (config.auth === 'off') return undefined;
  if (config.oidc !== undefined) {
    const issuer = OidcLogin.of(config.oidc, services.clock);
    return {
      door: issuer && { logins: new Logins(services, issuer), onRefused: onDefect },
      answer: async () => undefined,
    };
  }
  const { index, clock, limits, audit } = services;
  const { tenant, dataDir } = config;
  const masterKeys = config.encryptionKeyFile === undefined ? [] : await readMasterKeys(config.encryptionKeyFile);
  const { secretKey } = await openIssuerKeys(dataDir, masterKeys);
  const users = new Users({ index, clock, limits });
  const signIn = new SignIn({ index, clock, audit }, users, secretBox(secretKey));
  const doors = new Doors({ index, clock, limits, audit, tenant, users, signIn, onDefect });
  // A quarter of all modules: archives that have no issuer of their own do without.
  const issuer = await (await import('./issuer.ts')).Issuer.open({
    ...{ index, clock, dataDir, masterKeys, onDefect },
    pages: (...asked) => doors.answer(...asked),
    account: async (name, signedInAt) => {
      const user = await users.find(tenant, name);
      if (user === undefined || user.isDisabled) return undefined;
      if (signedInAt !== undefined && signedInAt * 1000 < user.sessionsFrom) return undefined;
      return { name, displayName: user.displayName, roles: user.roles, tenant };
    },
  });
  const settings = (origin: string) => ({
    issuer: origin + ISSUER_PATH,
    audiences: [CONSOLE_CLIENT_ID],
    jwksUrl: undefined,
    tenantClaim: 'tenant',
    tenants: [tenant],
    rolesClaim: 'roles',
    roles: undefined,
  });
  const fetch = ((url: string | URL, init?: RequestInit) =>
    issuer.fetch(String(url), init as Parameters<Issuer['fetch']>[1])) as typeof globalThis.fetch;
  const logins = new Logins(services, new OidcLogin({ settings, clientId: CONSOLE_CLIENT_ID, fetch }, clock), {
    principal: async (ofTenant, name, openedAt) => {
      const user = ofTenant === tenant ? await users.find(tenant, name) : undefined;
      if (user === undefined || user.isDisabled || openedAt < user.sessionsFrom) return undefined;
      return principalOf(tenant, user);
    },
  });
  return { door: { logins, people: { users, signIn } }, answer: (request) => issuer.answer(request) };
}
