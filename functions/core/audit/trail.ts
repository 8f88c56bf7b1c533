import { PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import { WRITE_LIMIT_OPERATIONS, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { type AuditEntry, hashOf, strandStart } from './entry.ts';
import { AUDIT_STUDIES, type AuditEvent, type AuditEventName } from './event.ts';

/** The entries of a tenant, in the order in which they became visible; each `{ line }`. */
export const auditPartition = (tenant: string): string => `${tenant}|audit`;

/** One process's chain of entries of one tenant. */
interface Strand {
  id: string;
  n: number;
  prev: string;
}

interface Waiting {
  readonly event: AuditEvent;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface Line {
  strand: Strand;
  readonly waiting: Waiting[];
  draining: boolean;
}

/** An act that has been recorded and is now only counted. */
interface Repeated {
  readonly tenant: string;
  readonly event: AuditEvent;
  /** of the first: settled when it is durable */
  readonly entry: Promise<void>;
  count: number;
  instances: number;
}

export type AuditPolicy = 'writes' | 'all' | 'off';

/** Acts that show what is there to who may see it, where their action is R or E: what is handed out, or opens a door, is none of them. */
const LOOKS: ReadonlySet<AuditEventName> = new Set(['InstancesAccessed', 'Query', 'OrderRecord', 'ProcedureRecord']);

export interface AuditTrailOptions {
  /** the process goes on when it has answered: what it has handed over by then is written */
  readonly outlivesAnswers?: boolean;
}

/**
 * Where every act is recorded. `record` resolves when the entry would survive losing power; entries that come while one write is
 * under way share the next. A viewer that reads a thousand frames is one access: the first is recorded before it is answered,
 * those of the next minute are counted, and the count follows (`flush`).
 *
 * In a process that outlives its answers, what only looks does not wait for its entry unless the policy is `all`: it goes on while the
 * trail cannot be written, too. Up to `auditEntriesUnderWay` such entries have been handed over and are not durable yet.
 */
export class AuditTrail {
  readonly #ports: Pick<Services, 'index' | 'clock' | 'limits'>;
  readonly #lines = new Map<string, Line>();
  readonly #repeated = new Map<string, Repeated>();
  /** entries that nobody waits for, until they are durable */
  readonly #handedOver = new Set<Promise<void>>();
  readonly #outlivesAnswers: boolean;
  readonly policy: AuditPolicy;
  #failedAt: number | undefined;

  constructor(
    ports: Pick<Services, 'index' | 'clock' | 'limits'>,
    policy: AuditPolicy = 'writes',
    { outlivesAnswers = false }: AuditTrailOptions = {},
  ) {
    this.#ports = ports;
    this.policy = policy;
    this.#outlivesAnswers = outlivesAnswers;
  }

  /**
   * Whether an act of this kind may go ahead: not while the trail cannot be written, where the policy wants it recorded. One act is
   * let through every `auditProbeMs` to see whether it can be written again.
   * @throws PacsError BUSY
   */
  admit(isWrite: boolean): void {
    if (this.#failedAt === undefined || this.policy === 'off' || (this.policy === 'writes' && !isWrite)) return;
    const { clock, limits } = this.#ports;
    if (clock.now() - this.#failedAt < limits.auditProbeMs)
      throw new PacsError('BUSY', 'the audit trail cannot be written');
    this.#failedAt = clock.now();
  }

  /** @throws PacsError BUSY when the entry could not be made durable and the policy asks for it */
  async record(tenant: string, event: AuditEvent): Promise<void> {
    const entry = this.#write(tenant, event);
    if (this.#mayFollow(event)) this.#handOver(entry);
    else await entry;
  }

  /**
   * Records an act that is often done many times over, `key` saying what counts as the same. The first is recorded at once.
   * @throws PacsError BUSY as `record`
   */
  async recordOnce(tenant: string, key: string, event: AuditEvent): Promise<void> {
    const id = `${tenant}|${key}`;
    const known = this.#repeated.get(id);
    if (known !== undefined && event.at - known.event.at < this.#ports.limits.auditRepeatMs) {
      known.count++;
      known.instances += event.instances ?? 0;
      // Before the first is durable there is nothing that this one could be counted to.
      if (!this.#mayFollow(event)) await known.entry;
      return;
    }
    if (known !== undefined) void this.#settle(id, known);
    else if (this.#repeated.size >= this.#ports.limits.auditRepeatedActs) {
      const [oldestId, oldest] = this.#repeated.entries().next().value!;
      void this.#settle(oldestId, oldest);
    }
    const entry = this.#write(tenant, event);
    const repeated: Repeated = { tenant, event, entry, count: 0, instances: 0 };
    this.#repeated.set(id, repeated);
    if (this.#mayFollow(event)) {
      this.#handOver(entry);
      return;
    }
    try {
      await entry;
    } catch (error) {
      // Refused, and done anew: that must be an entry, not a count of none.
      if (this.#repeated.get(id) === repeated) this.#repeated.delete(id);
      throw error;
    }
  }

  /** Whether this act may be answered while its entry is being written. */
  #mayFollow({ event, action, outcome }: AuditEvent): boolean {
    return (
      this.#outlivesAnswers &&
      this.policy !== 'all' &&
      outcome === 0 &&
      (action === 'R' || action === 'E') &&
      LOOKS.has(event) &&
      this.#handedOver.size < this.#ports.limits.auditEntriesUnderWay
    );
  }

  #handOver(entry: Promise<void>): void {
    const settled = entry.finally(() => this.#handedOver.delete(settled));
    this.#handedOver.add(settled);
  }

  async #write(tenant: string, event: AuditEvent): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        const line = this.#lineOf(tenant);
        line.waiting.push({ event: shortened(event), resolve, reject });
        if (!line.draining) void this.#drain(tenant, line);
      });
      this.#failedAt = undefined;
    } catch (cause) {
      this.#failedAt = this.#ports.clock.now();
      const isWrite = event.action !== 'R' && event.action !== 'E';
      if (this.policy === 'all' || (this.policy === 'writes' && isWrite))
        throw new PacsError('BUSY', 'the audit trail cannot be written', { cause });
    }
  }

  /** Resolves when what was handed over before is durable, or has failed. */
  async written(): Promise<void> {
    await Promise.all(this.#handedOver);
  }

  /** Writes the counts of acts whose time is over; of all, when the process ends. Resolves when they are durable, and what was handed over. */
  async flush(all = false): Promise<void> {
    const { clock, limits } = this.#ports;
    const over = [...this.#repeated].filter(([, { event }]) => all || clock.now() - event.at >= limits.auditRepeatMs);
    await Promise.all(over.map(([id, repeated]) => this.#settle(id, repeated)));
    await this.written();
  }

  async #settle(id: string, { tenant, event, count, instances }: Repeated): Promise<void> {
    this.#repeated.delete(id);
    if (count === 0) return;
    const counted = { ...event, at: this.#ports.clock.now(), repeated: count, ...(instances > 0 && { instances }) };
    await this.#write(tenant, counted).catch(() => {
      // The acts themselves are in the trail; `admit` keeps further ones out.
    });
  }

  #lineOf(tenant: string): Line {
    let line = this.#lines.get(tenant);
    if (line === undefined) {
      line = { strand: this.#newStrand(), waiting: [], draining: false };
      this.#lines.set(tenant, line);
    }
    return line;
  }

  #newStrand(): Strand {
    const id = newVersion(this.#ports.clock);
    return { id, n: 0, prev: strandStart(id) };
  }

  async #drain(tenant: string, line: Line): Promise<void> {
    line.draining = true;
    // What is recorded in this turn of the event loop shares a write.
    await Promise.resolve();
    while (line.waiting.length > 0) {
      const batch = line.waiting.splice(0, WRITE_LIMIT_OPERATIONS);
      const next = { ...line.strand };
      const operations = batch.map(({ event }) => appended(tenant, next, event));
      try {
        await this.#ports.index.write(operations);
        line.strand = next;
        for (const { resolve } of batch) resolve();
      } catch (error) {
        // Nobody knows whether it was written: the strand ends here, and what follows starts another.
        line.strand = this.#newStrand();
        for (const { reject } of batch) reject(error);
      }
    }
    line.draining = false;
  }
}

function appended(tenant: string, strand: Strand, event: AuditEvent): WriteOperation {
  const entry: AuditEntry = { strand: strand.id, n: strand.n, prev: strand.prev, ...event };
  const line = JSON.stringify(entry);
  strand.n++;
  strand.prev = hashOf(line);
  return { kind: 'append', partition: auditPartition(tenant), item: { line } };
}

const shortened = (event: AuditEvent): AuditEvent =>
  event.studies !== undefined && event.studies.length > AUDIT_STUDIES
    ? { ...event, studies: event.studies.slice(0, AUDIT_STUDIES) }
    : event;
