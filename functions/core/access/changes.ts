import type { Principal, Reach, Role } from '../access.ts';
import { eventWrite } from '../archive/feed.ts';
import type { Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import { asItem, asRecord, type Key, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import {
  type AccessPolicy,
  type Emergency,
  forgetPolicy,
  type Grant,
  type Grantee,
  POLICY_LIMITS,
  type PolicyHead,
  policyKeys,
  type Restriction,
  readPolicy,
} from './policy.ts';

type Ports = Pick<Services, 'index' | 'clock' | 'limits' | 'whole'>;

const ATTEMPTS = 20;
/** emergencies that are over are forgotten after this long (ms): the audit trail has them */
const EMERGENCY_KEPT_MS = 90 * 24 * 60 * 60 * 1000;
const FORGOTTEN_AT_ONCE = 50;
/** emergencies that one person has at a time */
export const EMERGENCIES_OF_ONE = 20;
/** Why somebody reaches beyond what he is given: HL7 v3 ActReason, PurposeOfUse. */
export const EMERGENCY_REASONS: Readonly<Record<string, string>> = {
  ETREAT: 'emergency treatment',
  TREAT: 'treatment',
  COC: 'coordination of care',
  PATSFTY: 'patient safety',
  PATRQT: 'request of the patient',
  HOPERAT: 'covering for somebody',
};

/** The whole policy, as an administrator sees it. */
export async function policyOf({ index }: Pick<Ports, 'index'>, tenant: Tenant): Promise<AccessPolicy> {
  const head = asRecord<PolicyHead>(await index.get(policyKeys.head(tenant))) ?? NO_HEAD;
  return { head, ...(await readPolicy(index, tenant)) };
}

const NO_HEAD: PolicyHead = { version: 0, showRestricted: false };

/**
 * Changes the policy under the lock of its head, whose version goes up: every process reads it anew with its next request.
 * @param change what to write, by what stands there; may be called again
 */
async function change<R>(
  ports: Pick<Ports, 'index' | 'clock' | 'whole'>,
  tenant: Tenant,
  make: (policy: AccessPolicy) => {
    readonly operations: readonly WriteOperation[];
    head?: Partial<PolicyHead>;
    result: R;
  },
): Promise<R> {
  // Whoever administers may be confined himself: what this process remembers of the policy, it remembers of the index as a whole.
  const { index, clock } = ports.whole ?? ports;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = asRecord<PolicyHead>(await index.get(policyKeys.head(tenant)));
    const policy = await policyOf({ index }, tenant);
    const { operations, head, result } = make(policy);
    const version = before?.version;
    const outcome = await index.write([
      {
        kind: 'put',
        key: policyKeys.head(tenant),
        item: asItem({ ...policy.head, ...head, version: (version ?? 0) + 1 }),
        if: version === undefined ? 'absent' : { version },
      },
      ...operations,
    ]);
    if (outcome.committed) {
      forgetPolicy(index, tenant);
      return result;
    }
    await clock.sleep(5 * attempt);
  }
  throw new PacsError('BUSY', 'the rules of access are being changed by too many at once');
}

const put = (key: Key, record: object): WriteOperation => ({ kind: 'put', key, item: asItem(record) });

const checkRoom = (have: number, limit: number): void => {
  if (have >= limit) throw new PacsError('TOO_LARGE', 'there are too many of these', { details: { limit } });
};

/** Whether the console may show that studies under a restriction meet a search. */
export const setShowRestricted = (ports: Ports, tenant: Tenant, showRestricted: boolean): Promise<void> =>
  change(ports, tenant, () => ({ operations: [], head: { showRestricted }, result: undefined }));

/** @throws PacsError TOO_LARGE */
export function addGrant(
  ports: Ports,
  { tenant, subject }: Principal,
  asked: { readonly to: Grantee; readonly rules: Reach; readonly note: string },
): Promise<Grant> {
  const grant: Grant = { id: newVersion(ports.clock), ...asked, createdBy: subject, createdAt: ports.clock.now() };
  return change(ports, tenant, ({ grants }) => {
    checkRoom(grants.length, POLICY_LIMITS.grants);
    return { operations: [put(policyKeys.grant(tenant, grant.id), grant)], result: grant };
  });
}

/** @throws PacsError NOT_FOUND */
export const removeGrant = (ports: Ports, tenant: Tenant, id: string): Promise<Grant> =>
  change(ports, tenant, ({ grants }) => ({
    operations: [{ kind: 'delete', key: policyKeys.grant(tenant, id) }],
    result: found(grants, id, 'grant'),
  }));

/** @throws PacsError TOO_LARGE; CONFLICT when the patient has a restriction */
export function addRestriction(
  ports: Ports,
  { tenant, subject }: Principal,
  asked: {
    readonly patient: Restriction['patient'];
    readonly reason: string;
    readonly subjects: readonly string[];
    readonly roles: readonly Role[];
  },
): Promise<Restriction> {
  const { clock } = ports;
  const restriction: Restriction = { id: newVersion(clock), ...asked, createdBy: subject, createdAt: clock.now() };
  return change(ports, tenant, ({ restrictions }) => {
    checkRoom(restrictions.length, POLICY_LIMITS.restrictions);
    const { id, issuer = '' } = asked.patient;
    if (restrictions.some(({ patient }) => patient.id === id && (patient.issuer ?? '') === issuer))
      throw new PacsError('CONFLICT', 'the patient is under a restriction already');
    return { operations: [put(policyKeys.restriction(tenant, restriction.id), restriction)], result: restriction };
  });
}

/** @throws PacsError NOT_FOUND */
export const removeRestriction = (ports: Ports, tenant: Tenant, id: string): Promise<Restriction> =>
  change(ports, tenant, ({ restrictions }) => ({
    operations: [{ kind: 'delete', key: policyKeys.restriction(tenant, id) }],
    result: found(restrictions, id, 'restriction'),
  }));

/**
 * Gives the caller reach to a study or to a patient's studies, for `limits.emergencyMs`. The event in the feed is written with it: who follows
 * the feed is told when it counts.
 * @throws PacsError TOO_LARGE when he has too many
 */
export function beginEmergency(
  ports: Ports,
  { tenant, subject }: Principal,
  asked: Pick<Emergency, 'StudyInstanceUID' | 'patient' | 'reasonCode' | 'reason'>,
): Promise<Emergency> {
  const { clock, limits } = ports;
  const startedAt = clock.now();
  const id = newVersion(clock);
  const emergency: Emergency = { id, subject, ...asked, startedAt, until: startedAt + limits.emergencyMs };
  return change(ports, tenant, ({ emergencies }) => {
    const own = emergencies.filter((one) => one.subject === subject && isActive(one, startedAt));
    checkRoom(own.length, EMERGENCIES_OF_ONE);
    const over = emergencies.filter((one) => !isActive(one, startedAt));
    const old = over.filter(({ until }) => until + EMERGENCY_KEPT_MS < startedAt);
    // However many have been taken: nobody in need is refused because of those that are over.
    const tooMany = emergencies.length - POLICY_LIMITS.emergencies + 1;
    const gone = over.slice(0, Math.min(FORGOTTEN_AT_ONCE, Math.max(old.length, tooMany)));
    checkRoom(emergencies.length - gone.length, POLICY_LIMITS.emergencies);
    const operations: WriteOperation[] = [
      put(policyKeys.emergency(tenant, id), emergency),
      eventWrite(tenant, { type: 'EmergencyAccess', at: startedAt, StudyInstanceUID: '', id }),
      ...gone.map((one): WriteOperation => ({ kind: 'delete', key: policyKeys.emergency(tenant, one.id) })),
    ];
    return { operations, result: emergency };
  });
}

/**
 * Ends an emergency before its time; the same again changes nothing.
 * @param of whose it must be; undefined: anybody's
 * @throws PacsError NOT_FOUND
 */
export function endEmergency(
  ports: Ports,
  tenant: Tenant,
  id: string,
  { by, of }: { readonly by: string; readonly of: string | undefined },
): Promise<Emergency> {
  const at = ports.clock.now();
  return change(ports, tenant, ({ emergencies }) => {
    const emergency = found(
      emergencies.filter(({ subject }) => of === undefined || subject === of),
      id,
      'emergency access',
    );
    if (!isActive(emergency, at)) return { operations: [], result: emergency };
    const ended: Emergency = { ...emergency, revokedBy: by, revokedAt: at };
    return { operations: [put(policyKeys.emergency(tenant, id), ended)], result: ended };
  });
}

export const isActive = ({ until, revokedAt }: Emergency, now: number): boolean =>
  until > now && revokedAt === undefined;

function found<T extends { readonly id: string }>(all: readonly T[], id: string, what: string): T {
  const one = all.find((candidate) => candidate.id === id);
  if (one === undefined) throw new PacsError('NOT_FOUND', `there is no such ${what}`, { details: { id } });
  return one;
}
