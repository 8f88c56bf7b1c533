import { PacsError } from './errors.ts';
import type { Guest } from './share-links/guest.ts';

/** Who asks. `tenant` is an opaque id of [a-z0-9-], at most 32 characters; it stands first in every key. */
export interface Principal {
  readonly tenant: string;
  readonly subject: string;
  readonly roles: readonly Role[];
  /** what he reaches at most, whatever he is granted; absent: every study of the tenant (access/policy.ts narrows that down) */
  readonly reach?: Reach | undefined;
  /** what his issuer says of him, `claim=value`: grants may be made to it */
  readonly claims?: readonly string[] | undefined;
  /** of whoever came by a share link: what the link lets him do */
  readonly guest?: Guest | undefined;
}

/** Studies that meet any of the rules; none at all without one. */
export type Reach = readonly ReachRule[];

/** Studies that meet all that the rule names; every study where it names nothing. docs/roles.md says how each is compared. */
export interface ReachRule {
  /** StudyInstanceUIDs */
  readonly studies?: readonly string[] | undefined;
  /** InstitutionName of any instance, or IssuerOfPatientID; case and accents do not count */
  readonly sites?: readonly string[] | undefined;
  /** Modality of any series */
  readonly modalities?: readonly string[] | undefined;
  /** ReferringPhysicianName, compared as C-FIND does: without case, accents and trailing delimiters; `*` and `?` are wildcards */
  readonly referringPhysicians?: readonly string[] | undefined;
  /** PatientID and IssuerOfPatientID; without an issuer: studies that name none */
  readonly patients?: readonly { readonly id: string; readonly issuer?: string | undefined }[] | undefined;
  /** every instance says PatientIdentityRemoved YES */
  readonly deidentified?: true | undefined;
}

/** `modality` and what follows it, up to `performer`, are of application entities that speak DIMSE: `modality` has all of theirs. */
export type Role =
  | 'admin'
  /** looks at studies */
  | 'viewer'
  | 'radiologist'
  | 'technologist'
  /** sends patients and looks at the studies of his own: those that he has been granted */
  | 'referrer'
  /** looks at de-identified studies */
  | 'researcher'
  /** sees what it costs and how it runs, no images */
  | 'finance'
  /** who holds a link to studies: reaches those alone */
  | 'guest'
  /** reads the audit trail, no images */
  | 'auditor'
  /** a program that follows the feed of events */
  | 'follower'
  /** a program that keeps the worklist, and hears what came of it */
  | 'scheduler'
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
  /** what is stored, and what that costs */
  | 'readCosts'
  | 'readEvents'
  /** ask for storage commitment */
  | 'commit'
  | 'readWorklist'
  | 'changeWorklist'
  /** report performed procedure steps (MPPS) */
  | 'performProcedure'
  | 'readProcedures'
  /** a gateway's heartbeat */
  | 'reportAsGateway'
  | 'readAudit'
  /** see where studies are sent by rules, and how that goes */
  | 'readRouting'
  /** make de-identified copies of studies */
  | 'deidentify'
  /** take reach for a time, with a reason and an alarm */
  | 'breakGlass'
  /** give somebody without an account a link to studies */
  | 'share';

export interface Resource {
  readonly StudyInstanceUID?: string;
  readonly SeriesInstanceUID?: string;
  readonly SOPInstanceUID?: string;
}

/** Who may do what; docs/roles.md shows it, and a test compares the two. */
export const PERMISSIONS: Readonly<Record<Role, ReadonlySet<Action>>> = {
  admin: new Set<Action>([
    'store',
    'search',
    'retrieve',
    'delete',
    'reject',
    'restore',
    'administer',
    'monitor',
    'readCosts',
    'readEvents',
    'commit',
    'readWorklist',
    'changeWorklist',
    'performProcedure',
    'readProcedures',
    'reportAsGateway',
    'readAudit',
    'readRouting',
    'deidentify',
    'breakGlass',
    'share',
  ]),
  viewer: new Set<Action>(['search', 'retrieve']),
  radiologist: new Set<Action>([
    'search',
    'retrieve',
    'reject',
    'readEvents',
    'readWorklist',
    'readProcedures',
    'readRouting',
    'breakGlass',
    'share',
  ]),
  technologist: new Set<Action>([
    'store',
    'search',
    'retrieve',
    'reject',
    'readWorklist',
    'changeWorklist',
    'performProcedure',
    'readProcedures',
    'readRouting',
    'breakGlass',
    'share',
  ]),
  referrer: new Set<Action>(['search', 'retrieve', 'breakGlass']),
  researcher: new Set<Action>(['search', 'retrieve']),
  finance: new Set<Action>(['monitor', 'readCosts']),
  guest: new Set<Action>(['search', 'retrieve']),
  auditor: new Set<Action>(['readAudit']),
  follower: new Set<Action>(['readEvents']),
  scheduler: new Set<Action>(['readWorklist', 'changeWorklist', 'readProcedures']),
  modality: new Set<Action>(['store', 'reject', 'search', 'retrieve', 'commit', 'readWorklist', 'performProcedure']),
  sender: new Set<Action>(['store', 'reject']),
  finder: new Set<Action>(['search']),
  retriever: new Set<Action>(['retrieve']),
  committer: new Set<Action>(['commit']),
  worklistReader: new Set<Action>(['readWorklist']),
  performer: new Set<Action>(['performProcedure']),
  gateway: new Set<Action>([
    'store',
    'reject',
    'search',
    'retrieve',
    'commit',
    'readWorklist',
    'performProcedure',
    'reportAsGateway',
  ]),
  anonymous: new Set<Action>(),
};

/** Roles that somebody may be given: a guest is made by a link alone. */
export const ROLES = (Object.keys(PERMISSIONS) as Role[]).filter((role) => role !== 'anonymous' && role !== 'guest');
export const isRole = (name: unknown): name is Role => (ROLES as readonly unknown[]).includes(name);

/** What somebody with these roles may do, in alphabetical order. */
export const permitted = (roles: readonly Role[]): Action[] =>
  [...new Set(roles.flatMap((role) => [...PERMISSIONS[role]]))].sort();

/**
 * Whether notes that somebody stores hide what they name (IHE RAD IOCM). Whoever sends images may say which of them are wrong; a guest's
 * note would reach beyond his link, into any study.
 */
export const mayReject = ({ roles, guest }: Principal): boolean =>
  guest === undefined && roles.some((role) => PERMISSIONS[role].has('reject'));

/** Whether somebody may hand on a role: only what he may do himself, and none where a token lets him do it with some studies alone: a role is for all. */
export const mayGrant = ({ roles, reach }: Principal, role: Role): boolean =>
  reach === undefined && [...PERMISSIONS[role]].every((action) => roles.some((own) => PERMISSIONS[own].has(action)));

/**
 * The one policy point: every door asks here before it touches anything.
 * @throws PacsError UNAUTHENTICATED for nobody, FORBIDDEN for somebody without the right.
 */
export function authorize(principal: Principal | undefined, action: Action, _resource: Resource = {}): Principal {
  if (principal === undefined) throw new PacsError('UNAUTHENTICATED', 'authentication is required');
  if (principal.roles.some((role) => PERMISSIONS[role].has(action))) return principal;
  throw new PacsError('FORBIDDEN', `the role does not permit ${action}`, { details: { action } });
}
