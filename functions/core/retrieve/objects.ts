import type { InstanceRecord } from '../archive/records.ts';
import { EXPLICIT_VR_LITTLE_ENDIAN, JPEG_BASELINE, transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { instead } from '../lent-bytes.ts';
import { type Coding, holdsWideColour, PIXEL_SYNTAXES } from '../pixels/syntaxes.ts';
import { transcodeInstance } from '../pixels/transcode.ts';
import { isUndecodable } from '../pixels/undecodable.ts';
import type { ReadOptions } from '../ports/blob-store.ts';
import type { Services } from '../services.ts';
import { type Payload, payloadOf, WHOLE_READ_BYTES } from './stream.ts';

/** PS3.10 §7.1: 128 bytes that mean nothing to DICOM, and may be the head of an executable */
const PREAMBLE_BYTES = 128;

/** How an instance leaves: the stored bytes, or re-encoded in another transfer syntax. */
export interface Delivery {
  readonly instance: InstanceRecord;
  readonly transferSyntaxUID: string;
  readonly transcode: boolean;
  /** bytes; known for stored objects only */
  readonly sizeBytes: number | undefined;
  /** names these very bytes: input for a strong ETag */
  readonly identity: string;
  /** what is delivered where the pixels turn out not to be decodable: to who named no syntax, and among others */
  readonly otherwise?: Delivery;
}

/** No syntax was named: PS3.18 §8.7.3 has a default. `'*'`: any, so the stored one. Otherwise the UID that is asked for. */
export type AskedSyntax = string | undefined;

/**
 * How an instance can be had in the syntax asked for, or undefined when it cannot be.
 *
 * Without a name the default is Explicit VR Little Endian, unless the pixels are there only in lossy form, or in one that we
 * cannot decode: then as stored (docs/decisions/0011-retrieve-transfer-syntax.md).
 */
export function deliveryOf(services: Services, instance: InstanceRecord, asked: AskedSyntax): Delivery | undefined {
  const stored = instance.transferSyntaxUID;
  if (asked === '*') return asStored(services, instance);
  // A data set that came alone is no object of Part 10 as it is stored: one is made of it for all who do not ask for the very bytes.
  const isPart10 = instance.dataSetOffset > 0;
  if (asked === stored && isPart10) return asStored(services, instance);
  if (asked === undefined) {
    if ((stored === EXPLICIT_VR_LITTLE_ENDIAN && isPart10) || (hasPixels(instance) && transferSyntax(stored).lossy)) {
      return asStored(services, instance);
    }
    const plain = transcoded(services, instance, EXPLICIT_VR_LITTLE_ENDIAN);
    const otherwise = asStored(services, instance);
    return plain === undefined ? otherwise : { ...plain, otherwise };
  }
  // Without pixels there is nothing to compress: a report asked for in JPEG comes as plain Explicit VR Little Endian.
  if (!hasPixels(instance) && transferSyntax(asked).encapsulated) return deliveryOf(services, instance, undefined);
  return transcoded(services, instance, asked);
}

const hasPixels = (instance: InstanceRecord): boolean => instance.pixels !== undefined;

export function asStored({ policy }: Services, instance: InstanceRecord): Delivery {
  return {
    instance,
    transferSyntaxUID: instance.transferSyntaxUID,
    transcode: false,
    sizeBytes: instance.sizeBytes,
    identity: policy.sanitizePreamble ? `${instance.sha256}-sanitized` : instance.sha256,
  };
}

function transcoded(services: Services, instance: InstanceRecord, target: string): Delivery | undefined {
  if (!canTranscode(instance, target)) return undefined;
  const { identity } = asStored(services, instance);
  return {
    instance,
    transferSyntaxUID: target,
    transcode: true,
    sizeBytes: undefined,
    identity: `${identity}-${target}`,
  };
}

/** Whether the codecs read the stored syntax and write the other: better said before the first byte than by a torn body. */
export function canTranscode(instance: InstanceRecord, target: string): boolean {
  const to = PIXEL_SYNTAXES[target];
  if (to === undefined || !to.encodes) return false;
  if (instance.pixels === undefined) return true;
  const from = PIXEL_SYNTAXES[instance.transferSyntaxUID];
  if (from === undefined) return false;
  const number = (tag: string, otherwise: number): number => Number(instance.attributes[tag]?.Value?.[0] ?? otherwise);
  const bits = number('00280100', 8);
  // 12-bit images do not fit.
  if (target === JPEG_BASELINE && bits > 8) return false;
  if (AS_THEY_ARE.has(to.coding)) return true;
  if (to.coding === 'jpeg2000' && bits > 8 && number('00280002', 1) > 1 && !holdsWideColour(target)) return false;
  return bits > 1 && bits <= 16;
}

/** What holds samples of any kind: packed bits, and those of 32 and 64 */
const AS_THEY_ARE: ReadonlySet<Coding> = new Set(['native', 'uncompressedFrame', 'deflatedFrame', 'rle']);

/** Starts reading what is delivered. The caller reads the payload to its end, or releases it. */
export const openDelivery = (services: Services, delivery: Delivery, options?: ReadOptions): Promise<Payload> =>
  payloadOf(readDelivery(services, delivery, { offset: 0, length: delivery.instance.sizeBytes }, options));

/**
 * As `openDelivery`, with what is delivered in the end. That the pixels of an object cannot be decoded is known when they are: one such image
 * must not keep the others of its study from anybody.
 */
export async function openEither(
  services: Services,
  delivery: Delivery,
  options?: ReadOptions,
): Promise<{ readonly delivery: Delivery; readonly body: Payload }> {
  try {
    return { delivery, body: await openDelivery(services, delivery, options) };
  } catch (error) {
    const { otherwise } = delivery;
    if (otherwise === undefined || !isUndecodable(error)) throw error;
    return { delivery: otherwise, body: await openDelivery(services, otherwise, options) };
  }
}

/** The bytes of a delivery; of a stored object those of `range`, in one array when they are few. */
export function readDelivery(
  services: Services,
  { instance, transferSyntaxUID, transcode }: Delivery,
  range: { readonly offset: number; readonly length: number },
  options?: ReadOptions,
): AsyncIterable<Uint8Array> | Promise<Uint8Array> {
  if (transcode) return transcodeInstance(services, instance, transferSyntaxUID);
  const { blobs, policy } = services;
  const isWhole = range.length <= WHOLE_READ_BYTES;
  if (!policy.sanitizePreamble || range.offset >= PREAMBLE_BYTES)
    return isWhole ? blobs.readBytes(instance.blobKey, range, options) : blobs.read(instance.blobKey, range);
  return isWhole ? wholeWithoutPreamble(blobs, instance, range, options) : withoutPreamble(blobs, instance, range);
}

async function wholeWithoutPreamble(
  blobs: Services['blobs'],
  instance: InstanceRecord,
  range: { readonly offset: number; readonly length: number },
  options?: ReadOptions,
): Promise<Uint8Array> {
  const whole = await blobs.readBytes(instance.blobKey, range, options);
  if (!(await hasPreamble(blobs, instance))) return whole;
  return instead(whole, zeroed(whole, PREAMBLE_BYTES - range.offset));
}

async function* withoutPreamble(
  blobs: Services['blobs'],
  instance: InstanceRecord,
  range: { readonly offset: number; readonly length: number },
): AsyncGenerator<Uint8Array> {
  let left = (await hasPreamble(blobs, instance)) ? PREAMBLE_BYTES - range.offset : 0;
  for await (const chunk of blobs.read(instance.blobKey, range)) {
    yield left > 0 ? zeroed(chunk, left) : chunk;
    left -= chunk.length;
  }
}

/** Objects that came without one begin with their file meta, or with the data set. */
async function hasPreamble(blobs: Services['blobs'], { blobKey, sizeBytes }: InstanceRecord): Promise<boolean> {
  if (sizeBytes < PREAMBLE_BYTES + 4) return false;
  const mark = await blobs.readBytes(blobKey, { offset: PREAMBLE_BYTES, length: 4 });
  return Buffer.from(mark).toString('latin1') === 'DICM';
}

/** A copy, as the array may be the store's own memory, with the first `count` bytes 0. */
const zeroed = (bytes: Uint8Array, count: number): Uint8Array =>
  Uint8Array.from(bytes).fill(0, 0, Math.min(count, bytes.length));
