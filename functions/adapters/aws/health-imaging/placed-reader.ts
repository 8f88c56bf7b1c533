import { GetImageFrameCommand, GetImageSetMetadataCommand } from '@aws-sdk/client-medical-imaging';
import { metadataText } from '#core/archive/instance.ts';
import type { InstanceRecord } from '#core/archive/records.ts';
import { HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL } from '#core/dicom/transfer-syntaxes.ts';
import type { PlacedMetadata, PlacedSeries } from '#core/ports/frame-placement.ts';
import { asRecord, recordsIn } from '#core/ports/index-table.ts';
import { ByteCache } from '#core/retrieve/byte-cache.ts';
import { type RetryPolicy, retrying } from '../retry.ts';
import { TokenBucket } from '../token-bucket.ts';
import { dataSetOf } from './image-set-data-set.ts';
import { gathered, ImageSetDocument } from './image-set-document.ts';
import { DEFAULT_IMAGING_LIMITS, type HealthImagingOptions } from './options.ts';
import {
  frameIdAt,
  type PlacedRecord,
  type PlacedSetRecord,
  placementKeys,
  RECORDS_PAGE,
} from './placement-records.ts';

/** HealthImaging stores HTJ2K with RPCL progression, which is HTJ2K as well */
const ALSO: Readonly<Record<string, readonly string[]>> = {
  [HTJ2K_LOSSLESS_RPCL]: [HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL],
};
/** a reader waits for it, and there is another home to read from */
const READ_RETRY: RetryPolicy = { attempts: 4, firstMs: 25, mostMs: 250 };
/** metadata of image sets as they came, for who asks for one instance after another (bytes) */
const CACHE_BYTES = 32 * 1024 * 1024;

/** Reads what was placed (docs/health-imaging.md), as long as it is of the bytes that are current. Nothing here throws. */
export class PlacedReader {
  readonly #options: HealthImagingOptions;
  readonly #frames: TokenBucket;
  readonly #metadata: TokenBucket;
  /** by image set and version, which are for ever the same */
  readonly #cache = new ByteCache(CACHE_BYTES);

  constructor(options: HealthImagingOptions) {
    this.#options = options;
    const { framesPerSecond, metadataPerSecond } = { ...DEFAULT_IMAGING_LIMITS, ...options.limits };
    this.#frames = new TokenBucket(framesPerSecond, options.clock);
    this.#metadata = new TokenBucket(metadataPerSecond, options.clock);
  }

  /** As FramePlacement. */
  async readFrame(
    instance: InstanceRecord,
    number: number,
    transferSyntaxUID: string,
  ): Promise<Uint8Array | undefined> {
    const [tenant = ''] = instance.blobKey.split('/');
    try {
      const key = placementKeys.placed(tenant, instance.StudyInstanceUID, instance.SOPInstanceUID);
      const record = (await this.#options.index.get(key)) as PlacedRecord | undefined;
      const stored = record?.transferSyntaxUID ?? '';
      if (record?.frames === undefined || record.instanceVersion !== instance.version) return undefined;
      if (!(ALSO[stored] ?? [stored]).includes(transferSyntaxUID)) return undefined;
      const imageFrameId = frameIdAt(record.frames, number);
      if (imageFrameId === undefined || record.imageSetId === undefined) return undefined;
      if (!this.#frames.take()) return undefined;
      const command = new GetImageFrameCommand({
        datastoreId: this.#options.datastoreId,
        imageSetId: record.imageSetId,
        imageFrameInformation: { imageFrameId },
      });
      const answer = await this.#call(() => this.#options.client.send(command));
      return await answer.imageFrameBlob?.transformToByteArray();
    } catch {
      // Throttled, down, or the image set has been deleted: the object itself is always there to be read.
      return undefined;
    }
  }

  /** As FramePlacement. */
  async openMetadata({
    tenant,
    StudyInstanceUID,
    SeriesInstanceUID,
    SOPInstanceUID,
  }: PlacedSeries): Promise<PlacedMetadata | undefined> {
    const { index, archiveLimits } = this.#options;
    const documents = new Map<string, ImageSetDocument>();
    let leftBytes = archiveLimits.placedMetadataBytes;
    try {
      const partition = placementKeys.sets(tenant, StudyInstanceUID);
      const range = { partition, prefix: `${SeriesInstanceUID}|`, limit: RECORDS_PAGE };
      for await (const { sort, item } of recordsIn(index, range)) {
        const [, imageSetId = '', versionId = ''] = sort.split('|');
        const { instances } = asRecord<PlacedSetRecord>(item);
        const asked = instances.filter(([sop]) => SOPInstanceUID === undefined || sop === SOPInstanceUID);
        const document = asked.length > 0 ? await this.#imageSet(imageSetId, versionId, leftBytes) : undefined;
        if (document === undefined) continue;
        leftBytes -= document.bytes;
        for (const [sop, version] of asked) documents.set(`${sop}|${version}`, document);
      }
    } catch {
      // The index cannot be read: whoever asks finds that out by himself.
      return undefined;
    }
    if (documents.size === 0) return undefined;
    return { read: (instance) => textOf(documents, instance, archiveLimits) };
  }

  async #imageSet(imageSetId: string, versionId: string, limitBytes: number): Promise<ImageSetDocument | undefined> {
    const name = `${imageSetId}|${versionId}`;
    try {
      const kept = this.#cache.get(name);
      if (kept === undefined && !this.#metadata.take()) return undefined;
      const bytes = kept ?? (await this.#call(() => this.#download(imageSetId, versionId, limitBytes)));
      this.#cache.set(name, bytes);
      return await ImageSetDocument.from(bytes, limitBytes);
    } catch {
      // Throttled, down, deleted, too large, or not what it is said to be: the archive has metadata of its own.
      return undefined;
    }
  }

  async #download(imageSetId: string, versionId: string, limitBytes: number): Promise<Uint8Array> {
    const { client, datastoreId } = this.#options;
    const command = new GetImageSetMetadataCommand({ datastoreId, imageSetId, ...(versionId && { versionId }) });
    const { imageSetMetadataBlob } = await client.send(command);
    return gathered(imageSetMetadataBlob as AsyncIterable<Uint8Array> | undefined, limitBytes);
  }

  #call<T>(call: () => Promise<T>): Promise<T> {
    const { clock, retry = READ_RETRY } = this.#options;
    return retrying({ clock, policy: retry, changes: false }, call);
  }
}

function textOf(
  documents: ReadonlyMap<string, ImageSetDocument>,
  instance: InstanceRecord,
  limits: HealthImagingOptions['archiveLimits'],
): Buffer | undefined {
  try {
    const document = documents.get(`${instance.SOPInstanceUID}|${instance.version}`);
    const levels = document?.levelsOf(instance.SOPInstanceUID);
    return levels && Buffer.from(metadataText(dataSetOf(levels, instance, limits), instance));
  } catch {
    // An attribute that cannot be told for certain: the archive tells it.
    return undefined;
  }
}
