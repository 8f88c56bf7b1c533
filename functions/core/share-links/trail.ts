import type { Tenant } from '../archive/records.ts';
import { asRecord } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { actWrite, type ShareAct, shareKeys } from './records.ts';

export interface ShareActs {
  readonly items: readonly ShareAct[];
  /** continue behind this; absent at the end */
  readonly next?: string;
}

/** What was done with a link, oldest first. */
export async function readShareTrail(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  id: string,
  after: string,
  limit: number,
): Promise<ShareActs> {
  const partition = shareKeys.trail(tenant, id);
  const page = await index.query({ partition, log: true, limit, ...(after === '' ? {} : { after }) });
  const items = page.records.map(({ item }) => asRecord<ShareAct>(item));
  const last = page.records.at(-1);
  return page.more && last ? { items, next: last.sort } : { items };
}

/**
 * What guests do, in the trails of their links. A viewer that reads a thousand frames of a study has viewed it once a while: the first
 * is written before it is answered. The audit trail, which counts, has them all.
 */
export class GuestActs {
  readonly #services: Pick<Services, 'index' | 'clock' | 'limits'>;
  readonly #seen = new Map<string, number>();

  constructor(services: Pick<Services, 'index' | 'clock' | 'limits'>) {
    this.#services = services;
  }

  async note(tenant: Tenant, id: string, act: Omit<ShareAct, 'at'>): Promise<void> {
    const { index, clock, limits } = this.#services;
    const at = clock.now();
    const key = [tenant, id, act.act, act.study, act.from].join('|');
    const before = this.#seen.get(key);
    if (act.act === 'viewed' && before !== undefined && at - before < limits.auditRepeatMs) return;
    this.#seen.delete(key);
    this.#seen.set(key, at);
    if (this.#seen.size > limits.auditRepeatedActs) this.#seen.delete(this.#seen.keys().next().value!);
    await index.write([actWrite(tenant, id, { at, ...act })]);
  }
}
