import { asRecord, type InstanceRecord, keys, type StudyRecord } from '#core/archive/records.ts';
import { selectedInstances } from '#core/archive/remove.ts';
import type { Services } from '#core/services.ts';
import { type ForwardRecord, forwardKeys } from '../forward/records.ts';

/** An instance's way to each archive that wants it; none: it has not been taken in yet, or was never here. */
export async function forwardsOf(
  { index }: Pick<Services, 'index'>,
  tenant: string,
  SOPInstanceUID: string,
): Promise<readonly ForwardRecord[]> {
  const { partition } = forwardKeys.forward(tenant, SOPInstanceUID, '-');
  const page = await index.query({ partition, limit: 100 });
  return page.records.map(({ item }) => asRecord<ForwardRecord>(item));
}

/** Whether every archive that wants the instance is known to hold these very bytes; at least one does. */
export const areConfirmed = (records: readonly ForwardRecord[], sha256: string): boolean =>
  records.length > 0 && records.every((record) => record.state === 'confirmed' && record.sha256 === sha256);

/** Studies of which is remembered that all has been forwarded. */
const REMEMBERED = 10_000;

/** What the gateway knows of where instances have arrived: asked before anything is evicted, and of whose word counts in a search. */
export class ForwardKnowledge {
  readonly #services: Pick<Services, 'index'>;
  /** by study: the revision at which all of it had been forwarded */
  readonly #forwarded = new Map<string, string>();

  constructor(services: Pick<Services, 'index'>) {
    this.#services = services;
  }

  async confirmed(tenant: string, instances: readonly InstanceRecord[]): Promise<readonly boolean[]> {
    return Promise.all(
      instances.map(async ({ SOPInstanceUID, sha256 }) =>
        areConfirmed(await forwardsOf(this.#services, tenant, SOPInstanceUID), sha256),
      ),
    );
  }

  /** Whether all that is here of a study is confirmed. */
  async isForwarded(tenant: string, StudyInstanceUID: string): Promise<boolean> {
    const item = await this.#services.index.get(keys.study(tenant, StudyInstanceUID));
    if (item === undefined) return true;
    const { revision } = asRecord<StudyRecord>(item);
    const id = `${tenant}|${StudyInstanceUID}`;
    if (this.#forwarded.get(id) === revision) return true;
    for await (const { SOPInstanceUID, sha256 } of selectedInstances(this.#services, tenant, [{ StudyInstanceUID }]))
      if (!areConfirmed(await forwardsOf(this.#services, tenant, SOPInstanceUID), sha256)) return false;
    if (this.#forwarded.size >= REMEMBERED) this.#forwarded.clear();
    this.#forwarded.set(id, revision);
    return true;
  }
}
