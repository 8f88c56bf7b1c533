import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { link, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ConfigError } from '#core/configuration.ts';
import { syncFolder, writeDraft } from './key-ring.ts';
import { type NamedKey, newKey, seal, unseal } from './sealed-format.ts';

const FILE = 'issuer-keys.json';
const CONTEXT = 'issuer keys';
/** Of former keys so many stay: what they signed may still be in use. */
const FORMER_KEYS = 2;
/** New keys sign from so long after they were made (ms): by then every process has read them, and knows what another one signed. */
const SPREAD_MS = 10_000;

/** A private key by RFC 7517. */
export type Jwk = Readonly<Record<string, string>> & { readonly kid: string };

/** What the issuer signs with: by the first of each list, new ones from `signsFrom` on (ms since 1970; absent: at once); the others, former ones, only verify. */
export interface IssuerKeys {
  /** ID tokens (ES256) */
  readonly jwks: readonly Jwk[];
  readonly cookieKeys: readonly string[];
  /** seals what the index must not tell, the secrets of one-time codes: base64url of 32 bytes; never changed by a rotation */
  readonly secretKey: string;
  readonly signsFrom?: number;
}

/**
 * The keys of the archive's own issuer, in a file of the data folder that only its owner can read, sealed with the master key where there is
 * one. Made at the first start; processes that start together agree on one: it is linked into place, and the first link wins.
 * @throws ConfigError when the file cannot be opened with these master keys
 */
export async function openIssuerKeys(dataDir: string, masters: readonly NamedKey[] = []): Promise<IssuerKeys> {
  const path = join(dataDir, FILE);
  const found = await readKeys(path, masters);
  if (found) return found;
  const { jwk, cookieKey } = newKeys();
  const made: IssuerKeys = { jwks: [jwk], cookieKeys: [cookieKey], secretKey: newKey().toString('base64url') };
  const draft = await writeDraft(path, textOf(made, masters));
  await link(draft, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  await rm(draft);
  await syncFolder(dirname(path));
  return (await readKeys(path, masters)) ?? made;
}

/** New keys to sign with, the former ones kept to verify; also seals the file with the first master key. */
export async function rotateIssuerKeys(dataDir: string, masters: readonly NamedKey[] = []): Promise<void> {
  const before = await openIssuerKeys(dataDir, masters);
  const { jwk, cookieKey } = newKeys();
  await replaceKeys(dataDir, masters, {
    ...before,
    jwks: [jwk, ...before.jwks].slice(0, 1 + FORMER_KEYS),
    cookieKeys: [cookieKey, ...before.cookieKeys].slice(0, 1 + FORMER_KEYS),
    signsFrom: Date.now() + SPREAD_MS,
  });
}

/** The keys with those first that sign at a time (ms since 1970): new ones that other processes may not have read yet come behind the former. */
export function signingAt(keys: IssuerKeys, now: number): IssuerKeys {
  const { jwks, cookieKeys, signsFrom = 0 } = keys;
  if (now >= signsFrom) return keys;
  return { ...keys, jwks: formerFirst(jwks), cookieKeys: formerFirst(cookieKeys) };
}

const formerFirst = <T>([made, former, ...older]: readonly T[]): T[] =>
  [former, made, ...older].filter((key) => key !== undefined);

/** Seals the file with the first master key, where there is such a file. */
export async function sealIssuerKeysAnew(dataDir: string, masters: readonly NamedKey[]): Promise<void> {
  const keys = await readKeys(join(dataDir, FILE), masters);
  if (keys) await replaceKeys(dataDir, masters, keys);
}

/** Changes whenever the file does. */
export async function issuerKeysStamp(dataDir: string): Promise<string> {
  const { ino, mtimeMs } = await stat(join(dataDir, FILE));
  return `${ino}-${mtimeMs}`;
}

async function replaceKeys(dataDir: string, masters: readonly NamedKey[], keys: IssuerKeys): Promise<void> {
  const path = join(dataDir, FILE);
  await rename(await writeDraft(path, textOf(keys, masters)), path);
  await syncFolder(dataDir);
}

async function readKeys(path: string, masters: readonly NamedKey[]): Promise<IssuerKeys | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (text === undefined) return undefined;
  const file = JSON.parse(text) as IssuerKeys | { readonly master: string; readonly sealed: string };
  if (!('sealed' in file)) return file;
  const master = masters.find(({ id }) => id === file.master);
  if (!master) throw new ConfigError(`NEPHOS_ENCRYPTION_KEY_FILE does not hold the master key ${file.master}`);
  try {
    return JSON.parse(unseal(master.key, Buffer.from(file.sealed, 'base64url'), CONTEXT).toString()) as IssuerKeys;
  } catch {
    throw new ConfigError(`${path} is damaged or has been altered`);
  }
}

function textOf(keys: IssuerKeys, [master]: readonly NamedKey[]): string {
  const text = JSON.stringify(keys);
  if (!master) return text;
  return JSON.stringify({
    master: master.id,
    sealed: seal(master.key, Buffer.from(text), CONTEXT).toString('base64url'),
  });
}

function newKeys(): { readonly jwk: Jwk; readonly cookieKey: string } {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = privateKey.export({ format: 'jwk' }) as Record<string, string>;
  const kid = createHash('sha256').update(`${jwk.x}.${jwk.y}`).digest('base64url').slice(0, 16);
  return { jwk: { ...jwk, kid, alg: 'ES256', use: 'sig' }, cookieKey: randomBytes(32).toString('base64url') };
}
