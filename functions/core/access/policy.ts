import type { Action, Principal, Reach, ReachRule, Role } from '../access.ts';
import { PERMISSIONS } from '../access.ts';
import type { Tenant } from '../archive/records.ts';
import { asRecord, type IndexTable, type Key, recordsIn } from '../ports/index-table.ts';
import type { Services } from '../services.ts';

/**
 * What administrators have laid down about who reaches which studies, one partition a tenant:
 *
 * | record      | partition     | sort               | holds                                                      |
 * |-------------|---------------|--------------------|------------------------------------------------------------|
 * | head        | t|policy      | head               | PolicyHead: its version changes with every record below    |
 * | grant       | t|policy      | grant|{id}         | Grant                                                      |
 * | restriction | t|policy      | restriction|{id}   | Restriction: patients whose studies few may see            |
 * | emergency   | t|policy      | emergency|{id}     | Emergency: reach that somebody took for a time             |
 *
 * Whoever judges reads the head first, always, and the rest only where its version is not the one he knows. So a change counts from the
 * next request on, in every process; in the cloud after `limits.accessPolicyMs` at the latest.
 */
export interface PolicyHead {
  readonly version: number;
  /** whether the console may show that a search would find studies under a restriction */
  readonly showRestricted: boolean;
}

/** Rules given to one subject, one role, or to whoever comes with a claim of an issuer: `department=radiology`. */
export type Grantee = { readonly subject: string } | { readonly role: Role } | { readonly claim: string };

export interface Grant {
  readonly id: string;
  readonly to: Grantee;
  readonly rules: Reach;
  /** in the words of who made it */
  readonly note: string;
  readonly createdBy: string;
  /** ms since 1970 */
  readonly createdAt: number;
}

/** A patient whose studies nobody sees but those listed. Without an issuer: of whatever issuer. */
export interface Restriction {
  readonly id: string;
  readonly patient: { readonly id: string; readonly issuer?: string | undefined };
  readonly reason: string;
  readonly subjects: readonly string[];
  readonly roles: readonly Role[];
  readonly createdBy: string;
  readonly createdAt: number;
}

/** Reach that a person took on himself, with a reason, until a moment: break-glass. */
export interface Emergency {
  readonly id: string;
  readonly subject: string;
  /** one of these: */
  readonly StudyInstanceUID?: string | undefined;
  readonly patient?: { readonly id: string; readonly issuer?: string | undefined } | undefined;
  readonly reasonCode: string;
  readonly reason: string;
  readonly startedAt: number;
  /** ms since 1970 */
  readonly until: number;
  readonly revokedBy?: string | undefined;
  readonly revokedAt?: number | undefined;
}

export interface AccessPolicy {
  readonly head: PolicyHead;
  readonly grants: readonly Grant[];
  readonly restrictions: readonly Restriction[];
  readonly emergencies: readonly Emergency[];
}

/** What one tenant may have of each; more is refused when it is made. */
export const POLICY_LIMITS = {
  grants: 1_000,
  restrictions: 2_000,
  /** kept, those that are over included */
  emergencies: 1_000,
} as const;

const policyPartition = (tenant: Tenant): string => `${tenant}|policy`;
export const policyKeys = {
  head: (t: Tenant): Key => ({ partition: policyPartition(t), sort: 'head' }),
  grant: (t: Tenant, id: string): Key => ({ partition: policyPartition(t), sort: `grant|${id}` }),
  restriction: (t: Tenant, id: string): Key => ({ partition: policyPartition(t), sort: `restriction|${id}` }),
  emergency: (t: Tenant, id: string): Key => ({ partition: policyPartition(t), sort: `emergency|${id}` }),
} as const;

export const NO_POLICY: AccessPolicy = {
  head: { version: 0, showRestricted: false },
  grants: [],
  restrictions: [],
  emergencies: [],
};

/** tenants whose policy a process remembers */
const KNOWN_TENANTS = 100;
interface Remembered {
  readonly policy: AccessPolicy;
  /** ms since 1970 */
  readonly readAt: number;
}
const known = new WeakMap<IndexTable, Map<Tenant, Remembered>>();
const PAGE = 1_000;

/**
 * The tenant's policy as it is now: one read where it has not changed since this process read it. With `limits.accessPolicyMs` none, for so
 * long: a host whose every read of the index is a call of another service may go by what it has just read.
 */
export async function accessPolicy(
  { index, clock, limits }: Pick<Services, 'index' | 'clock' | 'limits'>,
  tenant: Tenant,
): Promise<AccessPolicy> {
  const tenants = known.get(index) ?? new Map<Tenant, Remembered>();
  known.set(index, tenants);
  const remembered = tenants.get(tenant);
  const readAt = clock.now();
  if (remembered && readAt - remembered.readAt < limits.accessPolicyMs) return remembered.policy;
  const head = asRecord<PolicyHead>(await index.get(policyKeys.head(tenant)));
  let policy = head === undefined ? NO_POLICY : remembered?.policy;
  // What changes between the two reads counts already, and is read again under its own version.
  if (head !== undefined && policy?.head.version !== head.version)
    policy = { head, ...(await readPolicy(index, tenant)) };
  policy ??= NO_POLICY;
  tenants.delete(tenant);
  tenants.set(tenant, { policy, readAt });
  const [oldest] = tenants.keys();
  if (tenants.size > KNOWN_TENANTS && oldest !== undefined) tenants.delete(oldest);
  return policy;
}

/** For the process that has just changed it: whatever it may go by otherwise, it reads it anew. */
export const forgetPolicy = (index: IndexTable, tenant: Tenant): void => {
  known.get(index)?.delete(tenant);
};

/** Everything laid down, as it stands. */
export async function readPolicy(index: IndexTable, tenant: Tenant): Promise<Omit<AccessPolicy, 'head'>> {
  const grants: Grant[] = [];
  const restrictions: Restriction[] = [];
  const emergencies: Emergency[] = [];
  const partition = policyPartition(tenant);
  for await (const { sort, item } of recordsIn(index, { partition, limit: PAGE })) {
    if (sort.startsWith('grant|')) grants.push(asRecord(item));
    else if (sort.startsWith('restriction|')) restrictions.push(asRecord(item));
    else if (sort.startsWith('emergency|')) emergencies.push(asRecord(item));
  }
  return { grants, restrictions, emergencies };
}

/** Roles that reach nothing of themselves, or not everything. */
const BASE: Partial<Record<Role, { readonly always?: ReachRule; readonly ungranted: Reach }>> = {
  /** only what is granted: his own patients */
  referrer: { ungranted: [] },
  /** whatever is granted, de-identified studies alone */
  researcher: { always: { deidentified: true }, ungranted: [{}] },
};

const isGivenTo = (to: Grantee, { subject, claims = [] }: Principal, role: Role): boolean =>
  'subject' in to ? to.subject === subject : 'role' in to ? to.role === role : claims.includes(to.claim);

/**
 * What somebody reaches by his roles and what was granted: 'all', or rules of which any suffices. Of each role that permits the action; what
 * one of them reaches is reached. Grants narrow down who has any: one that says nothing of somebody leaves him all that his role reaches.
 */
export function grantedReach(
  { grants }: Pick<AccessPolicy, 'grants'>,
  principal: Principal,
  action: Action,
): 'all' | Reach {
  const rules: ReachRule[] = [];
  for (const role of principal.roles.filter((one) => PERMISSIONS[one].has(action))) {
    const base = BASE[role];
    const given = grants.filter(({ to }) => isGivenTo(to, principal, role)).flatMap((grant) => grant.rules);
    // A guest is whoever holds a link: he reaches what it says, and nothing where none says anything.
    if (role === 'guest') {
      if (principal.reach !== undefined) rules.push({});
    } else if (given.length > 0) rules.push(...given.map((rule) => ({ ...rule, ...base?.always })));
    else if (base === undefined) return 'all';
    else rules.push(...base.ungranted.map((rule) => ({ ...rule, ...base.always })));
  }
  return rules.some((rule) => Object.values(rule).every((value) => value === undefined)) ? 'all' : rules;
}
