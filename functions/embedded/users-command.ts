import { userInfo } from 'node:os';
import { parseArgs } from 'node:util';
import { LINK_PATH } from '#api/users.ts';
import { isRole, ROLES, type Role } from '#core/access.ts';
import type { AuditAction } from '#core/audit/event.ts';
import { type GivenLink, Users } from '#core/users/directory.ts';
import type { User } from '#core/users/records.ts';
import type { Archive } from './archive.ts';
import { type Config, ConfigError, originOf } from './config.ts';

const USAGE = `nephos users — the people who sign in at this archive

  nephos users list
  nephos users add NAME --roles ROLE,… [--full-name TEXT]   and the link by which he chooses a password
  nephos users link NAME                 a link by which somebody chooses a new password: good once, for a day
  nephos users roles NAME ROLE,…
  nephos users disable NAME              out at once, and not in again
  nephos users enable NAME
  nephos users drop-totp NAME            signs in by password alone again

Roles: ${ROLES.join(', ')}
`;

type Say = (text: string) => void;

/** @returns the exit code. @throws ConfigError, PacsError */
export async function usersCommand(
  args: readonly string[],
  open: () => Promise<[Archive, Config]>,
  say: Say,
): Promise<number> {
  const { positionals, values } = parsed(args);
  const [act, name, list] = positionals;
  if (values.help || act === undefined || (act !== 'list' && name === undefined)) {
    say(USAGE);
    return values.help ? 0 : 2;
  }
  const [archive, config] = await open();
  try {
    const users = new Users(archive.services);
    const { tenant } = config;
    const record = (kind: AuditAction): Promise<void> => recorded(archive, tenant, `users ${act}`, name!, kind);
    switch (act) {
      case 'list':
        for (const user of await users.list(tenant)) say(lineOf(user));
        return 0;
      case 'add': {
        const roles = rolesOf(values.roles);
        const asked = { name: name!, displayName: values['full-name'] ?? name!, roles, createdBy: userInfo().username };
        const { link } = await users.create(tenant, asked);
        await record('C');
        say(addressOf(config, link));
        return 0;
      }
      case 'link': {
        const link = await users.renewLink(tenant, name!);
        await record('U');
        say(addressOf(config, link));
        return 0;
      }
      case 'roles':
        await users.change(tenant, name!, { roles: rolesOf(list) });
        break;
      case 'disable':
      case 'enable':
        await users.change(tenant, name!, { isDisabled: act === 'disable' });
        break;
      case 'drop-totp':
        await users.clearTotp(tenant, name!);
        break;
      default:
        throw new ConfigError(USAGE);
    }
    await record('U');
    return 0;
  } finally {
    await archive.close();
  }
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { roles: { type: 'string' }, 'full-name': { type: 'string' }, help: { type: 'boolean' } },
    });
  } catch (error) {
    throw new ConfigError((error as Error).message);
  }
}

function rolesOf(text: string | undefined): Role[] {
  const roles = (text ?? '').split(',');
  if (!roles.every(isRole)) throw new ConfigError(`name some of the roles ${ROLES.join(', ')}`);
  return roles;
}

/** As clients most likely reach the archive; behind a proxy NEPHOS_PUBLIC_URL says it. */
const addressOf = (config: Config, { token, expiresAt }: GivenLink): string =>
  `${originOf(config, config.httpPort)}${LINK_PATH}${token}   until ${new Date(expiresAt).toISOString()}`;

function lineOf({ name, displayName, roles, isDisabled, hasPassword, hasTotp, lastLoginAt }: User): string {
  const state = [
    ...(isDisabled ? ['disabled'] : []),
    ...(hasPassword ? [] : ['no password yet']),
    ...(hasTotp ? ['second factor'] : []),
  ];
  const seen = lastLoginAt === undefined ? 'never here' : `last here ${new Date(lastLoginAt).toISOString()}`;
  return [name, roles.join(','), displayName, seen, ...state].join('  ');
}

async function recorded(
  { services: { audit, clock } }: Archive,
  tenant: string,
  transaction: string,
  about: string,
  action: AuditAction,
): Promise<void> {
  const act = { event: 'UserSecurityAttributes', action, outcome: 0, roles: [], door: 'command', transaction } as const;
  await audit.record(tenant, { at: clock.now(), ...act, subject: userInfo().username, about });
}
