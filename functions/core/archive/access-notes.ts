import { PacsError } from '../errors.ts';
import type { Services } from '../services.ts';
import { type Day, dayOf, type Tenant, tierKeys } from './tier-records.ts';

/** studies of one day that a process remembers to have noted */
const REMEMBERED = 5_000;

/**
 * The day on which a study was last read, for the policy that moves what nobody reads. Written at most once a day and study: a process
 * remembers what it has noted, and looks before it writes, so that many functions reading one study leave one write.
 */
export class AccessNotes {
  readonly #ports: Pick<Services, 'index' | 'clock'>;
  readonly #wanted: boolean;
  #day: Day = '';
  #noted = new Set<string>();

  /** @param wanted false where no policy asks for it: then nothing is noted */
  constructor(ports: Pick<Services, 'index' | 'clock'>, wanted: boolean) {
    this.#ports = ports;
    this.#wanted = wanted;
  }

  /** A note that cannot be written now fails no read: the next reader writes it. */
  async note(tenant: Tenant, study: string): Promise<void> {
    if (!this.#wanted) return;
    const { index, clock } = this.#ports;
    const day = dayOf(clock.now());
    if (day !== this.#day || this.#noted.size >= REMEMBERED) this.#noted = new Set();
    this.#day = day;
    const id = `${tenant}|${study}`;
    if (this.#noted.has(id)) return;
    this.#noted.add(id);
    const key = tierKeys.access(tenant, study);
    try {
      const item = await index.get(key);
      if (item?.day === day) return;
      await index.write([{ kind: 'put', key, item: { day } }]);
    } catch (error) {
      this.#noted.delete(id);
      if (!(error instanceof PacsError)) throw error;
    }
  }
}
