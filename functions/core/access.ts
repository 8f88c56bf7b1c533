import { PacsError } from './errors.ts';

/** Who asks. `tenant` is an opaque id of [a-z0-9-], at most 32 characters; it stands first in every key. */
export interface Principal {
  readonly tenant: string;
  readonly subject: string;
  readonly roles: readonly Role[];
}

/** Of an application entity that speaks DIMSE: `modality` has all of the six that follow it. */
export type Role =
  | 'admin'
  | 'modality'
  | 'sender'
  | 'finder'
  | 'retriever'
  | 'committer'
  | 'worklistReader'
  | 'performer'
  /** an edge gateway: what its modalities may do, and to report on itself */
  | 'gateway'
  | 'anonymous';

export type Action =
  | 'store'
  | 'search'
  | 'retrieve'
  | 'delete'
  | 'reject'
  | 'restore'
  | 'administer'
  | 'monitor'
  | 'readEvents'
  /** ask for storage commitment */
  | 'commit'
  | 'readWorklist'
  | 'changeWorklist'
  /** report performed procedure steps (MPPS) */
  | 'performProcedure'
  | 'readProcedures'
  /** a gateway's heartbeat */
  | 'reportAsGateway';

export interface Resource {
  readonly StudyInstanceUID?: string;
  readonly SeriesInstanceUID?: string;
  readonly SOPInstanceUID?: string;
}

const PERMISSIONS: Record<Role, ReadonlySet<Action>> = {
  admin: new Set<Action>([
    'store',
    'search',
    'retrieve',
    'delete',
    'reject',
    'restore',
    'administer',
    'monitor',
    'readEvents',
    'commit',
    'readWorklist',
    'changeWorklist',
    'performProcedure',
    'readProcedures',
    'reportAsGateway',
  ]),
  modality: new Set<Action>(['store', 'search', 'retrieve', 'commit', 'readWorklist', 'performProcedure']),
  sender: new Set<Action>(['store']),
  finder: new Set<Action>(['search']),
  retriever: new Set<Action>(['retrieve']),
  committer: new Set<Action>(['commit']),
  worklistReader: new Set<Action>(['readWorklist']),
  performer: new Set<Action>(['performProcedure']),
  gateway: new Set<Action>([
    'store',
    'search',
    'retrieve',
    'commit',
    'readWorklist',
    'performProcedure',
    'reportAsGateway',
  ]),
  anonymous: new Set<Action>(),
};

/**
 * The one policy point: every door asks here before it touches anything.
 * @throws PacsError UNAUTHENTICATED for nobody, FORBIDDEN for somebody without the right.
 */
export function authorize(principal: Principal | undefined, action: Action, _resource: Resource = {}): Principal {
  if (principal === undefined) throw new PacsError('UNAUTHENTICATED', 'authentication is required');
  if (principal.roles.some((role) => PERMISSIONS[role].has(action))) return principal;
  throw new PacsError('FORBIDDEN', `the role does not permit ${action}`, { details: { action } });
}
