import type { MedicalImagingClient } from '@aws-sdk/client-medical-imaging';
import type { S3Client } from '@aws-sdk/client-s3';
import type { Limits } from '#core/limits.ts';
import type { BlobStore } from '#core/ports/blob-store.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { IndexTable } from '#core/ports/index-table.ts';
import type { RetryPolicy } from '../retry.ts';

export interface HealthImagingOptions {
  readonly client: MedicalImagingClient;
  readonly s3: S3Client;
  readonly datastoreId: string;
  /** role by which HealthImaging reads the staged objects and writes its results */
  readonly dataAccessRoleArn: string;
  /** where the received objects are */
  readonly archiveBucket: string;
  /** where objects are staged and results written; it forgets them by itself */
  readonly landingBucket: string;
  /** the landing bucket as a BlobStore, to read results and to remove what was staged */
  readonly landing: BlobStore;
  /** the received objects: an image set whose object is gone there has to go too */
  readonly archive: BlobStore;
  readonly index: IndexTable;
  readonly clock: Clock;
  readonly retry?: RetryPolicy;
  readonly limits?: Partial<ImagingLimits>;
  /** of the archive: what stands in metadata, and how much of an image set is held */
  readonly archiveLimits: Pick<
    Limits,
    'inlineBinaryBytes' | 'inlineValueBytes' | 'sequenceDepth' | 'placedMetadataBytes'
  >;
}

/** Quotas (HealthImaging's endpoints and quotas; may be raised by AWS on request). */
export interface ImagingLimits {
  readonly filesPerJob: number;
  readonly bytesPerJob: number;
  /** larger objects cannot be copied in one request */
  readonly fileBytes: number;
  /** `GetImageFrame` a second of one process; what is over it is made from the object */
  readonly framesPerSecond: number;
  /** `GetImageSetMetadata` a second of one process, but those of imports; what is over it is the archive's own */
  readonly metadataPerSecond: number;
  /** a job that has not ended by then is given up, and its instances are placed anew (ms) */
  readonly jobMs: number;
}

const GIBIBYTE = 1024 ** 3;
export const DEFAULT_IMAGING_LIMITS: ImagingLimits = {
  filesPerJob: 5_000,
  bytesPerJob: 10 * GIBIBYTE,
  fileBytes: 5 * GIBIBYTE,
  // 1,000 a second of a data store, shared out among the functions that read at the same time
  framesPerSecond: 50,
  // 50 of a data store, shared out in the same way
  metadataPerSecond: 5,
  jobMs: 24 * 60 * 60 * 1000,
};
