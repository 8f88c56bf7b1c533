import type { InstanceRecord } from '#core/archive/records.ts';
import { textOf } from '#core/dicom/element-text.ts';
import { describeError, PacsError } from '#core/errors.ts';
import { newUID } from '#core/ids.ts';
import { TAG } from '#dimse/services/query.ts';
import type { EdgeContext } from '../context.ts';
import { NotBefore } from '../not-before.ts';
import { UpstreamArchive } from '../read/upstream-archive.ts';
import type { Upstream } from '../upstream.ts';
import { askCommitment, askPresence, askStated } from './examine.ts';
import { inParallel } from './parallel.ts';
import type { ForwardRecord } from './records.ts';
import type { Verdict } from './stow.ts';

/**
 * What an archive says of an instance that it has confirmed. `deleted`: somebody has deleted it there since, and it lies in the trash. `lost`: it has not
 * got it, or other bytes. `unanswered`: it cannot be asked now.
 */
export type Answer = 'there' | 'deleted' | 'lost' | 'unanswered';

/** An instance that was confirmed, and the copy of it that is here. */
export interface Confirmed {
  readonly record: ForwardRecord;
  /** may be another encoding: what was evicted and fetched back */
  readonly here?: Pick<InstanceRecord, 'sha256' | 'storedAt'> | undefined;
}

/** questions about instances under way at a time */
const ASKING = 6;
/** instances of one request for storage commitment */
const COMMITMENT_INSTANCES = 1_000;
/** An archive that has no storage commitment by HTTP is asked for it again after this time (ms). */
const NOT_OFFERED_MS = 60 * 60_000;
/** An archive that did not answer is not asked again for so long (ms). */
const SILENCE_MS = 60_000;
/** A deletion by the archive's clock must be so much later than what it undoes by ours (ms). */
const CLOCKS_MS = 5 * 60_000;

/**
 * Asks archives whether they still have what they have confirmed. One that was restored from an older backup has not, and does not know
 * that it ever had. An archive that offers storage commitment by HTTP (PS3.18 §13) is asked by that: it answers for images that it shows to
 * nobody, too. Elsewhere, what was confirmed by its digest is asked for by its digest; of the rest a search tells what there is of the
 * study (§10.6), and what it does not name is asked for by itself, as not every server's list is complete.
 */
export class Recheck {
  readonly #context: Pick<EdgeContext, 'upstream' | 'clock' | 'log'>;
  readonly #silent = new Map<string, NotBefore>();
  readonly #notOffered = new Map<string, NotBefore>();

  constructor(context: Pick<EdgeContext, 'upstream' | 'clock' | 'log'>) {
    this.#context = context;
  }

  /** @returns by SOP Instance UID: of each that is given. Never rejects because of the archive. */
  async ask(
    destination: string,
    confirmed: readonly Confirmed[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Answer>> {
    const answers = new Map<string, Answer>(
      confirmed.map(({ record }) => [record.SOPInstanceUID, isBelieved(record) ? 'there' : 'unanswered']),
    );
    const upstream = this.#context.upstream(destination);
    const toAsk = confirmed.filter(({ record }) => !isBelieved(record));
    if (upstream === undefined || toAsk.length === 0 || this.#isSpared(this.#silent, destination)) return answers;
    try {
      const left = await this.#committed(upstream, toAsk, answers, signal);
      await this.#ask(upstream, left, answers, signal);
    } catch (error) {
      if (!(error instanceof PacsError)) throw error;
      this.#spare(this.#silent, destination, SILENCE_MS);
      this.#context.log.info('not-asked-again', { destination, ...describeError(error) });
    }
    return answers;
  }

  #isSpared(spared: ReadonlyMap<string, NotBefore>, destination: string): boolean {
    return (spared.get(destination)?.left(this.#context.clock.now()) ?? 0) > 0;
  }

  #spare(spared: Map<string, NotBefore>, destination: string, ms: number): void {
    const now = this.#context.clock.now();
    const until = spared.get(destination) ?? new NotBefore();
    until.set(now, now + ms);
    spared.set(destination, until);
  }

  /** By storage commitment. @returns those that it has said nothing of, as it is not offered, or does not answer at once */
  async #committed(
    upstream: Upstream,
    toAsk: readonly Confirmed[],
    answers: Map<string, Answer>,
    signal: AbortSignal,
  ): Promise<readonly Confirmed[]> {
    for (let at = 0; at < toAsk.length; at += COMMITMENT_INSTANCES) {
      if (this.#isSpared(this.#notOffered, upstream.name)) return toAsk.slice(at);
      const batch = toAsk.slice(at, at + COMMITMENT_INSTANCES);
      const verdicts = await askCommitment(
        upstream,
        newUID(this.#context.clock),
        batch.map(({ record: { SOPClassUID, SOPInstanceUID } }) => ({ SOPClassUID, SOPInstanceUID })),
        signal,
      );
      if (verdicts === undefined) {
        this.#spare(this.#notOffered, upstream.name, NOT_OFFERED_MS);
        return toAsk.slice(at);
      }
      const absent = batch.filter(({ record }) => isAbsent(verdicts.get(record.SOPInstanceUID)));
      const deleted = await this.#deleted(upstream, absent, signal);
      for (const one of batch) {
        const { SOPInstanceUID } = one.record;
        const verdict = verdicts.get(SOPInstanceUID);
        if (deleted.has(SOPInstanceUID)) answers.set(SOPInstanceUID, 'deleted');
        // What was rejected there is kept there: it is refused, with the digest that it has.
        else if (verdict?.kind === 'stored' || verdict?.sha256 !== undefined)
          answers.set(SOPInstanceUID, isSame(one, verdict.sha256, upstream) ? 'there' : 'lost');
        else if (verdict !== undefined && LOST.has(verdict.failureReason)) answers.set(SOPInstanceUID, 'lost');
      }
    }
    return [];
  }

  /**
   * Which of those that an archive does not have were deleted there on purpose: after we had them confirmed, and after the copy here came. A
   * deletion from before that has been undone by somebody: then it does not tell why they are not there now. That the study is named is no part
   * of the standard's request, so only those that are missing are asked for in this way.
   */
  async #deleted(upstream: Upstream, absent: readonly Confirmed[], signal: AbortSignal): Promise<ReadonlySet<string>> {
    if (absent.length === 0) return new Set();
    const instances = absent.map(({ record }) => record);
    const verdicts = await askCommitment(upstream, newUID(this.#context.clock), instances, signal);
    const deleted = absent.filter((one) => {
      const verdict = verdicts?.get(one.record.SOPInstanceUID);
      if (verdict?.kind !== 'refused' || verdict.sha256 === undefined || verdict.deletedAt === undefined) return false;
      const { confirmedAt, queuedAt } = one.record;
      const since = Math.max(confirmedAt ?? queuedAt, one.here?.storedAt ?? 0);
      return verdict.deletedAt > since + CLOCKS_MS && isSame(one, verdict.sha256, upstream);
    });
    return new Set(deleted.map(({ record }) => record.SOPInstanceUID));
  }

  async #ask(
    upstream: Upstream,
    toAsk: readonly Confirmed[],
    answers: Map<string, Answer>,
    signal: AbortSignal,
  ): Promise<void> {
    const untold = toAsk.filter(({ record }) => record.evidence !== 'digest');
    const byDigest = toAsk.filter(({ record }) => record.evidence === 'digest');
    await inParallel(byDigest, ASKING, (one) =>
      ofOne(async () => {
        const { isThere, sha256 } = await askStated(upstream, one.record, signal);
        if (isThere === undefined) untold.push(one);
        else answers.set(one.record.SOPInstanceUID, isThere && isSame(one, sha256, upstream) ? 'there' : 'lost');
      }),
    );
    for (const [study, asked] of Map.groupBy(untold, ({ record }) => record.StudyInstanceUID)) {
      const listed = await this.#listed(upstream, study, signal);
      await inParallel(asked, ASKING, ({ record }) =>
        ofOne(async () => {
          const isThere = listed.has(record.SOPInstanceUID) || (await askPresence(upstream, record, signal));
          answers.set(record.SOPInstanceUID, isThere ? 'there' : 'lost');
        }),
      );
    }
  }

  async #listed(upstream: Upstream, StudyInstanceUID: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
    const archive = new UpstreamArchive(upstream, this.#context.clock, { queryMs: upstream.config.timeoutMs });
    const listed = new Set<string>();
    try {
      for await (const rows of archive.search('instance', { StudyInstanceUID }, new URLSearchParams(), signal))
        for (const row of rows) listed.add(textOf(row[TAG.SOPInstanceUID]));
    } catch (error) {
      if (!(error instanceof PacsError) || error.code !== 'NOT_ACCEPTABLE') throw error;
      // A server without such a search: each is asked for by itself.
    }
    return listed;
  }
}

/** No such object instance; class/instance conflict (PS3.3 C.14.1.1): another object has the UID. */
const LOST: ReadonlySet<number> = new Set([0x0112, 0x0119]);

/** It is not there, and nothing of it is kept: why, is still to be asked. */
const isAbsent = (verdict: Verdict | undefined): boolean =>
  verdict?.kind === 'refused' && verdict.failureReason === 0x0112 && verdict.sha256 === undefined;

/** What was accepted is believed as the configuration wants it; a person's word is. */
const isBelieved = ({ evidence }: ForwardRecord): boolean => evidence === 'accepted' || evidence === 'person';

/** A server that does not state the digest any more has the instance all the same. */
function isSame({ record, here }: Confirmed, stated: string | undefined, { config }: Upstream): boolean {
  if (stated === undefined) return true;
  // Of what went out compressed before its digest was kept, nobody knows it.
  if (record.upstreamSha256 === undefined && config.compression !== 'none') return true;
  return [record.upstreamSha256 ?? record.sha256, here?.sha256].includes(stated);
}

/** Where the archive fails at one instance, that one stays unanswered. */
async function ofOne(ask: () => Promise<void>): Promise<void> {
  try {
    await ask();
  } catch (error) {
    if (!(error instanceof PacsError) || error.details.ofInstance !== true) throw error;
  }
}
