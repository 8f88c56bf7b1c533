import {
  type Commitment,
  type CommitmentFailure,
  commitmentRequest,
  forgetCommitmentRequest,
  type Reference,
  STORAGE_COMMITMENT,
} from '#core/archive/commitment.ts';
import { FROM_UPSTREAM } from '#core/archive/evict.ts';
import { type InstanceRecord, keys, type SopClaim } from '#core/archive/records.ts';
import { describeError } from '#core/errors.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import { AssociationError } from '#dimse/association.ts';
import { answerCommitment, type CommitmentEvidence } from '#dimse/services/commitment.ts';
import type { EdgeContext } from '../context.ts';
import type { ForwardRecord } from '../forward/records.ts';
import { isConfirmed } from '../read/knowledge.ts';
import { readSideOf } from '../read/read-side.ts';

/** A request is looked at again after a quarter of the time that it has been waiting, within these bounds (ms). */
const AGAIN_MS = { least: 1_000, most: 60_000 };
/** How long whoever asked is called back, where it cannot be reached (ms). */
const CALL_BACK_MS = 7 * 24 * 60 * 60 * 1000;
/** The job that looks after a request that could not be answered on its own association (ms). */
export const FIRST_LOOK_MS = 3_000;

type Standing = 'committed' | 'waiting' | 'unknown' | CommitmentFailure;

/**
 * What the gateway can vouch for (PS3.4 J.1.1): that every archive upstream which wants an instance has shown that it holds it with the
 * SHA-256 that was received here. An archive that has merely accepted it has shown nothing. A request is answered when all its instances
 * are settled; after `commitment.limitHours` those that are not have failed, an instance that nobody has seen already after
 * `commitment.unknownSeconds`. What was confirmed longer ago than `commitment.askAgainMinutes` is asked for again: an archive restored from
 * an older backup does not have it any more.
 */
export const edgeEvidence =
  (context: EdgeContext): CommitmentEvidence =>
  async (tenant, { references, requestedAt }) => {
    const { limitHours, unknownSeconds } = context.config.commitment;
    const waitedMs = context.clock.now() - requestedAt;
    const committed: Reference[] = [];
    const failed: Commitment['failed'][number][] = [];
    const standings = new Map<Reference, Standing>();
    for (const reference of references) standings.set(reference, await standingOf(context, tenant, reference));
    await askAgain(context, standings);
    for (const [reference, standing] of standings) {
      if (standing === 'committed') committed.push(reference);
      else if (standing === 'waiting') {
        if (waitedMs < limitHours * 3_600_000) return undefined;
        failed.push({ ...reference, reason: 'processingFailure' });
      } else if (standing === 'unknown') {
        if (waitedMs < unknownSeconds * 1_000) return undefined;
        failed.push({ ...reference, reason: 'noSuchInstance' });
      } else failed.push({ ...reference, reason: standing });
    }
    return { committed, failed };
  };

async function standingOf(
  { services, forwarder }: EdgeContext,
  tenant: string,
  { SOPInstanceUID, SOPClassUID }: Reference,
): Promise<Standing> {
  const item = await services.index.get(keys.sop(tenant, SOPInstanceUID));
  const claim = asRecord<SopClaim>(item);
  const known = await forwarder.evidenceOf(SOPInstanceUID);
  if (!known.known) return claim === undefined ? 'unknown' : 'waiting';
  const { destinations } = known;
  const [first] = destinations;
  // Meant for no archive: whoever asks must keep it.
  if (first === undefined) return 'processingFailure';
  // Other bytes are here than were forwarded: they are still to be taken in, unless they are a copy that was fetched back.
  const sha256 =
    claim === undefined || (await isFetched(services, tenant, claim, SOPInstanceUID)) ? first.sha256 : claim.sha256;
  if (destinations.some((one) => one.sha256 !== sha256)) return 'waiting';
  if (first.SOPClassUID !== SOPClassUID) return 'classInstanceConflict';
  if (!isConfirmed(known, sha256))
    return destinations.some(({ state }) => state === 'held') ? 'processingFailure' : 'waiting';
  return destinations.every(({ evidence }) => evidence === 'digest' || evidence === 'retrieve')
    ? 'committed'
    : 'processingFailure';
}

/** Changes what stands as committed since long ago, and no longer is there or cannot be asked for. */
async function askAgain(context: EdgeContext, standings: Map<Reference, Standing>): Promise<void> {
  const before = context.clock.now() - context.config.commitment.askAgainMinutes * 60_000;
  const old: { destination: string; record: ForwardRecord; reference: Reference }[] = [];
  for (const [reference, standing] of standings) {
    if (standing !== 'committed') continue;
    const { destinations } = await context.forwarder.evidenceOf(reference.SOPInstanceUID);
    for (const { destination, ...record } of destinations)
      if ((record.confirmedAt ?? record.queuedAt) <= before) old.push({ destination, record, reference });
  }
  const { recheck, knowledge } = readSideOf(context);
  for (const [destination, asked] of Map.groupBy(old, (one) => one.destination)) {
    const answers = await recheck.ask(destination, asked, new AbortController().signal);
    const lost = asked.filter(({ record }) => answers.get(record.SOPInstanceUID) === 'lost');
    for (const { reference, record } of asked) {
      const answer = answers.get(record.SOPInstanceUID);
      if (answer === 'lost' || answer === 'deleted') standings.set(reference, 'noSuchInstance');
      else if (answer === 'unanswered') standings.set(reference, 'waiting');
    }
    await knowledge.missing(
      destination,
      lost.map(({ record }) => record),
    );
  }
}

async function isFetched({ index }: Services, tenant: string, claim: SopClaim, sop: string): Promise<boolean> {
  const { StudyInstanceUID, SeriesInstanceUID } = claim;
  const item = await index.get(keys.instance(tenant, StudyInstanceUID, SeriesInstanceUID, sop));
  return item !== undefined && asRecord<InstanceRecord>(item).source === FROM_UPSTREAM;
}

/** A job of the queue STORAGE_COMMITMENT: answers the request, or sees to it that it is looked at again. */
export async function answerOrWait(
  context: EdgeContext,
  evidence: CommitmentEvidence,
  tenant: string,
  id: string,
): Promise<void> {
  const { access, services, clock, log } = context;
  const request = await commitmentRequest(services, tenant, id);
  if (request === undefined) return;
  const waitedMs = clock.now() - request.requestedAt;
  try {
    if ((await answerCommitment(access, tenant, id, evidence)) === 'answered') return;
  } catch (error) {
    log.info('commitment-not-delivered', { aeTitle: request.aeTitle, ...describeError(error) });
    if (
      waitedMs > CALL_BACK_MS &&
      (error instanceof AssociationError || access.destinationOf(request.aeTitle) === undefined)
    ) {
      log.error('commitment-given-up', { aeTitle: request.aeTitle, instances: request.references.length });
      await forgetCommitmentRequest(services, tenant, id);
      return;
    }
  }
  const delayMs = Math.max(AGAIN_MS.least, Math.min(AGAIN_MS.most, waitedMs / 4));
  await services.jobs.enqueue(STORAGE_COMMITMENT, { tenant, id }, { delayMs });
}
