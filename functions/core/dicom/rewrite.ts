import { PacsError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import { swappedStream } from './byte-order.ts';
import { hasUnicode } from './encode.ts';
import { Part10Scanner } from './scanner.ts';
import { transferSyntax } from './transfer-syntaxes.ts';
import type { Bulk, DataSet } from './types.ts';
import { vrNamed } from './vr.ts';
import { type BulkContent, type Frames, type WriteOptions, writePart10 } from './writer.ts';

/** A stored object that is to be given out in another encoding. */
export interface Rewrite extends WriteOptions {
  /** the object's bytes from its start; read only until the pixel data has begun, unless fragments are to be copied */
  readonly object: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  readonly limits: Limits;
  readonly transferSyntaxUID: string;
  /** bytes of a bulk value, as they lie in the stored object */
  readonly bulk: (bulk: Bulk) => AsyncIterable<Uint8Array> | Uint8Array;
  /** the pixel data in the new encoding, little endian; without it the stored one is copied */
  readonly frames?: Frames;
  /** elements of the data set itself that take the place of the stored ones; undefined removes one */
  readonly changes?: Readonly<Record<string, DataSet[string] | undefined>>;
}

const CHARACTER_SET = '00080005';
const TEXT = new Set(['LO', 'LT', 'PN', 'SH', 'ST', 'UC', 'UT']);

/**
 * Writes a stored object again: every element before the pixel data is kept, private ones included, with the bytes of its
 * value; only headers, byte order and pixel data change. What stood behind the pixel data (signatures, padding) is left
 * out. Where `changes` bring text beyond ASCII to an object that is not in UTF-8, all its text becomes UTF-8.
 * @throws PacsError UNREADABLE_DATASET, UNSUPPORTED_TRANSFER_SYNTAX, DATASET_MISMATCH
 */
export async function* rewritePart10(rewrite: Rewrite): AsyncGenerator<Uint8Array> {
  const { fileMeta, dataSet, littleEndian } = await readHeader(rewrite);
  const changed = withChanges(dataSet, rewrite.changes ?? {});
  if (rewrite.frames !== undefined) {
    delete changed['7FE00001'];
    delete changed['7FE00002'];
  }
  const source = (path: string, bulk: Bulk | undefined, _uri: string | undefined, vr: string): BulkContent => {
    if (path === '7FE00010' && rewrite.frames !== undefined) return rewrite.frames;
    if (bulk === undefined) throw new PacsError('INTERNAL', 'a change refers to bulk data that is not stored');
    const bytes = rewrite.bulk(bulk);
    const width = vrNamed(vr)?.width ?? 1;
    if (littleEndian || width === 1 || bulk.encapsulated) return bytes;
    return swappedStream(bytes instanceof Uint8Array ? [bytes] : bytes, width);
  };
  yield* writePart10(fileMeta, changed, rewrite.transferSyntaxUID, source, rewrite);
}

async function readHeader({ object, limits, frames, transferSyntaxUID }: Rewrite) {
  const scanner = new Part10Scanner(limits, { literal: true });
  for await (const chunk of object) {
    scanner.push(chunk);
    const header = scanner.header();
    if (header === undefined) continue;
    if (frames !== undefined) return header;
    const isEncapsulated = header.dataSet['7FE00010']?.bulk?.encapsulated === true;
    if (isEncapsulated !== transferSyntax(transferSyntaxUID).encapsulated) {
      throw new PacsError('UNSUPPORTED_TRANSFER_SYNTAX', 'the pixel data cannot be copied into this transfer syntax', {
        details: { transferSyntaxUID },
      });
    }
    // Where fragments end is known only when they have passed.
    if (!isEncapsulated) return header;
  }
  const { fileMeta, dataSet } = scanner.end();
  return { fileMeta, dataSet, littleEndian: scanner.littleEndian };
}

function withChanges(dataSet: DataSet, changes: NonNullable<Rewrite['changes']>): DataSet {
  const changed: DataSet = { ...dataSet };
  const added: DataSet = {};
  for (const [tag, element] of Object.entries(changes)) {
    if (element === undefined) delete changed[tag];
    else {
      changed[tag] = element;
      added[tag] = element;
    }
  }
  const isUtf8 = dataSet[CHARACTER_SET]?.Value?.[0] === 'ISO_IR 192';
  return !isUtf8 && hasUnicode(added) ? decoded(changed) : changed;
}

/** Text from its decoded values instead of its bytes: the writer puts them into UTF-8. */
function decoded(dataSet: DataSet): DataSet {
  const result: DataSet = {};
  for (const [tag, element] of Object.entries(dataSet)) {
    if (element.vr === 'SQ' && element.Value !== undefined) {
      result[tag] = { vr: 'SQ', Value: element.Value.map((item) => decoded(item as DataSet)) };
    } else if (element.raw !== undefined && (TEXT.has(element.vr) || tag === CHARACTER_SET)) {
      const { raw: _, ...rest } = element;
      result[tag] = rest;
    } else result[tag] = element;
  }
  return result;
}
