import type { StudyReach } from './access/reach.ts';
import type { AccessNotes } from './archive/access-notes.ts';
import type { CommitQueue } from './archive/commit.ts';
import type { StudyFolder } from './archive/fold.ts';
import type { TierStep } from './archive/tier-policy.ts';
import type { AuditPolicy, AuditTrail } from './audit/trail.ts';
import type { PriceSource } from './costs/pricing.ts';
import type { Limits } from './limits.ts';
import type { BlobStore } from './ports/blob-store.ts';
import type { Clock } from './ports/clock.ts';
import type { DirectAccess } from './ports/direct-access.ts';
import type { FramePlacement } from './ports/frame-placement.ts';
import type { IndexTable } from './ports/index-table.ts';
import type { JobQueue } from './ports/job-queue.ts';
import type { ObjectSender } from './ports/object-sender.ts';
import type { PixelEngine } from './ports/pixel-engine.ts';
import type { AllowedDestinations } from './routing/allowed.ts';

/** What the same UID with other bytes leads to; nothing is dropped by any of them. */
export type ConflictPolicy = 'keepFirst' | 'version' | 'replace';

export interface Policy {
  readonly conflict: ConflictPolicy;
  /** zero the 128-byte preamble of objects on their way out (it may hide an executable) */
  readonly sanitizePreamble: boolean;
  /** of objects that name no study or no series: `refuse`, or `derive` these UIDs from the SOP Instance UID */
  readonly missingUIDs: 'refuse' | 'derive';
  /** what stops while the audit trail cannot be written */
  readonly audit: AuditPolicy;
  /** by which studies that nobody reads are given colder tiers, warmest first; none: the store's own rules alone */
  readonly tiers: readonly TierStep[];
  /** AE titles of who is told of every change of a procedure step; only a host that speaks DIMSE can */
  readonly procedureStepListeners: readonly string[];
  /** studies with images of one of these modalities are placed where the host has a placement */
  readonly placementModalities: readonly string[];
  /** where metadata are read first: `archive`, its own, and the placement when they cannot be read; `placement`, the other way round */
  readonly metadataFrom: 'archive' | 'placement';
  /** by which costs are reckoned */
  readonly prices: PriceSource;
  /** whether a rejection note also hides what comes after it; not where all that comes has to be sent on */
  readonly rejectsAhead: boolean;
  /** where objects may be sent by routing; without hosts there is no routing */
  readonly routing: AllowedDestinations;
}

/** All that a use case needs; a host makes one (see assemble) and hands it to every call. */
export interface Services {
  readonly blobs: BlobStore;
  /** parts of store transactions until they are stored; the same store as `blobs`, or one that forgets */
  readonly landing: BlobStore;
  /** signed URLs, for hosts whose stores can sign; else bytes pass through the host */
  readonly direct: { readonly archive?: DirectAccess; readonly landing?: DirectAccess };
  readonly index: IndexTable;
  readonly jobs: JobQueue;
  readonly clock: Clock;
  readonly pixels: PixelEngine;
  /** a second home of frames, ready in another transfer syntax, and of metadata; where the host has one */
  readonly placement?: FramePlacement | undefined;
  /** what sends objects elsewhere, in programs that do the work of the queue `route` */
  readonly sender?: ObjectSender | undefined;
  readonly limits: Limits;
  readonly policy: Policy;
  readonly commits: CommitQueue;
  readonly folder: StudyFolder;
  /** where every act is recorded */
  readonly audit: AuditTrail;
  /** when studies were last read, where a policy asks for it */
  readonly access: AccessNotes;
  /** in services that were confined to a principal's reach (access/confine.ts): what that is */
  readonly reach?: StudyReach | undefined;
  /** … and the services they were made of */
  readonly whole?: Services | undefined;
}
