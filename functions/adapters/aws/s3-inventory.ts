import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { BlobStore } from '#core/ports/blob-store.ts';
import { INVENTORY } from './schema.ts';

interface Manifest {
  readonly fileFormat: string;
  readonly fileSchema: string;
  readonly files: readonly { readonly key: string; readonly size: number; readonly MD5checksum: string }[];
}

/** The inventory is not what it says: nothing of it may be believed. */
export class InventoryError extends Error {}

/** Key of the newest manifest; undefined before the first was delivered. Folders are named by time: `2026-01-31T01-00Z`. */
export async function newestManifest(blobs: BlobStore, bucket: string): Promise<string | undefined> {
  const folder = `${INVENTORY.prefix}/${bucket}/${INVENTORY.id}/`;
  let newest: string | undefined;
  for await (const { key } of blobs.list(folder, `${folder}0`))
    if (/\/\d{4}-\d\d-\d\dT\d\d-\d\dZ\/manifest\.json$/.test(key)) newest = key;
  return newest;
}

/**
 * The rows of an inventory, file by file in constant memory, in whatever order S3 has written them.
 * @throws InventoryError for another format, a file that is cut or changed, and rows that are none
 */
export async function* readInventory(
  blobs: BlobStore,
  manifestKey: string,
): AsyncGenerator<{ readonly key: string; readonly size: number }> {
  const { fileFormat, fileSchema, files } = parse(await blobs.readBytes(manifestKey));
  const columns = fileSchema.split(',').map((name) => name.trim());
  const [keyAt, sizeAt] = [columns.indexOf('Key'), columns.indexOf('Size')];
  if (fileFormat !== 'CSV' || keyAt < 0 || sizeAt < 0)
    throw new InventoryError('the inventory is no CSV of keys and sizes');
  for (const file of files) {
    const md5 = createHash('md5');
    const bytes = async function* () {
      for await (const chunk of blobs.read(file.key)) {
        md5.update(chunk);
        yield chunk;
      }
    };
    const plain = createGunzip();
    const broken = new Promise<Error | undefined>((resolve) => {
      pipeline(Readable.from(bytes()), plain, (error) => resolve(error ?? undefined));
    });
    try {
      for await (const line of createInterface({ input: plain, crlfDelay: Number.POSITIVE_INFINITY })) {
        if (line !== '') yield rowOf(line, columns.length, keyAt, sizeAt);
      }
    } catch (error) {
      if (error instanceof InventoryError) throw error;
      throw new InventoryError('a file of the inventory cannot be read', { cause: error });
    }
    if (await broken) throw new InventoryError('a file of the inventory is cut', { cause: await broken });
    if (md5.digest('hex') !== file.MD5checksum) throw new InventoryError('a file of the inventory has been changed');
  }
}

function rowOf(line: string, columns: number, keyAt: number, sizeAt: number): { key: string; size: number } {
  const fields = [...line.matchAll(/"([^"]*)"(?:,|$)/g)].map(([, field]) => field!);
  const size = Number(fields[sizeAt]);
  if (fields.length !== columns || !Number.isSafeInteger(size))
    throw new InventoryError('a row of the inventory is none');
  return { key: decodeURIComponent(fields[keyAt]!.replaceAll('+', ' ')), size };
}

function parse(bytes: Uint8Array): Manifest {
  try {
    const manifest = JSON.parse(Buffer.from(bytes).toString('utf8')) as Manifest;
    if (Array.isArray(manifest.files) && typeof manifest.fileSchema === 'string') return manifest;
  } catch (error) {
    throw new InventoryError('the manifest of the inventory is no JSON', { cause: error });
  }
  throw new InventoryError('the manifest of the inventory names no files');
}
