import { wholeOf } from '../access/confine.ts';
import { authorize, type Principal } from '../access.ts';
import type { Identity } from '../archive/instance.ts';
import { discardHeld, getHeld, replaceByHeld } from '../archive/quarantine.ts';
import { type HeldRecord, keys, type SopClaim, type StudyRecord, type Tenant } from '../archive/records.ts';
import type { Verdict } from '../archive/store.ts';
import { PacsError } from '../errors.ts';
import { asRecord } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { type Guest, subjectOf } from './guest.ts';
import { linkWrite, sharedAt, shareKeys } from './records.ts';

const ATTEMPTS = 20;
/** objects that are decided by one request */
const DECIDED = 100;
/** objects of one list */
const LISTED = 1_000;

/**
 * What becomes of each object that a guest sends in. Into the studies of the link nothing else is taken; into new ones everything is,
 * but what belongs to a study that is here already always waits for a person: nobody learns from the answer whether it is.
 */
export function admissionOf(services: Services, tenant: Tenant, guest: Guest): (id: Identity) => Promise<Verdict> {
  const own = new Map<string, Promise<boolean>>();
  const held: Verdict = { hold: guest.link };
  const { upload } = guest;
  return async ({ StudyInstanceUID: study }) => {
    if (upload === undefined) throw new PacsError('FORBIDDEN', 'the link is not for this: upload');
    const verdict = upload.keep === 'hold' ? held : 'store';
    if (upload.into === 'shared') {
      if (guest.studies.includes(study)) return verdict;
      throw new PacsError('DATASET_MISMATCH', 'the object belongs to no study that this link is for');
    }
    if (verdict !== 'store') return verdict;
    if (!own.has(study)) own.set(study, isOwn(services, tenant, guest.link, study));
    return (await own.get(study)) ? 'store' : held;
  };
}

/** Whether a study came by this link, or is new and now does. */
async function isOwn(services: Services, tenant: Tenant, id: string, study: string): Promise<boolean> {
  const { index, clock, limits } = wholeOf(services);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const item = await index.get(shareKeys.link(tenant, id));
    if (item === undefined) return false;
    const link = sharedAt(item);
    const { uploaded = [] } = link;
    if (uploaded.includes(study)) return true;
    const record = await index.get(keys.study(tenant, study));
    const isHere = record !== undefined && asRecord<StudyRecord>(record).instanceCount > 0;
    if (isHere || uploaded.length >= limits.shareStudies) return false;
    if ((await index.write([linkWrite(tenant, link, { uploaded: [...uploaded, study] })])).committed) return true;
    await clock.sleep(attempt);
  }
  return false;
}

export interface WaitingUploads {
  readonly items: readonly Omit<HeldRecord, 'blobKey' | 'attributes'>[];
  /** whether there are more than are listed */
  readonly more: boolean;
}

/** What came in by a link and waits, oldest first. */
export async function listUploads(services: Services, tenant: Tenant, id: string): Promise<WaitingUploads> {
  const { index } = wholeOf(services);
  const { partition } = shareKeys.held(tenant, id, '');
  const page = await index.query({ partition, limit: LISTED });
  const items: Omit<HeldRecord, 'blobKey' | 'attributes'>[] = [];
  for (const { sort } of page.records) {
    const item = await index.get(keys.held(tenant, sort));
    if (item === undefined) continue;
    const { blobKey: _, attributes: __, ...shown } = asRecord<HeldRecord>(item);
    items.push(shown);
  }
  return { items, more: page.more };
}

/**
 * Decides some of what waits. What an administrator has decided one by one is skipped; what would take the place of other bytes that are
 * here is left in quarantine for one.
 * @throws PacsError FORBIDDEN to accept for who may not store
 */
export async function decideUploads(
  services: Services,
  principal: Principal,
  id: string,
  action: 'accept' | 'discard',
): Promise<{ readonly decided: number; readonly left: number; readonly studies: readonly string[] }> {
  const { tenant, subject } = authorize(principal, 'store');
  const whole = wholeOf(services);
  const { partition } = shareKeys.held(tenant, id, '');
  const page = await whole.index.query({ partition, limit: DECIDED });
  const who = { by: subject, reason: `${action === 'accept' ? 'accepted' : 'discarded'} from ${subjectOf(id)}` };
  const studies = new Set<string>();
  let decided = 0;
  for (const { sort } of page.records) {
    const held = await getHeld(whole, tenant, sort).catch(unlessMissing);
    if (held !== undefined && (await decide(whole, tenant, held, action, who))) {
      decided++;
      studies.add(held.StudyInstanceUID);
    }
    await whole.index.write([{ kind: 'delete', key: shareKeys.held(tenant, id, sort) }]);
  }
  const rest = await whole.index.query({ partition, limit: LISTED, keysOnly: true });
  return { decided, left: rest.records.length, studies: [...studies] };
}

async function decide(
  services: Services,
  tenant: Tenant,
  held: HeldRecord,
  action: 'accept' | 'discard',
  who: { by: string; reason: string },
): Promise<boolean> {
  const item = await services.index.get(keys.sop(tenant, held.SOPInstanceUID));
  const claim = asRecord<SopClaim>(item);
  // Its own bytes are current where an earlier decision was cut off.
  const isSame = claim?.sha256 === held.sha256 && claim.instanceVersion !== held.id;
  if (action === 'accept' && claim !== undefined && claim.sha256 !== held.sha256) return false;
  try {
    if (action === 'discard' || isSame) await discardHeld(services, tenant, held.id, who);
    else await replaceByHeld(services, tenant, held.id, who);
    return true;
  } catch (error) {
    return unlessMissing(error) ?? false;
  }
}

function unlessMissing(error: unknown): undefined {
  if (error instanceof PacsError && error.code === 'NOT_FOUND') return undefined;
  throw error;
}
