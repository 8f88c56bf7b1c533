import type { Key } from '#core/ports/index-table.ts';

/**
 * The records of placements, in partitions of their own.
 *
 * | record | partition               | sort            | holds                                              |
 * |--------|-------------------------|-----------------|----------------------------------------------------|
 * | import | t|placing|{Study}       | {batch}         | ImportRecord: a job under way, or what came of it  |
 * | placed | t|placed|{Study}        | {SOP}           | PlacedRecord: where an instance's frames are, or why nowhere |
 * | set    | t|placedsets|{Study}    | {Series}|{image set}|{version}|{batch} | PlacedSetRecord: of which instances' bytes the metadata of an image set are |
 * | begun  | t|placement|{Study}     | begun           | { version }: raised with each import that begins, so that of two who begin at once one does |
 * | member | t|imagesets|{Study}     | {image set}|{SOP}|{version} | MemberRecord: whose pixels an image set holds; kept until it is deleted there |
 */
export interface ImportRecord {
  version: number;
  /** `staged`: objects are being gathered, no job yet */
  state: 'staged' | 'importing' | 'done' | 'failed';
  jobId?: string | undefined;
  /** of what the job is to import: SOP Instance UID and the version of the bytes */
  instances: readonly { readonly sop: string; readonly version: string; readonly blobKey: string }[];
  startedAt: number;
}

export interface PlacedRecord {
  /** of the bytes: frames of other bytes are not those of the instance */
  instanceVersion: string;
  imageSetId?: string | undefined;
  transferSyntaxUID?: string | undefined;
  /** the frames' ids, 16 bytes each */
  frames?: Uint8Array | undefined;
  /** the image set conflicts with what the store has of the study: found by its id alone */
  nonPrimary?: boolean | undefined;
  /** why HealthImaging has it not */
  refused?: string | undefined;
}

export interface PlacedSetRecord {
  /** SOP Instance UID and the version of the bytes, of one batch */
  instances: readonly (readonly [sop: string, version: string])[];
}

export interface MemberRecord {
  /** of the received object: where it is no more, it has been removed for good */
  blobKey: string;
}

export const placementKeys = {
  imports: (t: string, study: string): string => `${t}|placing|${study}`,
  import: (t: string, study: string, batch: string): Key => ({ partition: `${t}|placing|${study}`, sort: batch }),
  begun: (t: string, study: string): Key => ({ partition: `${t}|placement|${study}`, sort: 'begun' }),
  placements: (t: string, study: string): string => `${t}|placed|${study}`,
  placed: (t: string, study: string, sop: string): Key => ({ partition: `${t}|placed|${study}`, sort: sop }),
  sets: (t: string, study: string): string => `${t}|placedsets|${study}`,
  set: (t: string, study: string, series: string, imageSetId: string, versionId: string, batch: string): Key => ({
    partition: `${t}|placedsets|${study}`,
    sort: `${series}|${imageSetId}|${versionId}|${batch}`,
  }),
  members: (t: string, study: string): string => `${t}|imagesets|${study}`,
  member: (t: string, study: string, imageSetId: string, sop: string, version: string): Key => ({
    partition: `${t}|imagesets|${study}`,
    sort: `${imageSetId}|${sop}|${version}`,
  }),
} as const;

/** records a page of what is read here in order */
export const RECORDS_PAGE = 1_000;

const ID_BYTES = 16;

/** @returns undefined where an id is not what the API says ids are */
export function packFrameIds(ids: readonly string[]): Uint8Array | undefined {
  if (ids.length === 0 || !ids.every((id) => /^[0-9a-f]{32}$/.test(id))) return undefined;
  return Buffer.from(ids.join(''), 'hex');
}

/** @param number from 1 */
export function frameIdAt(frames: Uint8Array, number: number): string | undefined {
  const at = (number - 1) * ID_BYTES;
  return at >= 0 && at + ID_BYTES <= frames.length
    ? Buffer.from(frames.subarray(at, at + ID_BYTES)).toString('hex')
    : undefined;
}
