import type { InstanceRecord, Tenant } from '../archive/records.ts';

/**
 * FramePlacement — a second home for the frames of a study, from which they come ready in another transfer syntax, and for its metadata. The
 * received objects stay in the BlobStore and are what is read whenever the placement has nothing, or fails: it makes reading faster, never different.
 */
export interface FramePlacement {
  /**
   * Takes the next step of placing a study: to be called again after a while until it returns `placed`, by a job, at any time and by
   * several at once. Instances that came since are placed by the next call.
   * @throws PacsError BUSY when the service takes no more now; NOT_FOUND when there is no such study
   */
  place(tenant: Tenant, study: string): Promise<PlacementReport>;

  /**
   * Takes the next step of removing what the placement holds of objects that the BlobStore has no more: to be called again after a while
   * until it returns something else than `removing`. `placeAgain`: what was removed held instances that are still there, and are to be placed anew.
   * What lies in the trash stays. @throws PacsError BUSY when the service takes no more now
   */
  remove(tenant: Tenant, study: string): Promise<'removing' | 'removed' | 'placeAgain'>;

  /** A frame's codestream, from 1, in this transfer syntax; undefined where it is not to be had so. Throws nothing. */
  readFrame(instance: InstanceRecord, number: number, transferSyntaxUID: string): Promise<Uint8Array | undefined>;

  /** The metadata of a series, or of one instance of it; undefined where none are to be had. Throws nothing. */
  openMetadata(series: PlacedSeries): Promise<PlacedMetadata | undefined>;
}

export interface PlacedSeries {
  readonly tenant: Tenant;
  readonly StudyInstanceUID: string;
  readonly SeriesInstanceUID: string;
  /** what else there is need not be read */
  readonly SOPInstanceUID?: string;
}

export interface PlacedMetadata {
  /**
   * The DICOM JSON of an instance as UTF-8, its references as kept (METADATA_BASE); undefined where what was placed are other bytes than
   * the instance's, or where it is not certain what they mean. Throws nothing.
   */
  read(instance: InstanceRecord): Uint8Array | undefined;
}

export interface PlacementReport {
  readonly state: 'placing' | 'placed';
  /** instances whose frames can be read from the placement */
  readonly placed: number;
  /** instances that the service would not take, by reason: they are read from the BlobStore for good */
  readonly refused: Readonly<Record<string, number>>;
}

/** The queue of placements; payload { tenant, study, removal? }. */
export const PLACEMENT = 'placement';
