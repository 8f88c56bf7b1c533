import { AccessNotes } from './archive/access-notes.ts';
import { CommitQueue } from './archive/commit.ts';
import { StudyFolder } from './archive/fold.ts';
import { PLACEMENT_MODALITIES } from './archive/place.ts';
import { AuditTrail, type AuditTrailOptions } from './audit/trail.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';
import { NO_DESTINATIONS } from './routing/allowed.ts';
import type { Policy, Services } from './services.ts';

const DEFAULT_POLICY: Policy = {
  conflict: 'keepFirst',
  sanitizePreamble: false,
  missingUIDs: 'refuse',
  audit: 'writes',
  tiers: [],
  procedureStepListeners: [],
  placementModalities: PLACEMENT_MODALITIES,
  metadataFrom: 'archive',
  rejectsAhead: true,
  prices: { kind: 'none' },
  routing: NO_DESTINATIONS,
};

type Ports = Pick<Services, 'blobs' | 'index' | 'jobs' | 'clock' | 'pixels'> &
  Partial<Pick<Services, 'placement' | 'sender' | 'landing' | 'direct'>>;

interface Options extends AuditTrailOptions {
  readonly limits?: Partial<Limits>;
  readonly policy?: Partial<Policy>;
}

/** Puts the archive together on a host's ports. A host whose process goes on when it has answered says so: `outlivesAnswers`. */
export function assemble(ports: Ports, options: Options = {}): Services {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const policy = { ...DEFAULT_POLICY, ...options.policy };
  const folder = new StudyFolder({ ...ports, limits, policy });
  return {
    landing: ports.blobs,
    direct: {},
    ...ports,
    limits,
    policy,
    folder,
    commits: new CommitQueue({ ...ports, limits, folder }),
    access: new AccessNotes(ports, policy.tiers.length > 0),
    audit: new AuditTrail({ ...ports, limits }, policy.audit, options),
  };
}
