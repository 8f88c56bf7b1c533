import type { KeptReach } from '../access/reach.ts';
import type { CountedStudy } from '../costs/usage-records.ts';
import type { DataSet } from '../dicom/types.ts';
import type { Key } from '../ports/index-table.ts';

/**
 * The records of the archive and where they stand in the IndexTable. The tenant opens every partition, so no key of one
 * tenant can be reached from another. One place for all key layouts: nothing else builds keys (the search module's postings,
 * in search/postings.ts, share links, in share-links/records.ts, counters of usage, in costs/usage-records.ts, and the records of worklist and procedure steps, in worklist/records.ts, procedure/records.ts and tier-records.ts, excepted).
 *
 * | record    | partition                    | sort                | holds                                         |
 * |-----------|------------------------------|---------------------|-----------------------------------------------|
 * | study     | t|study|{Study}              | study               | StudyRecord                                   |
 * | series    | t|study|{Study}              | series|{Series}     | SeriesRecord                                  |
 * | delta     | t|study|{Study}              | delta|{id}          | Delta not yet folded into study and series    |
 * | fold lease| t|folding|{Study}            | folding             | FoldLease: whose turn it is to fold the deltas |
 * | instance  | t|instances|{Study}|{Series} | {SOP}               | InstanceRecord                                |
 * | metadata  | t|metadata|{Study}|{Series}  | {SOP}               | { json } | { blobKey }: DICOM JSON as UTF-8    |
 * | SOP claim | t|sop|{SOP}                  | sop                 | SopClaim: the one owner of this SOPInstanceUID |
 * | series at | t|seriesof|{Series}          | {Study}             | {}: in which studies a series UID stands      |
 * | pending   | t|pending                    | {version}           | PendingRecord: a store that has begun         |
 * | held      | t|held                       | {version}           | HeldRecord: a conflict kept in quarantine     |
 * | held by   | t|heldof|{SOP}               | {sha256}            | { id }                                        |
 * | trash     | t|trash                      | {id}                | TrashRecord                                   |
 * | purge mark| t|purge                      | mark                | PurgeMark                                     |
 * | unfolded  | t|unfolded                   | {delta id}          | { study }                                     |
 * | trashing  | t|trashing|{id}              | {page}              | { instances }: what a removal set out to move |
 * | trashed   | t|trashed|{id}               | {SOP}|{version}     | InstanceRecord                                |
 * | old       | t|superseded|{SOP}           | {version}           | InstanceRecord                                |
 * | commitment| t|commitment                 | {id}                | CommitmentRecord                              |
 * | evicting  | t|evicting                   | {version}           | { blobKey }: bytes that are being removed     |
 * | evicted   | t|evicted|{Study}            | {SOP}               | EvictedRecord                                 |
 * | upload    | t|transactions               | {id}                | TransactionNote: the store transactions there are |
 * | uploads   | t|transaction|{id}           | objects             | TransactionRecord                             |
 * | its end   | t|transaction|{id}           | end                 | TransactionEnd: committed or abandoned        |
 * | outcome   | t|transaction|{id}           | outcome|{object}    | KeptOutcome                                   |
 * | event     | t|feed                       | (appended)          | ArchiveEvent                                  |
 */

/** sort key of a version: time-ordered, unique (ULID) */
export type Version = string;

export interface StudyRecord {
  /** optimistic lock of the fold, from 1 */
  version: number;
  StudyInstanceUID: string;
  /** patient and study level attributes as received (STUDY_ATTRIBUTES in search/attributes.ts), DICOM JSON */
  attributes: DataSet;
  /** instances by Modality; ModalitiesInStudy = its keys */
  modalities: Record<string, number>;
  /** instances by SOPClassUID; SOPClassesInStudy = its keys */
  sopClasses: Record<string, number>;
  seriesCount: number;
  instanceCount: number;
  /** bytes as received */
  sizeBytes: number;
  /** instances that say PatientIdentityRemoved (0012,0062) YES: the study is de-identified when all do. Absent in records of before: none is known to */
  deidentified?: number | undefined;
  /** instances by InstitutionName (0008,0080); at most STUDY_SITES of them. Absent in records of before: none is known */
  sites?: Record<string, number> | undefined;
  /** ms since 1970 */
  firstStoredAt: number;
  lastStoredAt: number;
  /** ONLINE | NEARLINE | OFFLINE (0008,0056) */
  availability: string;
  /** changes whenever anything a reader of this study sees changes: part of ETags */
  revision: string;
  /** a study-quiet job is on its way since then (ms) */
  quietJobAt?: number | undefined;
  /** what the counters of usage hold of it */
  counted?: CountedStudy | undefined;
}

/** institutions of one study that are told apart; an instance of one more counts for none */
export const STUDY_SITES = 64;

export interface SeriesRecord {
  version: number;
  StudyInstanceUID: string;
  SeriesInstanceUID: string;
  /** series level attributes as received (SERIES_ATTRIBUTES), DICOM JSON */
  attributes: DataSet;
  modality: string;
  sopClasses: Record<string, number>;
  instanceCount: number;
  sizeBytes: number;
  firstStoredAt: number;
  lastStoredAt: number;
  availability: string;
  revision: string;
  /** the prepared metadata document, valid while its `revision` equals the series' own; `root`: what its references stand on */
  prepared?: { revision: string; blobKey: string; gzipBytes: number; root?: string } | undefined;
}

export interface InstanceRecord {
  StudyInstanceUID: string;
  SeriesInstanceUID: string;
  SOPInstanceUID: string;
  SOPClassUID: string;
  Modality: string;
  version: Version;
  transferSyntaxUID: string;
  blobKey: string;
  sizeBytes: number;
  sha256: string;
  /** where the data set starts in the blob */
  dataSetOffset: number;
  storedAt: number;
  /** AE title or 'STOW' etc: where it came from */
  source: string;
  /** archives that it has come through by routing, first to last */
  route?: readonly string[] | undefined;
  /** of the UIDs above, those that its data set lacks (supplied-uids.ts) */
  suppliedUIDs?: readonly ('StudyInstanceUID' | 'SeriesInstanceUID' | 'SOPInstanceUID' | 'SOPClassUID')[] | undefined;
  /** instance level attributes (INSTANCE_ATTRIBUTES), DICOM JSON */
  attributes: DataSet;
  /** PatientIdentityRemoved (0012,0062) is YES */
  deidentified?: true | undefined;
  /** InstitutionName (0008,0080) */
  site?: string | undefined;
  pixels?: InstancePixels | undefined;
}

/** The frame table stands in the record while small, else in a blob of its own. */
export type InstancePixels =
  | {
      kind: 'native';
      tag: string;
      vr: string;
      offset: number;
      length: number;
      frames: number;
      frameLengthBits: number;
      inflated?: boolean | undefined;
    }
  | { kind: 'fragments'; frames: number; table?: Uint8Array | undefined; tableBlobKey?: string | undefined };

/** Who owns a SOPInstanceUID. `version` is the optimistic lock, which begins elsewhere for each owner (lockOf); `instanceVersion` names the bytes that are current. */
export interface SopClaim {
  version: number;
  StudyInstanceUID: string;
  SeriesInstanceUID: string;
  instanceVersion: Version;
  sha256: string;
  /** a rejection note hides the instance: the id of its trash record */
  rejectedBy?: string | undefined;
  /** … which has not come yet, so there are no bytes of it (`sha256` is empty), and `rejectedBy` is the note's SOPInstanceUID */
  ahead?: { reason: string; by: string } | undefined;
}

/**
 * A store that has begun. The commit removes it under the condition `version` 1; the sweeper raises it to 2 before it touches
 * the blob. So either the commit or the sweeper has the bytes, never both.
 */
export interface PendingRecord {
  version: 1 | 2;
  blobKey: string;
  StudyInstanceUID: string;
  SeriesInstanceUID: string;
  SOPInstanceUID: string;
  startedAt: number;
  /** the bytes have been given up for good; the record keeps a store that was only slow from committing them */
  abandoned?: boolean | undefined;
}

export interface Delta {
  SeriesInstanceUID: string;
  modality: string;
  instances: number;
  sizeBytes: number;
  sopClasses: Record<string, number>;
  deidentified?: number | undefined;
  sites?: Record<string, number> | undefined;
  /** the attributes replace the record's (a corrected object superseded another); else only a new record takes them */
  overwrite?: boolean | undefined;
  /** of the first instance of the batch */
  studyAttributes: DataSet;
  seriesAttributes: DataSet;
  at: number;
}

/**
 * Whose turn it is to fold a study's deltas, so that writers do not fight for its record. Courtesy, not safety: the fold stands
 * under the lock of what it changes. Who dies with it holds it until `until` (ms).
 */
export interface FoldLease {
  version: number;
  until: number;
}

/** Same UID, other bytes, or sent in by a guest: kept aside until a person decides. */
export interface HeldRecord {
  id: string;
  kind: ConflictKind;
  StudyInstanceUID: string;
  SeriesInstanceUID: string;
  SOPInstanceUID: string;
  blobKey: string;
  sizeBytes: number;
  sha256: string;
  receivedAt: number;
  source: string;
  /** whose it is (archive/whose.ts); absent in records of before */
  attributes?: DataSet | undefined;
  /** id of the share link by which it came, where it waits for that reason (`uploaded`) */
  link?: string | undefined;
  /** what is in the archive under the UID; where nothing was, `sha256` is empty */
  existing: {
    sha256: string;
    sizeBytes: number;
    storedAt: number;
    StudyInstanceUID: string;
    SeriesInstanceUID: string;
  };
}

export type ConflictKind =
  | 'otherPatient'
  | 'otherStudy'
  | 'otherSopClass'
  | 'otherTransferSyntax'
  | 'otherPixels'
  | 'otherHeader'
  /** no conflict: a guest sent it, and nobody has looked at it */
  | 'uploaded';

/** What was deleted or rejected, and can be had back until `purgeAt`. Its instances stand in `trashed`. */
export interface TrashRecord {
  version: number;
  id: string;
  kind: 'deleted' | 'rejected' | 'replaced';
  level: 'study' | 'series' | 'instance';
  StudyInstanceUID: string;
  SeriesInstanceUID?: string | undefined;
  SOPInstanceUID?: string | undefined;
  /** complete: every instance has been moved */
  state: 'moving' | 'complete' | 'restoring' | 'purging';
  instanceCount: number;
  /** whose it is (archive/whose.ts); absent in records of before */
  attributes?: DataSet | undefined;
  deletedAt: number;
  /** ms since 1970; null: kept until a person decides */
  purgeAt: number | null;
  reason: string;
  by: string;
}

/** What the clock showed at the last sweep (archive/purge-hold.ts). */
export interface PurgeMark {
  version: number;
  /** ms since 1970 */
  sweptAt: number;
  /** nothing is removed for good before (ms since 1970) */
  heldUntil: number;
}

/** An instance whose bytes another archive holds; this one has let go of its copy (archive/evict.ts). */
export interface EvictedRecord {
  SeriesInstanceUID: string;
  SOPClassUID: string;
  transferSyntaxUID: string;
  sha256: string;
  sizeBytes: number;
  evictedAt: number;
  /** SHA-256 of what was here under this UID before, and was evicted too; the first ones */
  earlier?: readonly string[];
}

/** A request for storage commitment (PS3.4 Annex J) that has not been answered yet. */
export interface CommitmentRecord {
  id: string;
  /** who asked, and gets the answer */
  aeTitle: string;
  TransactionUID: string;
  /** JSON of [SOPClassUID, SOPInstanceUID] pairs, deflated: a study of 20,000 instances must fit */
  references: Uint8Array;
  requestedAt: number;
  /** of who asked, where he was confined */
  reach?: KeptReach | undefined;
}

/** What happened, in order. Types and UIDs only. */
export interface ArchiveEvent {
  type:
    | 'InstanceStored'
    | 'StudyQuiet'
    | 'Conflict'
    | 'ConflictResolved'
    | 'Rejected'
    | 'Deleted'
    | 'Restored'
    | 'Purged'
    | 'ProcedureStepStarted'
    | 'ProcedureStepCompleted'
    | 'ProcedureStepDiscontinued'
    /** somebody took reach beyond what he is given (access/changes.ts); no study is named */
    | 'EmergencyAccess'
    /** a procedure step was completed and every instance that it names has arrived */
    | 'StudyComplete'
    /** by share links: `id` is the link's */
    | 'ShareCreated'
    | 'ShareOpened'
    | 'ShareRevoked'
    | 'ShareExpired';
  at: number;
  StudyInstanceUID: string;
  SeriesInstanceUID?: string | undefined;
  SOPInstanceUID?: string | undefined;
  /** id of the held or trash record the event speaks of; SOP Instance UID of the procedure step */
  id?: string | undefined;
  sha256?: string | undefined;
  instances?: number | undefined;
}

/** A string of digits and dots only, so it can stand in keys; separators are '|'. */
export type Tenant = string;

export const keys = {
  study: (t: Tenant, study: string): Key => ({ partition: `${t}|study|${study}`, sort: 'study' }),
  series: (t: Tenant, study: string, series: string): Key => ({
    partition: `${t}|study|${study}`,
    sort: `series|${series}`,
  }),
  delta: (t: Tenant, study: string, id: string): Key => ({ partition: `${t}|study|${study}`, sort: `delta|${id}` }),
  folding: (t: Tenant, study: string): Key => ({ partition: `${t}|folding|${study}`, sort: 'folding' }),
  instance: (t: Tenant, study: string, series: string, sop: string): Key => ({
    partition: `${t}|instances|${study}|${series}`,
    sort: sop,
  }),
  metadata: (t: Tenant, study: string, series: string, sop: string): Key => ({
    partition: `${t}|metadata|${study}|${series}`,
    sort: sop,
  }),
  sop: (t: Tenant, sop: string): Key => ({ partition: `${t}|sop|${sop}`, sort: 'sop' }),
  seriesOf: (t: Tenant, series: string, study: string): Key => ({ partition: `${t}|seriesof|${series}`, sort: study }),
  pending: (t: Tenant, version: Version): Key => ({ partition: `${t}|pending`, sort: version }),
  held: (t: Tenant, version: Version): Key => ({ partition: `${t}|held`, sort: version }),
  /** the deltas not yet folded, so that one whose writer died is found */
  unfolded: (t: Tenant, id: string): Key => ({ partition: `${t}|unfolded`, sort: id }),
  /** held records by what they hold, so that a resend of held bytes is recognised */
  heldOf: (t: Tenant, sop: string, sha256: string): Key => ({ partition: `${t}|heldof|${sop}`, sort: sha256 }),
  trash: (t: Tenant, id: string): Key => ({ partition: `${t}|trash`, sort: id }),
  purgeMark: (t: Tenant): Key => ({ partition: `${t}|purge`, sort: 'mark' }),
  /** sort ends with the version: one trash record may hold several versions of an instance */
  trashed: (t: Tenant, id: string, sop: string, version: Version): Key => ({
    partition: `${t}|trashed|${id}`,
    sort: `${sop}|${version}`,
  }),
  /** versions of an instance that are no longer current, under the conflict policy `version` */
  superseded: (t: Tenant, sop: string, version: Version): Key => ({
    partition: `${t}|superseded|${sop}`,
    sort: version,
  }),
  evicting: (t: Tenant, version: Version): Key => ({ partition: `${t}|evicting`, sort: version }),
  evicted: (t: Tenant, study: string, sop: string): Key => ({ partition: `${t}|evicted|${study}`, sort: sop }),
  commitment: (t: Tenant, id: string): Key => ({ partition: `${t}|commitment`, sort: id }),
  transaction: (t: Tenant, id: string): Key => ({ partition: `${t}|transactions`, sort: id }),
  transactionObjects: (t: Tenant, id: string): Key => ({ partition: `${t}|transaction|${id}`, sort: 'objects' }),
  transactionEnd: (t: Tenant, id: string): Key => ({ partition: `${t}|transaction|${id}`, sort: 'end' }),
  /** `object`: from 0 */
  transactionOutcome: (t: Tenant, id: string, object: number): Key => ({
    partition: `${t}|transaction|${id}`,
    sort: `outcome|${String(object).padStart(6, '0')}`,
  }),
  feed: (t: Tenant): string => `${t}|feed`,
} as const;
