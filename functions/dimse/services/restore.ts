import { setTimeout as sleep } from 'node:timers/promises';
import type { InstanceRecord } from '#core/archive/records.ts';
import { keys, type SeriesRecord } from '#core/archive/records.ts';
import { beginRestore, restoreOnRead, restoreSeries } from '#core/archive/tiering.ts';
import { PacsError } from '#core/errors.ts';
import { asRecord } from '#core/ports/index-table.ts';
import type { Services } from '#core/services.ts';
import { PRIORITY } from '../command-set.ts';
import type { AcceptedContext } from '../negotiation.ts';
import { type Outgoing, prepare, prepareArriving, type Selected, type Selection } from './retrieve.ts';
import { Turns } from './turns.ts';

/** Of all associations of a process. */
const readTurns = new WeakMap<Services, Turns>();

function readTurnsOf(services: Services): Turns {
  const known = readTurns.get(services) ?? new Turns(services.limits.retrieveReads);
  readTurns.set(services, known);
  return known;
}

/**
 * Waits, for one C-MOVE or C-GET, for objects that lie on slow media: has them brought back, all series of the selection at once, and
 * looks every `limits.retrievePendingMs` whether they are there, for at most `limits.retrieveRestoreMs` in all. What is not there by then
 * is a failed sub-operation, listed by its UID; its restore goes on.
 */
export class RestoreWait {
  readonly #services: Services;
  readonly #selection: Pick<Selection, 'instances'>;
  readonly #signal: AbortSignal;
  readonly #priority: number | undefined;
  #begun = false;
  #deadline: number | undefined;

  /** @param priority of the request, by which it gets its turns at reading */
  constructor(
    services: Services,
    selection: Pick<Selection, 'instances'>,
    signal: AbortSignal,
    priority: number | undefined,
  ) {
    this.#services = services;
    this.#selection = selection;
    this.#signal = signal;
    this.#priority = priority;
  }

  /** As `prepare`, once the object can be read, or will not be in time. */
  async prepare(instance: Selected, contexts: readonly AcceptedContext[]): Promise<Outgoing> {
    if ('arriving' in instance) return prepareArriving(this.#services, instance, contexts);
    for (;;) {
      // A turn ends when the first bytes are there: whoever takes them slowly, or is brought back for hours, has none.
      const { outgoing, error } = await readTurnsOf(this.#services).run(this.#priority, async () => {
        const ready = prepare(this.#services, instance, contexts);
        const failure: unknown = await ready.dataSet?.then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        return { outgoing: ready, error: failure };
      });
      if ('unavailable' in instance || !(error instanceof PacsError) || error.code !== 'ARCHIVED') return outgoing;
      await this.#begin(instance.blobKey.split('/')[0]!, error);
      if (!(await this.#isBack(instance))) return outgoing;
    }
  }

  async #begin(tenant: string, error: PacsError): Promise<void> {
    await restoreOnRead(this.#services, error);
    if (this.#begun) return;
    this.#begun = true;
    const seen = new Set<string>();
    for await (const one of this.#selection.instances()) {
      if ('unavailable' in one || 'arriving' in one || seen.has(one.SeriesInstanceUID)) continue;
      seen.add(one.SeriesInstanceUID);
      const { StudyInstanceUID: study, SeriesInstanceUID: series } = one;
      const item = await this.#services.index.get(keys.series(tenant, study, series));
      const availability = asRecord<SeriesRecord>(item)?.availability;
      if (availability === 'OFFLINE') await beginRestore(this.#services, tenant, study, series);
      if (item !== undefined && availability !== 'ONLINE' && this.#priority === PRIORITY.high)
        await this.#ahead(tenant, study, series);
    }
  }

  /** The store is asked at once, whatever waits in the queue of restores; its job looks after the series all the same. */
  async #ahead(tenant: string, study: string, series: string): Promise<void> {
    await restoreSeries(this.#services, { tenant, study, series }).catch((error: unknown) => {
      if (!(error instanceof PacsError)) throw error;
    });
  }

  async #isBack({ blobKey }: InstanceRecord): Promise<boolean> {
    const { clock, limits, blobs } = this.#services;
    this.#deadline ??= clock.now() + limits.retrieveRestoreMs;
    while (!this.#signal.aborted && clock.now() < this.#deadline) {
      if ((await blobs.availability(blobKey)) === 'ONLINE') return true;
      await sleep(limits.retrievePendingMs, undefined, { signal: this.#signal }).catch(() => {});
    }
    return false;
  }
}
