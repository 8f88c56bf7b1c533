import type { Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import type { Services } from '../services.ts';
import { monthOf, usageKeys } from './usage-records.ts';

/**
 * Requests that were answered, and bytes of the answers, by tenant: gathered in the process and written now and then, so that no
 * request waits for it. What a process that is killed had not written yet is not counted.
 */
export class ServedCounts {
  readonly #ports: Pick<Services, 'index' | 'clock'>;
  #gathered = new Map<Tenant, { requests: number; bytes: number }>();

  constructor(ports: Pick<Services, 'index' | 'clock'>) {
    this.#ports = ports;
  }

  count(tenant: Tenant, bytes: number): void {
    const sums = this.#gathered.get(tenant) ?? { requests: 0, bytes: 0 };
    sums.requests++;
    sums.bytes += bytes;
    this.#gathered.set(tenant, sums);
  }

  /** Adds what has been gathered to the counters of this month. What cannot be written now is kept for the next time. */
  async flush(): Promise<void> {
    const { index, clock } = this.#ports;
    const gathered = this.#gathered;
    this.#gathered = new Map();
    for (const [tenant, { requests, bytes }] of gathered) {
      const key = usageKeys.served(tenant, monthOf(clock.now()));
      try {
        await index.write([{ kind: 'add', key, increments: { requests, bytes } }], { durability: 'deferred' });
      } catch (error) {
        if (!(error instanceof PacsError)) throw error;
        // Whether an engine that was not heard again has written it is not known: rather too few than twice.
        if (error.code === 'OUTCOME_UNKNOWN') continue;
        const sums = this.#gathered.get(tenant) ?? { requests: 0, bytes: 0 };
        this.#gathered.set(tenant, { requests: sums.requests + requests, bytes: sums.bytes + bytes });
      }
    }
  }
}
