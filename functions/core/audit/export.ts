import { doubledMs } from '../backoff.ts';
import { newVersion } from '../ids.ts';
import { asRecord } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { type AuditSource, auditMessage } from './dicom-message.ts';
import { parseEntry } from './entry.ts';
import { patientsOf } from './patients.ts';
import { auditPartition } from './trail.ts';

/** An Audit Record Repository (IHE ITI-20), as a host reaches it. */
export interface AuditRepository {
  /**
   * Hands over messages in their order. Resolves when the repository has taken all of them; what it may not have taken comes again.
   * @throws anything, when it may not have
   */
  deliver(messages: readonly AuditMessage[]): Promise<void>;
}

export interface AuditMessage {
  /** ms since 1970, of the act */
  readonly at: number;
  /** PS3.15 A.5.1 */
  readonly xml: string;
}

/** How far a tenant's trail has been handed over, and who does it. */
interface ExportState {
  version: number;
  /** cursor of the last entry that the repository has */
  cursor: string;
  /** process that hands over, and until when nobody else does (ms since 1970) */
  holder: string;
  until: number;
  /** deliveries in a row that failed, and when it is tried again (ms since 1970) */
  failures: number;
  retryAt: number;
}

export interface ExportReport {
  /** entries that the repository has taken in this run */
  readonly sent: number;
  /** age of the oldest entry that it has not (ms); 0: it has all; undefined: another process sees to it */
  readonly lagMs: number | undefined;
  /** what went wrong, where something did */
  readonly error?: unknown;
}

/** Entries of one delivery. */
const BATCH = 500;
/** How long a process that has begun to hand over keeps the others out, longer than a delivery takes (ms). */
const HELD_MS = 2 * 60_000;
const BACKOFF = { firstMs: 1_000, mostMs: 5 * 60_000 } as const;

const stateKey = (tenant: string) => ({ partition: `${tenant}|auditexport`, sort: 'repository' });

/**
 * Hands a tenant's trail over to a repository, entry by entry in the order of the trail, from wherever it was left: nothing is lost while the
 * repository is away, for as long as that may be, and what it may not have taken comes again. One process does it at a time.
 *
 * The race: two processes find nobody at it. Both write the state under the version they read, and one of them wins. One that held on
 * for too long, and has been taken over from, cannot move the cursor: its entries come twice.
 */
export class AuditExport {
  readonly #services: Pick<Services, 'index' | 'clock'>;
  readonly #repository: AuditRepository;
  readonly #source: AuditSource;
  readonly #id: string;

  constructor(services: Pick<Services, 'index' | 'clock'>, repository: AuditRepository, source: AuditSource) {
    this.#services = services;
    this.#repository = repository;
    this.#source = source;
    this.#id = newVersion(services.clock);
  }

  /** Hands over what there is, until `isOver`. Failures of the repository are in the report, those of the index are thrown. */
  async run(tenant: string, isOver: () => boolean = () => false): Promise<ExportReport> {
    const { clock } = this.#services;
    let state = await this.#claim(tenant);
    if (state === undefined) return { sent: 0, lagMs: undefined };
    for (let sent = 0; ; ) {
      const page = await this.#page(tenant, state.cursor);
      const first = page.entries[0];
      if (first === undefined) return { sent, lagMs: 0 };
      if (isOver() || clock.now() < state.retryAt) return { sent, lagMs: clock.now() - first.at };
      try {
        const patients = await patientsOf(this.#services, tenant, page.entries);
        const messages = page.entries.map((one) => ({ at: one.at, xml: auditMessage(one, this.#source, patients) }));
        await this.#repository.deliver(messages);
      } catch (error) {
        const failures = state.failures + 1;
        await this.#move(tenant, state, { failures, retryAt: clock.now() + doubledMs(failures, BACKOFF) });
        return { sent, lagMs: clock.now() - first.at, error };
      }
      sent += page.entries.length;
      const moved = await this.#move(tenant, state, { cursor: page.cursor, failures: 0, retryAt: 0 });
      if (moved === undefined) return { sent, lagMs: undefined };
      state = moved;
    }
  }

  /** Lets another process take over at once: this one ends. */
  async release(tenant: string): Promise<void> {
    const found = asRecord<ExportState>(await this.#services.index.get(stateKey(tenant)));
    if (found?.holder !== this.#id) return;
    const item = { ...found, version: found.version + 1, until: 0 };
    await this.#services.index.write([{ kind: 'put', key: stateKey(tenant), item, if: { version: found.version } }]);
  }

  /** The state, held by us; undefined while another process holds it. */
  async #claim(tenant: string): Promise<ExportState | undefined> {
    const { index, clock } = this.#services;
    const found = asRecord<ExportState>(await index.get(stateKey(tenant)));
    if (found !== undefined && found.holder !== this.#id && found.until > clock.now()) return undefined;
    // Held for a good while yet: nothing need be written to look whether there is something to hand over.
    if (found !== undefined && found.holder === this.#id && found.until - clock.now() > HELD_MS / 2) return found;
    const free = { version: 0, cursor: '', holder: '', until: 0, failures: 0, retryAt: 0 };
    return this.#move(tenant, found ?? free, {});
  }

  /** Undefined when another process has moved it meanwhile. */
  async #move(
    tenant: string,
    state: ExportState,
    changes: Partial<Pick<ExportState, 'cursor' | 'failures' | 'retryAt'>>,
  ): Promise<ExportState | undefined> {
    const { index, clock } = this.#services;
    const until = clock.now() + HELD_MS;
    const next = { ...state, ...changes, version: state.version + 1, holder: this.#id, until };
    const unchanged = state.version === 0 ? ('absent' as const) : { version: state.version };
    const outcome = await index.write([{ kind: 'put', key: stateKey(tenant), item: { ...next }, if: unchanged }]);
    return outcome.committed ? next : undefined;
  }

  async #page(tenant: string, cursor: string) {
    const { records } = await this.#services.index.query({
      partition: auditPartition(tenant),
      log: true,
      limit: BATCH,
      ...(cursor === '' ? {} : { after: cursor }),
    });
    const entries = records.map(({ item }) => parseEntry(item.line as string));
    return { entries, cursor: records.at(-1)?.sort ?? cursor };
  }
}
