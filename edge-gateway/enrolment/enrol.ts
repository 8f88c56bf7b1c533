import { createHash, createPublicKey } from 'node:crypto';
import { accessSync, constants, existsSync } from 'node:fs';
import { mkdir, open, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import type { JWK } from 'jose';
import { Agent, type Dispatcher, request } from 'undici';
import { systemClock } from '#adapters/system-clock.ts';
import { readEnrolmentCode } from '#core/enrolment-code.ts';
import { PacsError } from '#core/errors.ts';
import { ConfigError } from '#embedded/config.ts';
import { checked, configFileOf, ownConfigFile, readDocument, type TlsFiles, underEnvironment } from '../config.ts';
import { Credentials } from '../credentials.ts';
import { writeDurably } from '../durable-file.ts';
import { tlsOptions } from '../upstream.ts';
import { type Identity, keepIdentity, newKeyPair } from './identity.ts';

const USAGE = `nephos edge gateway: enrol

  npm run edge -- enrol ARCHIVE [CODE]      ARCHIVE is its address (https://pacs.example), CODE what its console shows under Gateways. Without it the
                                            code is asked for, or read from standard input: whoever else works on this machine does not see it

  --ca FILE                                 an authority to trust besides the system's (PEM)
  --cert FILE --key FILE                    a certificate of the gateway's own, for an archive that asks for one (PEM)

Makes a key that never leaves this machine, exchanges the code for the gateway's identity, and writes both, with the configuration, to
the data folder (NEPHOS_DATA_DIR), or to the file that NEPHOS_EDGE_CONFIG names. A gateway that is enrolled again has a new identity;
the one before ends. It need not be restarted.
`;

type Environment = Readonly<Record<string, string | undefined>>;
type Document = Record<string, unknown>;

interface Exchanged {
  readonly clientId: string;
  readonly audience: string;
  readonly gateway: string;
  readonly tenant: string;
  readonly configurationKey?: string;
}

const ANSWER_BYTES = 64 * 1024;
const TIMEOUT_MS = 30_000;

/** @param readCode where the command does not name it: arguments stand in the list of processes. @returns the exit code */
export async function enrolCommand(
  args: readonly string[],
  env: Environment,
  say: (text: string) => void,
  readCode: (prompt: string) => Promise<string> = lineOfInput,
): Promise<number> {
  try {
    const { positionals, values } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { ca: { type: 'string' }, cert: { type: 'string' }, key: { type: 'string' }, help: { type: 'boolean' } },
    });
    const [address, given] = positionals;
    if (values.help || address === undefined || positionals.length > 2) {
      say(USAGE);
      return values.help ? 0 : 2;
    }
    const { ca, cert, key } = values;
    if ((cert === undefined) !== (key === undefined)) throw new ConfigError('--cert and --key go together');
    const files = Object.fromEntries(
      Object.entries({ ca, cert, key }).flatMap(([name, file]) => (file ? [[name, resolve(file)]] : [])),
    );
    const archive = archiveAddress(address);
    const code = given ?? (await readCode('The code, as the console shows it: ')).trim();
    say(await enrol({ archive, code, files, env }));
    return 0;
  } catch (error) {
    const isMisuse = (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS') === true;
    if (!(error instanceof ConfigError) && !(error instanceof PacsError) && !isMisuse) throw error;
    say((error as Error).message);
    return 2;
  }
}

/** Asked for on a terminal; from a pipe, its first line. Empty where there is none. */
async function lineOfInput(prompt: string): Promise<string> {
  const lines = createInterface({ input: process.stdin });
  if (process.stdin.isTTY) process.stderr.write(prompt);
  try {
    for await (const line of lines) return line;
    return '';
  } finally {
    lines.close();
    process.stdin.destroy();
  }
}

/** With `/dicomweb` or without; the code must not travel in clear. @throws ConfigError */
export function archiveAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isLoopback = url !== undefined && ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname);
  if (url?.protocol !== 'https:' && !(url?.protocol === 'http:' && isLoopback))
    throw new ConfigError('the archive’s address must be an https URL');
  return `${url.origin}${url.pathname.replace(/\/+$/, '').replace(/\/dicomweb$/, '')}`;
}

interface Asked {
  readonly archive: string;
  readonly code: string;
  readonly files: TlsFiles;
  readonly env: Environment;
}

/** A code serves once: all that can be wrong here is looked for before it is brought. @returns what has been done, for a person */
async function enrol({ archive, code, files, env }: Asked): Promise<string> {
  const typed = readEnrolmentCode(code);
  if (typed === undefined) throw new ConfigError('the code is mistyped: its characters do not fit together');
  const path = configFileOf(env) ?? ownConfigFile(env);
  const before = existsSync(path) ? readDocument(path) : {};
  const planned = configured(before, { archive, files, gateway: 'gateway' });
  const { dataDir } = checked(underEnvironment(planned, env), path);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await mkdir(dirname(path), { recursive: true });
  await probe(dataDir);
  const dispatcher = new Agent({ connect: { timeout: TIMEOUT_MS, ...tlsOptions(files) }, headersTimeout: TIMEOUT_MS });
  try {
    const pair = await newKeyPair();
    // A file that is mounted to be read only may say already what it must.
    const isWritable = canWrite(path);
    if (!isWritable && !sameConfiguration(before, planned))
      throw new ConfigError(
        `${path} cannot be written. Put into it: ${JSON.stringify({ upstreams: [upstreamRow({ archive, files })], heartbeat: { id: '(the gateway’s id)' } })}`,
      );
    const made = await exchange(dispatcher, archive, typed, pair.publicKey);
    const { clientId, audience, gateway, tenant, configurationKey } = made;
    const identity: Identity = {
      archive,
      clientId,
      audience,
      gateway,
      tenant,
      enrolledAt: Date.now(),
      privateKey: pair.privateKey,
    };
    await keepIdentity(dataDir, identity);
    if (isWritable) {
      const next = configured(before, { archive, files, gateway, configurationKey });
      checked(underEnvironment(next, env), path);
      await writeDurably(path, `${JSON.stringify(next, null, 2)}\n`);
    }
    const upstream = { url: `${archive}/dicomweb`, auth: { enrolled: true } as const };
    await new Credentials({ upstream, dispatcher, clock: systemClock, dataDir }).authorization();
    return told(made, archive, path, isWritable);
  } finally {
    await dispatcher.destroy();
  }
}

const upstreamRow = ({ archive, files }: Pick<Asked, 'archive' | 'files'>): Document => ({
  url: `${archive}/dicomweb`,
  auth: { enrolled: true },
  ...(Object.keys(files).length > 0 && { tls: files }),
});

/** The configuration with this archive as its first upstream, under the name that its queue has where it is there already. */
function configured(
  document: Document,
  asked: Pick<Asked, 'archive' | 'files'> & {
    readonly gateway: string;
    readonly configurationKey?: string | undefined;
  },
): Document {
  const rows = Array.isArray(document.upstreams) ? (document.upstreams as Document[]) : [];
  const url = `${asked.archive}/dicomweb`;
  const isThis = (row: Document): boolean => String(row.url).replace(/\/+$/, '') === url;
  const known = rows.find(isThis);
  const taken = new Set(rows.map((row) => row.name ?? 'upstream'));
  const name = ['upstream', 'archive', ...Array.from({ length: 16 }, (_, i) => `archive-${i + 2}`)].find(
    (one) => !taken.has(one),
  );
  const row = { ...(known ?? { name }), ...upstreamRow(asked) };
  const { configurationKey, gateway } = asked;
  return {
    ...document,
    upstreams: [row, ...rows.filter((one) => !isThis(one))],
    heartbeat: { ...((document.heartbeat as Document | undefined) ?? {}), id: gateway },
    ...(configurationKey !== undefined && { remoteConfiguration: { publicKey: configurationKey } }),
  };
}

const sameConfiguration = (before: Document, planned: Document): boolean =>
  JSON.stringify({ ...before, heartbeat: 0 }) === JSON.stringify({ ...planned, heartbeat: 0 }) &&
  before.heartbeat !== undefined;

/** @throws ConfigError where the folder takes no file */
async function probe(folder: string): Promise<void> {
  const path = join(folder, '.enrol.part');
  try {
    await (await open(path, 'w', 0o600)).close();
    await rm(path);
  } catch (error) {
    throw new ConfigError(`${folder} cannot be written to: ${(error as NodeJS.ErrnoException).code}`);
  }
}

function canWrite(path: string): boolean {
  try {
    accessSync(dirname(path), constants.W_OK);
    if (existsSync(path)) accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** @throws PacsError UNAUTHENTICATED, TOO_MANY_REQUESTS, BUSY, OUTCOME_UNKNOWN, in the words of a person's next step */
async function exchange(dispatcher: Dispatcher, archive: string, code: string, key: JWK): Promise<Exchanged> {
  let status: number;
  let retryAfter: unknown;
  let text: string;
  try {
    const response = await request(`${archive}/api/enrolments/exchange`, {
      method: 'POST',
      dispatcher,
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify({ code, key }),
    });
    status = response.statusCode;
    retryAfter = response.headers['retry-after'];
    text = (await response.body.text()).slice(0, ANSWER_BYTES);
  } catch (cause) {
    const { code: name = 'no answer' } = cause as NodeJS.ErrnoException;
    throw new PacsError(
      'BUSY',
      `${archive} does not answer (${name}). If it took the code all the same, ask for another`,
      { cause },
    );
  }
  switch (status) {
    case 201:
      return JSON.parse(text) as Exchanged;
    case 401:
      throw new PacsError(
        'UNAUTHENTICATED',
        'the code is not valid: it was used, it is over, or it was never given out. Ask for another',
      );
    case 429:
      throw new PacsError(
        'TOO_MANY_REQUESTS',
        `too many codes have been tried from here: wait ${retryAfter ?? 60} s, then try again`,
      );
    case 404:
      throw new PacsError('NOT_FOUND', `${archive} is no Nephos archive that enrols gateways`);
    default:
      throw new PacsError('BUSY', `${archive} answered ${status}`);
  }
}

function told(
  { gateway, clientId, tenant, configurationKey }: Exchanged,
  archive: string,
  path: string,
  written: boolean,
): string {
  const lines = [
    `This gateway is ${gateway} (${clientId}) of ${tenant} at ${archive}.`,
    written ? `Its configuration is in ${path}.` : `${path} stands as it was.`,
  ];
  if (configurationKey !== undefined)
    lines.push(
      `It takes configurations signed by the key ${fingerprint(configurationKey)}: compare it with the administrator’s.`,
    );
  lines.push('Start it, where it does not run: npm run edge');
  return `${lines.join('\n')}\n`;
}

/** SHA-256 of the key (SubjectPublicKeyInfo), base64, as the console shows it. */
const fingerprint = (publicKeyPem: string): string =>
  `SHA256:${createHash('sha256')
    .update(createPublicKey(publicKeyPem).export({ type: 'spki', format: 'der' }))
    .digest('base64')
    .replace(/=+$/, '')}`;
