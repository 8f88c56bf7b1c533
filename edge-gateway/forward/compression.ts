import type { InstanceRecord } from '#core/archive/records.ts';
import { HTJ2K_LOSSLESS, JPEG_LS_LOSSLESS, transferSyntax } from '#core/dicom/transfer-syntaxes.ts';
import { PacsError } from '#core/errors.ts';
import { transcodeInstance } from '#core/pixels/transcode.ts';
import { canTranscode } from '#core/retrieve/objects.ts';
import type { Services } from '#core/services.ts';
import type { UpstreamConfig } from '../config.ts';
import { dataSetOffset, FIRST_BYTES } from './examine.ts';
import { wholeObject } from './pieces.ts';
import type { SentObject } from './records.ts';

const SYNTAX: Readonly<Record<Exclude<UpstreamConfig['compression'], 'none'>, string>> = {
  htj2k: HTJ2K_LOSSLESS,
  jpegls: JPEG_LS_LOSSLESS,
};

/** Everything of it in the blob store; no tenant's name begins so. */
export const COMPRESSED = '_forward/';

export const asReceived = (instance: InstanceRecord): SentObject => ({
  blobKey: instance.blobKey,
  sizeBytes: instance.sizeBytes,
  sha256: instance.sha256,
  transferSyntaxUID: instance.transferSyntaxUID,
  dataSetOffset: instance.dataSetOffset,
});

/**
 * The object without loss in fewer bytes, kept until it is confirmed, so that every attempt sends the same ones; as received where it
 * is compressed already, has no pixels, or does not get smaller.
 */
export async function compressed(
  services: Services,
  tenant: string,
  destination: string,
  instance: InstanceRecord,
  compression: UpstreamConfig['compression'],
): Promise<SentObject> {
  const isNative = !transferSyntax(instance.transferSyntaxUID).encapsulated;
  if (compression === 'none' || !isNative || instance.pixels === undefined) return asReceived(instance);
  const target = SYNTAX[compression];
  if (!canTranscode(instance, target)) return asReceived(instance);
  const blobKey = `${COMPRESSED}${tenant}/${destination}/${instance.SOPInstanceUID}.${instance.version}.dcm`;
  await services.blobs.delete(blobKey);
  try {
    // Compressed, what a disk has spoiled would have a digest of its own, and pass for what was received.
    for await (const _ of wholeObject(services.blobs, asReceived(instance)));
    const blob = await services.blobs.put(blobKey, transcodeInstance(services, instance, target));
    if (blob.size < instance.sizeBytes) {
      const head = await services.blobs.readBytes(blobKey, { offset: 0, length: Math.min(blob.size, FIRST_BYTES) });
      const offset = dataSetOffset(Buffer.from(head));
      if (offset !== null)
        return { blobKey, sizeBytes: blob.size, sha256: blob.sha256, transferSyntaxUID: target, dataSetOffset: offset };
    }
    await services.blobs.delete(blobKey);
  } catch (error) {
    // What cannot be compressed is sent as it is; a full disk is no reason to wait either.
    if (!(error instanceof PacsError)) throw error;
  }
  return asReceived(instance);
}
