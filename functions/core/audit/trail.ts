import { PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import { WRITE_LIMIT_OPERATIONS, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { type AuditEntry, hashOf, strandStart } from './entry.ts';
import { AUDIT_STUDIES, type AuditEvent } from './event.ts';

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
  event: AuditEvent;
  count: number;
  instances: number;
}

export type AuditPolicy = 'writes' | 'all' | 'off';

/**
 * Where every act is recorded. `record` resolves when the entry would survive losing power; entries that come while one write is
 * under way share the next. A viewer that reads a thousand frames is one access: the first is recorded before it is answered,
 * those of the next minute are counted, and the count follows (`flush`).
 */
export class AuditTrail {
  readonly #ports: Pick<Services, 'index' | 'clock' | 'limits'>;
  readonly #lines = new Map<string, Line>();
  readonly #repeated = new Map<string, Repeated>();
  readonly policy: AuditPolicy;
  #failedAt: number | undefined;

  constructor(ports: Pick<Services, 'index' | 'clock' | 'limits'>, policy: AuditPolicy = 'writes') {
    this.#ports = ports;
    this.policy = policy;
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
      return;
    }
    if (known !== undefined) void this.#settle(id, known);
    else if (this.#repeated.size >= this.#ports.limits.auditRepeatedActs) {
      const [oldestId, oldest] = this.#repeated.entries().next().value!;
      void this.#settle(oldestId, oldest);
    }
    this.#repeated.set(id, { tenant, event, count: 0, instances: 0 });
    await this.record(tenant, event);
  }

  /** Writes the counts of acts whose time is over; of all, when the process ends. Resolves when they are durable. */
  async flush(all = false): Promise<void> {
    const { clock, limits } = this.#ports;
    const over = [...this.#repeated].filter(([, { event }]) => all || clock.now() - event.at >= limits.auditRepeatMs);
    await Promise.all(over.map(([id, repeated]) => this.#settle(id, repeated)));
  }

  async #settle(id: string, { tenant, event, count, instances }: Repeated): Promise<void> {
    this.#repeated.delete(id);
    if (count === 0) return;
    const counted = { ...event, at: this.#ports.clock.now(), repeated: count, ...(instances > 0 && { instances }) };
    await this.record(tenant, counted).catch(() => {
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
