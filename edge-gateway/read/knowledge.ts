import { FROM_UPSTREAM } from '#core/archive/evict.ts';
import { asRecord, type InstanceRecord, keys, type StudyRecord } from '#core/archive/records.ts';
import { selectedInstances } from '#core/archive/remove.ts';
import type { EdgeContext } from '../context.ts';
import type { InstanceEvidence } from '../forward/forwarder.ts';

/** Whether every archive that wants the instance is known to hold these very bytes; at least one does. */
export const isConfirmed = (evidence: InstanceEvidence, sha256: string): boolean =>
  isEverywhere(evidence) && evidence.destinations.every((one) => one.sha256 === sha256);

const isEverywhere = ({ destinations }: InstanceEvidence): boolean =>
  destinations.length > 0 && destinations.every(({ state }) => state === 'confirmed');

/** Studies of which is remembered that all has been forwarded. */
const REMEMBERED = 10_000;

/** What the gateway knows of where instances have arrived: asked before anything is evicted, and of whose word counts in a search. */
export class ForwardKnowledge {
  readonly #context: Pick<EdgeContext, 'services' | 'forwarder'>;
  /** by study: the revision at which all of it had been forwarded */
  readonly #forwarded = new Map<string, string>();

  constructor(context: Pick<EdgeContext, 'services' | 'forwarder'>) {
    this.#context = context;
  }

  confirmed(instances: readonly InstanceRecord[]): Promise<readonly boolean[]> {
    return Promise.all(instances.map((instance) => this.#isConfirmed(instance)));
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

  async #isConfirmed({ SOPInstanceUID, sha256, source }: InstanceRecord): Promise<boolean> {
    const evidence = await this.#context.forwarder.evidenceOf(SOPInstanceUID);
    // A copy that was fetched back may be encoded otherwise than what was received here, and forwarded.
    return source === FROM_UPSTREAM ? isEverywhere(evidence) : isConfirmed(evidence, sha256);
  }
}
