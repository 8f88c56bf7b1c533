import { createPublicKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { parseArgs } from 'node:util';
import { isRole, ROLES, type Role } from '#core/access.ts';
import { type PublicJwk, readCertificateName, readPublicJwk } from '#core/client-proof.ts';
import {
  addSecret,
  CLIENT_METHODS,
  createClient,
  deleteClient,
  listClients,
  type MachineClient,
  removeSecret,
} from '#core/clients.ts';
import { invite } from '#core/enrolment.ts';
import type { Services } from '#core/services.ts';
import type { Archive } from './archive.ts';
import { type Config, ConfigError } from './config.ts';

const CLIENTS_USAGE = `nephos clients — programs that ask by themselves, and what each may do

  nephos clients list
  nephos clients add NAME --roles ROLE,…              with a secret, shown once: --days N until it ends (180)
  nephos clients add NAME --roles ROLE,… --key FILE   that signs with a key: its public half, PEM or JWK
  nephos clients add NAME --roles ROLE,… --certificate FILE | DNS:name | URI:… | SHA256:…   that shows a certificate
  nephos clients secret ID [--days N]                 a second secret, so that the first can be replaced while it still holds
  nephos clients drop-secret ID SECRET                take a secret back, by the id that list shows
  nephos clients revoke ID                            refused from now on, with all its tokens

Roles: ${ROLES.join(', ')}
`;
const ENROL_USAGE = `nephos enrol GATEWAY [--minutes N] [--configuration-key FILE]

A one-time code for the edge gateway of that id, shown once: npm run edge -- enrol ARCHIVE, which asks for it. --minutes: until it ends (60).
--configuration-key: Ed25519, PEM: the public key whose signed configurations the gateway is to take.
`;
const DAY_MS = 24 * 60 * 60 * 1000;
const MINUTE_MS = 60_000;

type Say = (text: string) => void;
type Tools = { readonly services: Services; readonly tenant: string; readonly by: string };
type Values = Readonly<Record<string, string | boolean | undefined>>;

/** @returns the exit code. @throws ConfigError, PacsError */
export async function clientsCommand(args: readonly string[], open: () => Promise<[Archive, Config]>, say: Say) {
  const { positionals, values } = parsed(args, ['roles', 'key', 'certificate', 'days']);
  const [act, subject, secret] = positionals;
  if (values.help || act === undefined || (act !== 'list' && subject === undefined)) {
    say(CLIENTS_USAGE);
    return values.help ? 0 : 2;
  }
  return withTools(open, `clients ${act}`, act !== 'list', async (tools) => {
    switch (act) {
      case 'list':
        for (const client of await listClients(tools.services, tools.tenant)) say(lineOf(client));
        return 0;
      case 'add':
        return add(tools, subject!, values, say);
      case 'secret': {
        const made = await addSecret(tools.services, tools.tenant, subject!, wholeOf(values.days, 180) * DAY_MS);
        say(made.secret);
        return 0;
      }
      case 'drop-secret':
        await removeSecret(tools.services, tools.tenant, subject!, secret ?? '');
        return 0;
      case 'revoke':
        await deleteClient(tools.services, tools.tenant, subject!);
        return 0;
      default:
        throw new ConfigError(CLIENTS_USAGE);
    }
  });
}

/** @returns the exit code. @throws ConfigError, PacsError */
export async function enrolmentCommand(args: readonly string[], open: () => Promise<[Archive, Config]>, say: Say) {
  const { positionals, values } = parsed(args, ['minutes', 'configuration-key']);
  const [gateway] = positionals;
  if (values.help || gateway === undefined) {
    say(ENROL_USAGE);
    return values.help ? 0 : 2;
  }
  return withTools(open, 'enrol', true, async ({ services, tenant, by }) => {
    const key = values['configuration-key'];
    const { code, expiresAt } = await invite(services, tenant, {
      gateway,
      createdBy: by,
      expiresAt: services.clock.now() + wholeOf(values.minutes, 60) * MINUTE_MS,
      ...(typeof key === 'string' && { configurationKey: configurationKey(read(key)) }),
    });
    say(`${code}   until ${new Date(expiresAt).toISOString()}`);
    return 0;
  });
}

function configurationKey(pem: string): string {
  const key = createPublicKey(pem);
  if (key.asymmetricKeyType !== 'ed25519') throw new ConfigError('--configuration-key names no Ed25519 key');
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

async function add({ services, tenant, by }: Tools, name: string, values: Values, say: Say): Promise<number> {
  const roles = String(values.roles ?? '').split(',');
  if (!roles.every(isRole)) throw new ConfigError(`--roles: some of ${ROLES.join(', ')}`);
  const keys = typeof values.key === 'string' ? [publicJwk(read(values.key))] : [];
  const certificates = typeof values.certificate === 'string' ? [certificateName(values.certificate)] : [];
  if (keys.length > 0 && certificates.length > 0) throw new ConfigError('--key or --certificate, not both');
  const method = CLIENT_METHODS[keys.length > 0 ? 1 : certificates.length > 0 ? 2 : 0];
  const asked = { name, roles: roles as Role[], method, keys, certificates };
  const { client, secret } = await createClient(services, tenant, asked, by, wholeOf(values.days, 180) * DAY_MS);
  say(client.id);
  if (secret !== undefined) say(secret);
  return 0;
}

/** Of a private key in PEM, which is often all there is, its public half. */
function publicJwk(text: string): PublicJwk {
  if (!text.includes('-----BEGIN')) {
    const jwk = JSON.parse(text);
    return readPublicJwk(jwk.keys?.[0] ?? jwk);
  }
  return readPublicJwk(createPublicKey(text).export({ format: 'jwk' }));
}

/** A file in PEM stands for the certificate in it. */
function certificateName(text: string): string {
  if (/^(SHA256|DNS|URI|IP Address|email):/i.test(text)) return readCertificateName(text);
  return readCertificateName(`SHA256:${new X509Certificate(read(text)).fingerprint256}`);
}

const lineOf = ({ id, method, roles, gateway, secrets }: MachineClient): string =>
  [
    id,
    method,
    roles.join('+'),
    ...(gateway === undefined ? [] : [`gateway ${gateway}`]),
    ...secrets.map((secret) => `secret ${secret.id} until ${new Date(secret.expiresAt).toISOString().slice(0, 10)}`),
  ].join('  ');

async function withTools(
  open: () => Promise<[Archive, Config]>,
  transaction: string,
  changes: boolean,
  run: (tools: Tools) => Promise<number>,
): Promise<number> {
  const [archive, config] = await open();
  const { services } = archive;
  const { tenant } = config;
  const by = `${userInfo().username}@command-line`;
  try {
    const code = await run({ services, tenant, by });
    if (changes)
      await services.audit.record(tenant, {
        at: services.clock.now(),
        event: 'SecurityConfiguration',
        action: 'U',
        outcome: 0,
        subject: by,
        roles: ['admin'],
        door: 'command',
        transaction,
      });
    return code;
  } finally {
    await archive.close();
  }
}

function parsed(args: readonly string[], names: readonly string[]): { positionals: string[]; values: Values } {
  try {
    const options = Object.fromEntries(names.map((name) => [name, { type: 'string' as const }]));
    const { positionals, values } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { ...options, help: { type: 'boolean' } },
    });
    return { positionals, values: values as Values };
  } catch (error) {
    throw new ConfigError((error as Error).message);
  }
}

function wholeOf(text: Values[string], fallback: number): number {
  const value = text === undefined ? fallback : Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 100_000) throw new ConfigError(`${text} is no number from 1 on`);
  return value;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}
