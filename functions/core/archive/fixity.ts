import { PacsError } from '../errors.ts';
import { asItem, asRecord, type Key } from '../ports/index-table.ts';
import { studyOfSort } from '../search/study-list.ts';
import type { Services } from '../services.ts';
import { damagedKey, damagedObjects, noteDamaged, type Problem, problemOf, type Stored } from './damage.ts';
import type { Tenant } from './records.ts';
import { isKnown } from './unsettled.ts';
import { objectsAside, objectsOfStudy, placesOfStudies } from './verify.ts';

/**
 * Looks at every object that the archive keeps, slowly and again and again, and compares it with its SHA-256: a disk spoils bytes without a
 * word, and what nobody reads for years is found out while a backup still has it.
 *
 * | record  | partition  | sort                | holds                                                          |
 * |---------|------------|---------------------|----------------------------------------------------------------|
 * | pass    | t|fixity   | pass                | FixityPass: the one that goes on, or the last one               |
 * | damaged | t|fixity   | damaged|{blob key}  | Damaged (damage.ts): as it was found last; taken away when it is sound again |
 */
export interface FixityPass {
  /** optimistic lock: of several processes one works on */
  version: number;
  startedAt: number;
  /** undefined: it goes on */
  endedAt?: number | undefined;
  /** when somebody last worked on it */
  workedAt: number;
  /** the place in the study list up to which all has been looked at */
  after?: string | undefined;
  objects: number;
  bytes: number;
  /** found by this pass */
  damaged: number;
}

export interface FixityOptions {
  /** a pass begins this long after the one before began (ms) */
  readonly everyMs: number;
  /** that are read in a second, at most; a small object counts for as much as OBJECT_BYTES */
  readonly bytesPerSecond: number;
}

/** What looking at an object costs beside its bytes: small ones must not keep a processor busy. */
const OBJECT_BYTES = 128 * 1024;
/** A shorter wait is made up for by the next one (ms). */
const SHORTEST_MS = 50;
/** Who waits looks so often whether it is to go on (ms). */
const WAIT_MS = 1_000;
/** Where a pass has come to is written down so often (ms); what it looked at since then it looks at again after a crash. */
const NOTE_MS = 10_000;
/** Who has not noted anything for so long is taken for dead (ms). */
const DEAD_MS = 6 * NOTE_MS;
/** damaged objects that are listed; more are counted alone */
const LISTED = 10_000;
/** what is being moved or purged just now stands elsewhere a moment later (ms) */
const SETTLES_MS = 2_000;

const passKey = (t: Tenant): Key => ({ partition: `${t}|fixity`, sort: 'pass' });

/** The pass that goes on, or the last one; undefined: there was none. */
export async function fixityPass({ index }: Pick<Services, 'index'>, tenant: Tenant): Promise<FixityPass | undefined> {
  const item = await index.get(passKey(tenant));
  return item && asRecord<FixityPass>(item);
}

/**
 * Begins a pass if it is time for one, or goes on with one that nobody works on, to its end. Any process may call it at any time.
 *
 * @param tell is told of each object: what is wrong with it, or nothing
 * @returns whether there was anything to do
 */
export async function checkFixity(
  services: Services,
  tenant: Tenant,
  options: FixityOptions,
  tell: (stored: Stored, problem: Problem | undefined) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const pass = await Pass.take(services, tenant, options, signal);
  if (pass === undefined) return false;
  for await (const place of placesOfStudies(services, tenant, pass.after)) {
    for await (const { stored } of objectsOfStudy(services, tenant, studyOfSort(place)))
      if (!(await pass.look(stored, tell))) return true;
    pass.after = place;
  }
  for await (const stored of objectsAside(services, tenant)) if (!(await pass.look(stored, tell))) return true;
  await pass.end();
  return true;
}

/** The pass that this process works on. */
class Pass {
  readonly #services: Services;
  readonly #tenant: Tenant;
  readonly #bytesPerSecond: number;
  readonly #signal: AbortSignal;
  #record: FixityPass;
  /** another process has taken it over */
  #isLost = false;
  /** up to when the bytes that have been read last at the rate (ms since 1970) */
  #paidUntil: number;
  after: string | undefined;

  private constructor(
    services: Services,
    tenant: Tenant,
    { bytesPerSecond }: FixityOptions,
    signal: AbortSignal,
    record: FixityPass,
  ) {
    this.#services = services;
    this.#tenant = tenant;
    this.#bytesPerSecond = bytesPerSecond;
    this.#signal = signal;
    this.#record = record;
    this.#paidUntil = services.clock.now();
    this.after = record.after;
  }

  /** undefined: it is not time yet, or another process works on it */
  static async take(
    services: Services,
    tenant: Tenant,
    options: FixityOptions,
    signal: AbortSignal,
  ): Promise<Pass | undefined> {
    const now = services.clock.now();
    const last = await fixityPass(services, tenant);
    const fresh = { startedAt: now, workedAt: now, objects: 0, bytes: 0, damaged: 0 };
    let next: FixityPass;
    if (last === undefined) next = { version: 1, ...fresh };
    else if (last.endedAt === undefined) {
      // A clock that was put back since says nothing of who is dead.
      if (now >= last.workedAt && now - last.workedAt < DEAD_MS) return undefined;
      next = { ...last, version: last.version + 1, workedAt: now };
    } else {
      if (now >= last.startedAt && now - last.startedAt < options.everyMs) return undefined;
      next = { version: last.version + 1, ...fresh };
    }
    const pass = new Pass(services, tenant, options, signal, next);
    await pass.#write(last?.version);
    return pass.#isLost ? undefined : pass;
  }

  get #isOver(): boolean {
    return this.#isLost || this.#signal.aborted;
  }

  /** @returns whether this process is to go on with it */
  async look(stored: Stored, tell: (stored: Stored, problem: Problem | undefined) => void): Promise<boolean> {
    if (this.#isOver) return false;
    const problem = await this.#problemOf(stored);
    // Broken off, nothing is known of it.
    if (this.#isOver) return false;
    this.#record.objects++;
    this.#record.bytes += stored.sizeBytes;
    if (problem !== undefined) this.#record.damaged++;
    await this.#remember(stored, problem);
    tell(stored, problem);
    await this.#wait(Math.max(0, OBJECT_BYTES - stored.sizeBytes));
    await this.#noteInTime();
    return !this.#isOver;
  }

  /** What was damaged and has been removed since is forgotten. */
  async end(): Promise<void> {
    for await (const { blobKey } of damagedObjects(this.#services, this.#tenant))
      if ((await isKnown(this.#services, blobKey)) === false)
        await this.#services.index.write([{ kind: 'delete', key: damagedKey(this.#tenant, blobKey) }]);
    this.#record.endedAt = this.#services.clock.now();
    await this.#note();
  }

  async #noteInTime(): Promise<void> {
    const sinceMs = this.#services.clock.now() - this.#record.workedAt;
    if (!this.#isLost && (sinceMs < 0 || sinceMs >= NOTE_MS)) await this.#note();
  }

  async #note(): Promise<void> {
    const { version } = this.#record;
    this.#record = {
      ...this.#record,
      version: version + 1,
      workedAt: this.#services.clock.now(),
      after: this.#record.endedAt === undefined ? this.after : undefined,
    };
    await this.#write(version);
  }

  async #write(before: number | undefined): Promise<void> {
    const outcome = await this.#services.index.write(
      [
        {
          kind: 'put',
          key: passKey(this.#tenant),
          item: asItem(this.#record),
          if: before === undefined ? 'absent' : { version: before },
        },
      ],
      { durability: 'deferred' },
    );
    this.#isLost = !outcome.committed;
  }

  /** Said of an object only when a second look says so too, and a record still speaks of it. */
  async #problemOf(stored: Stored): Promise<Problem | undefined> {
    const pace = (bytes: number): Promise<void> => this.#pace(bytes);
    if ((await problemOf(this.#services, stored, pace)) === undefined || this.#isOver) return undefined;
    await this.#services.clock.sleep(SETTLES_MS);
    const problem = await problemOf(this.#services, stored, pace);
    return problem !== undefined && (await isKnown(this.#services, stored.blobKey)) !== false ? problem : undefined;
  }

  /** Throws where the reading is to be broken off. */
  async #pace(bytes: number): Promise<void> {
    await this.#wait(bytes);
    await this.#noteInTime();
    if (this.#isOver) throw new PacsError('BUSY', 'another process goes on with it, or the archive is being stopped');
  }

  /** As long as the bytes take at the rate. */
  async #wait(bytes: number): Promise<void> {
    const { clock } = this.#services;
    const now = clock.now();
    const takesMs = (bytes / this.#bytesPerSecond) * 1_000;
    // A clock that was put back makes nobody wait longer.
    this.#paidUntil = Math.min(Math.max(now, this.#paidUntil), now + SHORTEST_MS) + takesMs;
    for (let leftMs = this.#paidUntil - now; leftMs > SHORTEST_MS && !this.#isOver; leftMs -= WAIT_MS)
      await clock.sleep(Math.min(leftMs, WAIT_MS));
  }

  async #remember(stored: Stored, problem: Problem | undefined): Promise<void> {
    if (problem === undefined) {
      const { index } = this.#services;
      const key = damagedKey(this.#tenant, stored.blobKey);
      if ((await index.get(key)) !== undefined) await index.write([{ kind: 'delete', key }]);
      return;
    }
    if (this.#record.damaged <= LISTED) await noteDamaged(this.#services, this.#tenant, stored, problem);
  }
}
