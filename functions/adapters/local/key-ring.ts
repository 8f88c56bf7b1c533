import { createHash, randomBytes } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ConfigError } from '#core/configuration.ts';
import { PacsError } from '#core/errors.ts';
import { syncUpwards } from './durable-directories.ts';
import type { TenantKeys } from './encrypted-blob-store.ts';
import { KEY_ID_BYTES, type NamedKey, newKey, seal, unseal } from './sealed-format.ts';
import { writeFully } from './write-fully.ts';

const FOLDER = 'keys';
const DESTROYED = 'destroyed';
const FIRST = '000001.json';
const NAME = /^\d{6}\.json$/;

export const keysFolder = (dataDir: string): string => join(dataDir, FOLDER);

/** A tenant's key as it lies in the data folder: sealed with a master key. */
interface KeyFile {
  readonly id: string;
  readonly master: string;
  /** base64url of nonce, ciphertext and tag */
  readonly sealed: string;
}

/**
 * Master keys: a text file with one key a line, 32 bytes in base64url. The first seals; the others, former ones, only open.
 * @throws ConfigError
 */
export async function readMasterKeys(path: string): Promise<readonly NamedKey[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(`NEPHOS_ENCRYPTION_KEY_FILE: ${path}: ${error.code}`);
  });
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  if (lines.length === 0 || lines.some((line) => !/^[\w-]{43}$/.test(line.trim())))
    throw new ConfigError('NEPHOS_ENCRYPTION_KEY_FILE holds one key a line, 43 characters each (nephos keys new)');
  return lines.map((line) => {
    const key = Buffer.from(line.trim(), 'base64url');
    const id = createHash('sha256').update('nephos master key ').update(key).digest('hex').slice(0, 16);
    return { id, key };
  });
}

export const newMasterKey = (): string => newKey().toString('base64url');

/**
 * Keys of tenants in files `<data>/keys/<tenant>/<number>.json`, the highest number in use for new objects. Processes that want a
 * tenant's first key together agree on one: it is linked into place, and the first link wins.
 */
export class KeyRing implements TenantKeys {
  readonly #folder: string;
  readonly #masters: readonly NamedKey[];
  /** ascending by number */
  readonly #tenants = new Map<string, readonly NamedKey[]>();

  private constructor(folder: string, masters: readonly NamedKey[]) {
    this.#folder = folder;
    this.#masters = masters;
  }

  /** @throws ConfigError when a key is sealed with a master key that is not among `masters` */
  static async open(dataDir: string, masters: readonly NamedKey[]): Promise<KeyRing> {
    const ring = new KeyRing(keysFolder(dataDir), masters);
    await mkdir(ring.#folder, { recursive: true, mode: 0o700 });
    syncUpwards(ring.#folder);
    for (const tenant of await ring.tenants()) await ring.#load(tenant);
    return ring;
  }

  async tenants(): Promise<string[]> {
    const entries = await readdir(this.#folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  }

  async current(tenant: string): Promise<NamedKey> {
    const known = (this.#tenants.get(tenant) ?? (await this.#load(tenant))).at(-1);
    if (known) return known;
    if (await this.#isDestroyed(tenant)) throw new PacsError('GONE', 'the keys of the tenant have been destroyed');
    await this.#add(tenant, FIRST);
    return (await this.#load(tenant)).at(-1)!;
  }

  async find(tenant: string, id: string): Promise<NamedKey | undefined> {
    const known = this.#tenants.get(tenant)?.find((key) => key.id === id);
    return known ?? (await this.#load(tenant)).find((key) => key.id === id);
  }

  /** A new key for the tenant's new objects; those before it stay until `dropFormer`. @throws PacsError GONE, NOT_FOUND */
  async renew(tenant: string): Promise<void> {
    const last = (await this.#names(tenant)).at(-1);
    if (await this.#isDestroyed(tenant)) throw new PacsError('GONE', 'the keys of the tenant have been destroyed');
    if (last === undefined) throw new PacsError('NOT_FOUND', 'the tenant has no key');
    await this.#add(tenant, `${String(Number.parseInt(last, 10) + 1).padStart(6, '0')}.json`);
    await this.#load(tenant);
  }

  /** Destroys all keys of the tenant but the current one. */
  async dropFormer(tenant: string): Promise<void> {
    for (const name of (await this.#names(tenant)).slice(0, -1)) await erase(join(this.#folder, tenant, name));
    await syncFolder(join(this.#folder, tenant));
    await this.#load(tenant);
  }

  /** Seals every tenant's keys with the first master key. @returns how many had another */
  async sealAnew(): Promise<number> {
    let count = 0;
    for (const tenant of await this.tenants()) {
      for (const name of await this.#names(tenant)) {
        const path = join(this.#folder, tenant, name);
        const file = await readKeyFile(path);
        if (file.master === this.#masters[0]!.id) continue;
        const key = this.#unsealed(tenant, file);
        const draft = await writeDraft(path, this.#sealed(tenant, key));
        await rename(draft, path);
        await syncFolder(dirname(path));
        count++;
      }
    }
    return count;
  }

  /** Destroys all keys of the tenant: nothing of its objects can be read again, by anybody. @throws PacsError NOT_FOUND */
  async destroy(tenant: string): Promise<void> {
    const names = await this.#names(tenant);
    if (names.length === 0) throw new PacsError('NOT_FOUND', 'the tenant has no key');
    const folder = join(this.#folder, tenant);
    // First the mark: a crash in between must not lead to a new key for a tenant that is meant to be gone.
    await rename(await writeDraft(join(folder, DESTROYED), ''), join(folder, DESTROYED));
    await syncFolder(folder);
    for (const name of names) await erase(join(folder, name));
    await syncFolder(folder);
    this.#tenants.set(tenant, []);
  }

  async #names(tenant: string): Promise<string[]> {
    const names = await readdir(join(this.#folder, tenant)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    return names.filter((name) => NAME.test(name)).sort();
  }

  async #load(tenant: string): Promise<readonly NamedKey[]> {
    const keys: NamedKey[] = [];
    for (const name of await this.#names(tenant))
      keys.push(this.#unsealed(tenant, await readKeyFile(join(this.#folder, tenant, name))));
    this.#tenants.set(tenant, keys);
    return keys;
  }

  async #add(tenant: string, name: string): Promise<void> {
    const folder = join(this.#folder, tenant);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const path = join(folder, name);
    const draft = await writeDraft(
      path,
      this.#sealed(tenant, { id: randomBytes(KEY_ID_BYTES).toString('hex'), key: newKey() }),
    );
    await link(draft, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    await rm(draft);
    await syncFolder(folder);
    await syncFolder(this.#folder);
  }

  #sealed(tenant: string, { id, key }: NamedKey): string {
    const master = this.#masters[0]!;
    const file: KeyFile = {
      id,
      master: master.id,
      sealed: seal(master.key, key, `tenant ${tenant} ${id}`).toString('base64url'),
    };
    return JSON.stringify(file);
  }

  #unsealed(tenant: string, { id, master, sealed }: KeyFile): NamedKey {
    const found = this.#masters.find((candidate) => candidate.id === master);
    if (!found) throw new ConfigError(`NEPHOS_ENCRYPTION_KEY_FILE does not hold the master key ${master}`);
    try {
      return { id, key: unseal(found.key, Buffer.from(sealed, 'base64url'), `tenant ${tenant} ${id}`) };
    } catch {
      throw new ConfigError(`a key of tenant ${tenant} is damaged or has been altered`);
    }
  }

  #isDestroyed(tenant: string): Promise<boolean> {
    return stat(join(this.#folder, tenant, DESTROYED)).then(
      () => true,
      () => false,
    );
  }
}

const readKeyFile = async (path: string): Promise<KeyFile> => JSON.parse(await readFile(path, 'utf8')) as KeyFile;

/** A file beside `path` that only its owner can read, durable, to be renamed or linked into place. */
export async function writeDraft(path: string, text: string): Promise<string> {
  const draft = `${path}.${randomBytes(8).toString('hex')}.new`;
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  return draft;
}

/** Written over before it is removed, for disks that write in place; elsewhere its bytes may outlive it, sealed. */
async function erase(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { size } = await file.stat();
    await writeFully(file, randomBytes(size), 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await rm(path);
}

export async function syncFolder(path: string): Promise<void> {
  const directory = await open(path);
  await directory.sync();
  await directory.close();
}
