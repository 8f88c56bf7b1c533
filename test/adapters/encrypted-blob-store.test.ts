import { createHash, randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EncryptedBlobStore, rewrapBlob } from '#adapters/local/encrypted-blob-store.ts';
import { FsBlobStore } from '#adapters/local/fs-blob-store.ts';
import { KeyRing, keysFolder, newMasterKey, readMasterKeys } from '#adapters/local/key-ring.ts';
import { CHUNK_BYTES, HEADER_BYTES, SEALED_CHUNK_BYTES, SLOT_BYTES } from '#adapters/local/sealed-format.ts';
import { openArchive } from '#embedded/archive.ts';
import { keysCommand } from '#embedded/keys-command.ts';
import { blobStoreContract } from '#test/contract/blob-store.ts';

let folder = '';
let keyFile = '';
let files: FsBlobStore;
let ring: KeyRing;
let store: EncryptedBlobStore;

const newFolder = (): string => mkdtempSync(join(tmpdir(), 'nephos-encrypted-'));
const reopen = async (): Promise<void> => {
  ring = await KeyRing.open(folder, await readMasterKeys(keyFile));
  store = new EncryptedBlobStore(files, ring);
};
const pathOf = (key: string): string => join(folder, 'blobs', key);
const env = (): Record<string, string> => ({ NEPHOS_DATA_DIR: folder, NEPHOS_ENCRYPTION_KEY_FILE: keyFile });
const said: string[] = [];
const nephosKeys = (...args: string[]): Promise<number> => keysCommand(args, env(), (text) => said.push(text));
const damaged = { code: 'INTERNAL', message: 'an encrypted blob is damaged or has been altered' };

beforeEach(async () => {
  folder = newFolder();
  keyFile = join(folder, 'master.txt');
  writeFileSync(keyFile, `${newMasterKey()}\n`);
  files = await FsBlobStore.open(folder);
  await reopen();
});
afterEach(async () => {
  await files.close();
  rmSync(folder, { recursive: true });
});

describe('EncryptedBlobStore on files', () =>
  blobStoreContract(async () => {
    const root = newFolder();
    const master = join(root, 'master.txt');
    writeFileSync(master, newMasterKey());
    const inner = await FsBlobStore.open(root);
    const close = async (): Promise<void> => {
      await inner.close();
      rmSync(root, { recursive: true });
    };
    return { store: new EncryptedBlobStore(inner, await KeyRing.open(root, await readMasterKeys(master))), close };
  }));

test('nothing of the object, nor its SHA-256, can be read from the disk', async () => {
  const bytes = Buffer.from('PatientName Doe^Jane '.repeat(10_000));
  const { sha256, size } = await store.put('main/a', bytes);
  expect(sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  expect(size).toBe(bytes.length);
  const stored = readFileSync(pathOf('main/a'));
  // three letters stand by chance in one of eighty ciphertexts of this length
  expect(stored.includes('Doe^Jane')).toBe(false);
  expect(stored.includes(sha256)).toBe(false);
  expect(Buffer.from(await store.readBytes('main/a')).equals(bytes)).toBe(true);
});

test('any range of any size is the same range of the plaintext, in one array and as a stream', {
  timeout: 300_000,
}, async () => {
  let count = 0;
  const edge = fc.integer({ min: -2, max: 2 });
  const sizes = fc.oneof(
    fc.integer({ min: 0, max: 300 }),
    fc.tuple(fc.integer({ min: 1, max: 4 }), edge).map(([chunks, more]) => chunks * CHUNK_BYTES + more),
    fc.integer({ min: 0, max: 400_000 }),
  );
  await fc.assert(
    fc.asyncProperty(
      sizes,
      fc.double({ noNaN: true, min: 0, max: 1 }),
      fc.double({ noNaN: true, min: 0, max: 1 }),
      fc.boolean(),
      async (size, a, b, stream) => {
        const key = `main/${count++}`;
        const bytes = randomBytes(size);
        await store.put(key, stream ? inPieces(bytes) : bytes);
        const [start, end] = [Math.round(a * size), Math.round(b * size)].sort((x, y) => x - y) as [number, number];
        const range = { offset: start, length: end - start };
        const expected = bytes.subarray(start, end);
        expect(Buffer.compare(await store.readBytes(key, range), expected)).toBe(0);
        const read: Uint8Array[] = [];
        for await (const chunk of store.read(key, range)) read.push(chunk);
        expect(Buffer.compare(Buffer.concat(read), expected)).toBe(0);
        expect(await store.head(key)).toStrictEqual({ key, size });
        await store.delete(key);
      },
    ),
    { numRuns: 120 },
  );
});

test('a frame is read and decrypted by its chunks alone', async () => {
  const bytes = randomBytes(40 * CHUNK_BYTES);
  await store.put('main/a', bytes);
  const asked: unknown[] = [];
  const spied = new Proxy(files, {
    get(target, name) {
      const member = Reflect.get(target, name);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]) => {
        if (name === 'readBytes') asked.push(args[1]);
        return Reflect.apply(member, target, args);
      };
    },
  });
  const frame = await new EncryptedBlobStore(spied, ring).readBytes('main/a', {
    offset: 10 * CHUNK_BYTES + 5,
    length: CHUNK_BYTES,
  });
  expect(Buffer.compare(frame, bytes.subarray(10 * CHUNK_BYTES + 5, 11 * CHUNK_BYTES + 5))).toBe(0);
  expect(asked).toStrictEqual([
    { offset: 0, length: HEADER_BYTES },
    { offset: HEADER_BYTES + 10 * SEALED_CHUNK_BYTES, length: 2 * SEALED_CHUNK_BYTES },
  ]);
});

describe('refused as damaged is', () => {
  const size = 3 * CHUNK_BYTES + 100;
  const readAll = async (key: string): Promise<void> => {
    for await (const _ of store.read(key));
  };
  const refused = async (key = 'main/a'): Promise<void> => {
    await expect(store.readBytes(key)).rejects.toMatchObject(damaged);
    await expect(readAll(key)).rejects.toMatchObject(damaged);
  };
  const alter = (change: (stored: Buffer) => Buffer): void =>
    writeFileSync(pathOf('main/a'), change(readFileSync(pathOf('main/a'))));
  const chunkAt = (n: number): number => HEADER_BYTES + n * SEALED_CHUNK_BYTES;
  beforeEach(async () => {
    await store.put('main/a', randomBytes(size));
  });

  test.each([
    ['the sealed key', 30],
    ['its tag', 70],
    ['the nonce', 20],
    ['the first chunk', chunkAt(0)],
    ['the tag of the second', chunkAt(2) - 1],
    ['the last byte', chunkAt(3) + 100 + 15],
  ])('one changed bit in %s', async (_, at) => {
    alter((stored) => {
      stored[at]! ^= 1;
      return stored;
    });
    await refused();
  });

  test('two chunks that changed places', async () => {
    alter((stored) => {
      const second = Buffer.from(stored.subarray(chunkAt(1), chunkAt(2)));
      stored.copyWithin(chunkAt(1), chunkAt(2), chunkAt(3));
      second.copy(stored, chunkAt(2));
      return stored;
    });
    await refused();
  });

  test('a chunk of another object', async () => {
    await store.put('main/b', randomBytes(size));
    alter((stored) => {
      readFileSync(pathOf('main/b')).copy(stored, chunkAt(1), chunkAt(1), chunkAt(2));
      return stored;
    });
    await refused();
  });

  test.each([0, 100, HEADER_BYTES, HEADER_BYTES + 15, chunkAt(1), chunkAt(3), chunkAt(3) + 20])(
    'a blob cut to %d bytes',
    async (length) => {
      truncateSync(pathOf('main/a'), length);
      await refused();
    },
  );

  test('a blob with bytes, or a chunk, behind its end', async () => {
    alter((stored) => Buffer.concat([stored, Buffer.alloc(10)]));
    await refused();
    alter((stored) => Buffer.concat([stored.subarray(0, -10), stored.subarray(chunkAt(0), chunkAt(1))]));
    await refused();
  });

  test('a blob under the name of another, of its own tenant and of another', async () => {
    await store.put('other/x', Buffer.from('x'));
    for (const key of ['main/renamed', 'other/a']) {
      mkdirSync(dirname(pathOf(key)), { recursive: true });
      copyFileSync(pathOf('main/a'), pathOf(key));
    }
    await refused('main/renamed');
    await expect(store.readBytes('other/a')).rejects.toMatchObject({ code: 'GONE' }); // no such key of that tenant
  });

  test('a blob that was never encrypted', async () => {
    await files.put('main/plain', randomBytes(5_000));
    await refused('main/plain');
  });
});

test('of processes that need a tenant’s first key at once, all use the same', async () => {
  const masters = await readMasterKeys(keyFile);
  const rings = await Promise.all(Array.from({ length: 8 }, () => KeyRing.open(folder, masters)));
  const ids = await Promise.all(rings.map(async (other) => (await other.current('main')).id));
  expect(new Set(ids).size).toBe(1);
});

test('another master key opens nothing, and says which one is missing', async () => {
  await store.put('main/a', Buffer.from('x'));
  writeFileSync(keyFile, newMasterKey());
  await expect(reopen()).rejects.toThrow(/does not hold the master key [0-9a-f]{16}/);
});

test.each(['', 'short', `${'a'.repeat(43)}\nnonsense`])('a key file of %j is refused', async (text) => {
  writeFileSync(keyFile, text);
  await expect(readMasterKeys(keyFile)).rejects.toThrow(/one key a line/);
});

test('the master key is rotated without touching an object; the old one is then of no use', async () => {
  await store.put('main/a', Buffer.from('bytes'));
  const before = readFileSync(pathOf('main/a'));
  const old = readFileSync(keyFile, 'utf8');
  const fresh = newMasterKey();
  writeFileSync(keyFile, `${fresh}\n${old}`);
  expect(await nephosKeys('rotate')).toBe(0);
  writeFileSync(keyFile, fresh);
  await reopen();
  expect(Buffer.from(await store.readBytes('main/a')).toString()).toBe('bytes');
  expect(readFileSync(pathOf('main/a')).equals(before)).toBe(true);
  writeFileSync(keyFile, old);
  await expect(reopen()).rejects.toThrow(/does not hold/);
});

test('a tenant’s key is rotated, again and again, by headers alone; what lay on the disk before is then unreadable', async () => {
  const bytes = randomBytes(2 * CHUNK_BYTES);
  await store.put('main/a', bytes);
  await store.put('other/a', bytes);
  const first = readFileSync(pathOf('main/a'));
  for (let round = 0; round < 3; round++) {
    const before = readFileSync(pathOf('main/a'));
    expect(await nephosKeys('rotate', 'main')).toBe(0);
    const after = readFileSync(pathOf('main/a'));
    expect(after.equals(before)).toBe(false);
    expect(after.subarray(HEADER_BYTES).equals(before.subarray(HEADER_BYTES))).toBe(true);
    await reopen();
    for (const key of ['main/a', 'other/a'])
      expect(Buffer.compare(await store.readBytes(key), bytes), `${key} ${round}`).toBe(0);
  }
  writeFileSync(pathOf('main/a'), first);
  await expect(store.readBytes('main/a')).rejects.toMatchObject({ code: 'GONE' });
});

test('a rotation that was interrupted, or a header torn while it was written, loses nothing and can be repeated', async () => {
  await store.put('main/a', Buffer.from('a'));
  await store.put('main/b', Buffer.from('b'));
  await ring.renew('main');
  expect(await rewrapBlob(files, ring, 'main/a')).toBe(true);
  expect(await rewrapBlob(files, ring, 'main/a')).toBe(false);
  const torn = readFileSync(pathOf('main/b'));
  torn.fill(0xee, SLOT_BYTES + 20, SLOT_BYTES + 60);
  writeFileSync(pathOf('main/b'), torn);
  await reopen();
  for (const name of ['a', 'b']) expect(Buffer.from(await store.readBytes(`main/${name}`)).toString()).toBe(name);
  expect(await nephosKeys('rotate', 'main')).toBe(0);
  await reopen();
  for (const name of ['a', 'b']) expect(Buffer.from(await store.readBytes(`main/${name}`)).toString()).toBe(name);
});

test('a shredded tenant’s objects are gone for good, the others’ are not; it never gets another key', async () => {
  await store.put('main/a', Buffer.from('a'));
  await store.put('other/a', Buffer.from('other'));
  expect(await nephosKeys('shred', 'main')).toBe(2);
  expect(await nephosKeys('shred', 'main', '--confirm', 'other')).toBe(2);
  await reopen();
  expect(Buffer.from(await store.readBytes('main/a')).toString()).toBe('a');
  expect(await nephosKeys('shred', 'main', '--confirm', 'main')).toBe(0);
  await reopen();
  await expect(store.readBytes('main/a')).rejects.toMatchObject({ code: 'GONE' });
  await expect(store.put('main/b', Buffer.from('b'))).rejects.toMatchObject({ code: 'GONE' });
  await expect(nephosKeys('rotate', 'main')).resolves.toBe(2);
  expect(Buffer.from(await store.readBytes('other/a')).toString()).toBe('other');
});

test('keys are not changed while an archive runs on the folder', async () => {
  await store.put('main/a', Buffer.from('a'));
  const start = readFileSync(`/proc/${process.pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[19];
  writeFileSync(join(folder, 'nephos.pid'), `${process.pid} ${start}`);
  expect(await nephosKeys('shred', 'main', '--confirm', 'main')).toBe(2);
  await reopen();
  expect(Buffer.from(await store.readBytes('main/a')).toString()).toBe('a');
});

test('a new master key is written once, for its owner alone', async () => {
  const path = join(folder, 'fresh.txt');
  expect(await nephosKeys('new', '--to', path)).toBe(0);
  expect(await readMasterKeys(path)).toHaveLength(1);
  expect(said.join()).not.toContain(readFileSync(path, 'utf8').trim());
  expect(await nephosKeys('new', '--to', path)).toBe(2);
});

describe('the embedded archive', () => {
  const policy = {};
  const limits = {};
  test('with a key file keeps objects encrypted, and then does not open without it', async () => {
    const archive = await openArchive({ dataDir: folder, encryptionKeyFile: keyFile, policy, limits });
    await archive.services.blobs.put('main/a', Buffer.from('patient'));
    expect(Buffer.from(await archive.services.blobs.readBytes('main/a')).toString()).toBe('patient');
    expect(readFileSync(pathOf('main/a')).includes('patient')).toBe(false);
    await archive.close();
    await expect(openArchive({ dataDir: folder, policy, limits })).rejects.toThrow(/is encrypted/);
  });

  test('without one writes plain files and no keys, and cannot be encrypted later', async () => {
    rmSync(keysFolder(folder), { recursive: true });
    const archive = await openArchive({ dataDir: folder, policy, limits });
    expect(archive.services.blobs).toBe(archive.blobs);
    await archive.services.blobs.put('main/a', Buffer.from('patient'));
    expect(readFileSync(pathOf('main/a')).toString()).toBe('patient');
    await archive.close();
    await expect(openArchive({ dataDir: folder, encryptionKeyFile: keyFile, policy, limits })).rejects.toThrow(/empty/);
  });
});

async function* inPieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0, size = 1; at < bytes.length; at += size, size = ((size * 3) % 50_000) + 1)
    yield bytes.subarray(at, at + size);
}
