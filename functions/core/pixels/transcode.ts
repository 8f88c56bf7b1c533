import type { InstanceRecord } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import type { EncodedFrame } from '../ports/pixel-engine.ts';
import type { Services } from '../services.ts';
import { encodedFrame } from './image-source.ts';
import { EXPLICIT_VR_BIG_ENDIAN, PIXEL_SYNTAXES } from './syntaxes.ts';

type Uses = Pick<Services, 'blobs' | 'index' | 'limits' | 'pixels'>;

/** JPEG Baseline and its like are made once, at this quality; lossless syntaxes know none */
const QUALITY = 90;

/**
 * One frame, from 1, in another transfer syntax: a codestream, or samples as Explicit VR Little Endian has them.
 * @throws PacsError NOT_FOUND; UNREADABLE_DATASET; UNSUPPORTED_TRANSFER_SYNTAX when the image does not fit the syntax
 */
export async function transcodeFrame(
  services: Uses,
  instance: InstanceRecord,
  frameNumber: number,
  targetSyntaxUID: string,
): Promise<Uint8Array> {
  const source = await encodedFrame(services, instance, frameNumber);
  return (await reencode(services, source, targetSyntaxUID)).codestream;
}

/** The frame in the target syntax, with what its data set must then say of it. */
export async function reencode(
  services: Pick<Services, 'pixels'>,
  source: EncodedFrame,
  target: string,
): Promise<EncodedFrame> {
  if (keepsBytes(source, target)) return { ...source, transferSyntaxUID: target };
  return services.pixels.transcode({ ...source, target: { transferSyntaxUID: target, quality: QUALITY } });
}

const isNative = (uid: string): boolean => PIXEL_SYNTAXES[uid]?.coding === 'native';

/** Little endian samples stay as they are between little endian syntaxes: packed bits and subsampled colour too. */
function keepsBytes({ transferSyntaxUID, image }: EncodedFrame, target: string): boolean {
  if (!isNative(target) || !isNative(transferSyntaxUID) || target === EXPLICIT_VR_BIG_ENDIAN) return false;
  return transferSyntaxUID !== EXPLICIT_VR_BIG_ENDIAN || image.BitsAllocated <= 8;
}

/** The whole object in another transfer syntax. */
export async function* transcodeInstance(
  _services: Uses,
  _instance: InstanceRecord,
  _targetSyntaxUID: string,
): AsyncGenerator<Uint8Array> {
  yield* [];
  throw new PacsError('UNSUPPORTED_TRANSFER_SYNTAX', 'whole objects cannot be transcoded yet');
}
