import { FROM_UPSTREAM } from '#core/archive/evict.ts';
import { type InstanceRecord, keys, type StudyRecord } from '#core/archive/records.ts';
import { selectedInstances } from '#core/archive/remove.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { EdgeContext } from '../context.ts';
import type { InstanceEvidence } from '../forward/forwarder.ts';
import type { Answer, Recheck } from '../forward/recheck.ts';
import type { ForwardRecord } from '../forward/records.ts';

/** Whether every archive that wants the instance is known to hold these very bytes; at least one does. */
export const isConfirmed = (evidence: InstanceEvidence, sha256: string): boolean =>
  isEverywhere(evidence) && evidence.destinations.every((one) => one.sha256 === sha256);

const isEverywhere = ({ destinations }: InstanceEvidence): boolean =>
  destinations.length > 0 && destinations.every(({ state }) => state === 'confirmed');

/** What several archives say of an instance, the worst of it. */
export interface Reassurance {
  readonly answer: Answer;
  /** where one did not answer: when the last of those had confirmed it (ms since 1970) */
  readonly confirmedAt: number;
}

/** Studies of which is remembered that all has been forwarded. */
const REMEMBERED = 10_000;

/** What the gateway knows of where instances have arrived: asked before anything is evicted, and of whose word counts in a search. */
export class ForwardKnowledge {
  readonly #context: Pick<EdgeContext, 'services' | 'forwarder' | 'log'>;
  readonly #recheck: Recheck;
  /** by study: the revision at which all of it had been forwarded */
  readonly #forwarded = new Map<string, string>();

  constructor(context: Pick<EdgeContext, 'services' | 'forwarder' | 'log'>, recheck: Recheck) {
    this.#context = context;
    this.#recheck = recheck;
  }

  /**
   * Asks every archive once more for what it has confirmed; what it has lost is held.
   *
   * @returns what is known now of those that every archive that wants them had confirmed, by SOP Instance UID
   */
  async askAgain(instances: readonly InstanceRecord[], signal: AbortSignal): Promise<ReadonlyMap<string, Reassurance>> {
    const { log } = this.#context;
    const known = new Map<string, Reassurance>();
    const asked: { destination: string; record: ForwardRecord; here: InstanceRecord }[] = [];
    for (const here of instances) {
      const evidence = await this.#context.forwarder.evidenceOf(here.SOPInstanceUID);
      if (!vouchesFor(evidence, here)) continue;
      known.set(here.SOPInstanceUID, { answer: 'there', confirmedAt: 0 });
      for (const { destination, ...record } of evidence.destinations) asked.push({ destination, record, here });
    }
    for (const [destination, confirmed] of Map.groupBy(asked, (one) => one.destination)) {
      const answers = await this.#recheck.ask(destination, confirmed, signal);
      for (const { record } of confirmed) {
        const { SOPInstanceUID, confirmedAt = record.queuedAt } = record;
        known.set(SOPInstanceUID, worse(known.get(SOPInstanceUID)!, answers.get(SOPInstanceUID)!, confirmedAt));
      }
      const deleted = confirmed.filter(({ record }) => answers.get(record.SOPInstanceUID) === 'deleted').length;
      if (deleted > 0) log.info('deleted-at-the-archive', { destination, instances: deleted });
      const lost = confirmed.filter(({ record }) => answers.get(record.SOPInstanceUID) === 'lost');
      await this.missing(
        destination,
        lost.map(({ record }) => record),
      );
    }
    return known;
  }

  /**
   * Which of them may be evicted: those that every archive that wants them has confirmed and, asked once more, still has, or somebody has deleted there. Those of an
   * archive that does not answer stay, but for what it confirmed before `unaskedBefore` (ms since 1970).
   */
  async evictable(
    instances: readonly InstanceRecord[],
    unaskedBefore: number,
    signal: AbortSignal,
  ): Promise<readonly boolean[]> {
    const known = await this.askAgain(instances, signal);
    return instances.map(({ SOPInstanceUID }) => {
      const { answer, confirmedAt = 0 } = known.get(SOPInstanceUID) ?? {};
      return answer === 'there' || answer === 'deleted' || (answer === 'unanswered' && confirmedAt < unaskedBefore);
    });
  }

  /** A destination has not got any more what it had confirmed: what of it is here is held, and counts in searches again. */
  async missing(destination: string, records: readonly ForwardRecord[]): Promise<void> {
    if (records.length === 0) return;
    await this.#context.forwarder.missing(destination, records);
    this.#forwarded.clear();
  }

  /** Whether all that is here of a study is confirmed. */
  async isForwarded(tenant: string, StudyInstanceUID: string): Promise<boolean> {
    const { services } = this.#context;
    const item = await services.index.get(keys.study(tenant, StudyInstanceUID));
    if (item === undefined) return true;
    const { revision } = asRecord<StudyRecord>(item);
    const id = `${tenant}|${StudyInstanceUID}`;
    if (this.#forwarded.get(id) === revision) return true;
    for await (const instance of selectedInstances(services, tenant, [{ StudyInstanceUID }]))
      if (!(await this.#isConfirmed(instance))) return false;
    if (this.#forwarded.size >= REMEMBERED) this.#forwarded.clear();
    this.#forwarded.set(id, revision);
    return true;
  }

  async #isConfirmed(instance: InstanceRecord): Promise<boolean> {
    return vouchesFor(await this.#context.forwarder.evidenceOf(instance.SOPInstanceUID), instance);
  }
}

/** A copy that was fetched back may be encoded otherwise than what was received here, and forwarded. */
const vouchesFor = (evidence: InstanceEvidence, { sha256, source }: InstanceRecord): boolean =>
  source === FROM_UPSTREAM ? isEverywhere(evidence) : isConfirmed(evidence, sha256);

/** from good to bad */
const BADNESS: readonly Answer[] = ['there', 'deleted', 'unanswered', 'lost'];

function worse(before: Reassurance, answer: Answer, confirmedAt: number): Reassurance {
  if (BADNESS.indexOf(answer) < BADNESS.indexOf(before.answer) || answer === 'there') return before;
  return { answer, confirmedAt: Math.max(before.confirmedAt, confirmedAt) };
}
