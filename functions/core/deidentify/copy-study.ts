import { type InstanceRecord, keys, type SeriesRecord, type Tenant } from '../archive/records.ts';
import { storeObject } from '../archive/store.ts';
import { beginRestore } from '../archive/tiering.ts';
import { asPacsError, PacsError } from '../errors.ts';
import { asItem, asRecord, recordsIn, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import type { Refusal } from './judge.ts';
import { deidentifyObject, type Engine } from './object.ts';
import { findProject, pseudonymsOf } from './projects.ts';
import type { Patient } from './pseudonyms.ts';
import { deidentificationKeys, type InstanceOutcome, type RunRecord, type StudyProgress } from './records.ts';
import { DEIDENTIFY } from './runs.ts';

/** where copies come from, in the records of their instances */
const COPY_SOURCE = 'deidentify';
const AT_ONCE = 4;
/** after this time the rest of a study is left to the next job (ms) */
const TURN_MS = 60_000;
/** a worker that is not heard of for this long has died (ms) */
const LEASE_MS = 5 * 60_000;
const RENEW_MS = 60_000;

export interface CopyJob {
  readonly tenant: Tenant;
  readonly id: string;
  readonly study: number;
}

/**
 * A job of the queue: copies a study of a run, for a minute, and leaves the rest to another. May run twice, also at the same time: one holds the lease, and what was
 * copied before is recognised.
 * @throws PacsError what passes (BUSY, OUT_OF_SPACE, …): run it again
 */
export async function copyStudy(services: Services, job: CopyJob): Promise<'done' | 'later' | 'gone'> {
  const { tenant, id } = job;
  const item = await services.index.get(deidentificationKeys.run(tenant, id));
  if (!item) return 'gone';
  const run = asRecord<RunRecord>(item);
  const turn = await Turn.take(services, job);
  if (turn === 'gone') return 'gone';
  if (turn === 'done') {
    // Whoever did it may have been cut off right there.
    await closeRun(services, tenant, run);
    return 'done';
  }
  if (turn === 'elsewhere') {
    await services.jobs.enqueue(DEIDENTIFY, { ...job }, { delayMs: RENEW_MS });
    return 'later';
  }
  try {
    const left = await copyInstances(services, run, job, turn);
    if (left) {
      await turn.release();
      await services.jobs.enqueue(DEIDENTIFY, { ...job });
      return 'later';
    }
  } catch (error) {
    await turn.release();
    if (!(error instanceof PacsError && error.code === 'ARCHIVED')) throw error;
    await services.jobs.enqueue(DEIDENTIFY, { ...job }, { delayMs: services.limits.restorePollMs });
    return 'later';
  }
  await turn.finish(run);
  return 'done';
}

/** Copies what is left of the study until the turn is over. @returns whether there is more */
async function copyInstances(services: Services, run: RunRecord, job: CopyJob, turn: Turn): Promise<boolean> {
  const { tenant } = job;
  const project = await findProject(services, tenant, run.project);
  const pseudonyms = await pseudonymsOf(services, tenant, run.project);
  if (project === undefined || project.destroyedAt !== undefined || pseudonyms === undefined) {
    turn.stopped = true;
    return false;
  }
  const { limits, pixels, clock } = services;
  const engine: Engine = { limits, pixels, pseudonyms, profile: project.profile, project: run.project };
  const until = clock.now() + TURN_MS;
  const known = new Set<string>();
  for await (const batch of instancesAfter(services, tenant, turn.progress)) {
    if (clock.now() >= until) return true;
    const copied = await Promise.all(batch.map((instance) => copyInstance(services, tenant, instance, engine, turn)));
    const writes: WriteOperation[] = [];
    for (const { patient, outcome } of copied) {
      const copy = outcome.copy?.StudyInstanceUID;
      if (patient === undefined || copy === undefined || known.has(copy)) continue;
      known.add(copy);
      writes.push(...mapped(tenant, run.project, turn.progress.StudyInstanceUID, copy, patient));
    }
    // Nothing may be written of who is who after that was destroyed.
    if (writes.length > 0)
      writes.push({ kind: 'check', key: deidentificationKeys.secret(tenant, run.project), if: 'present' });
    await turn.note(
      copied.map(({ outcome }) => outcome),
      writes,
    );
  }
  return false;
}

/** The instances of a study behind the last one whose outcome is known, by series and UID, a few at a time. */
async function* instancesAfter(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  { StudyInstanceUID, after: last }: StudyProgress,
): AsyncGenerator<InstanceRecord[]> {
  const { partition } = keys.study(tenant, StudyInstanceUID);
  for await (const { item } of recordsIn(index, { partition, prefix: 'series|', limit: 1_000 })) {
    const { SeriesInstanceUID } = asRecord<SeriesRecord>(item);
    if (last !== undefined && SeriesInstanceUID < last.series) continue;
    let sop = last?.series === SeriesInstanceUID ? last.sop : '';
    const instances = keys.instance(tenant, StudyInstanceUID, SeriesInstanceUID, '').partition;
    for (;;) {
      const some = await index.query({ partition: instances, limit: AT_ONCE, ...(sop === '' ? {} : { after: sop }) });
      if (some.records.length > 0) yield some.records.map((record) => asRecord<InstanceRecord>(record.item));
      if (!some.more) break;
      sop = some.records.at(-1)!.sort;
    }
  }
}

interface Copied {
  readonly outcome: InstanceOutcome;
  readonly patient?: Patient;
}

async function copyInstance(
  services: Services,
  tenant: Tenant,
  instance: InstanceRecord,
  engine: Engine,
  turn: Turn,
): Promise<Copied> {
  const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, blobKey } = instance;
  const about = { SeriesInstanceUID, SOPInstanceUID };
  try {
    const made = await deidentifyObject({ blobs: services.blobs, blobKey }, engine);
    if (made.kind === 'refused') return { outcome: { ...about, kind: 'refused', reasons: made.reasons } };
    const context = { tenant, source: COPY_SOURCE, ...made.to };
    const stored = await storeObject(services, context, turn.during(made.bytes)).outcome;
    if (stored.kind === 'failed') throw stored.error;
    const kind = stored.kind === 'replaced' ? 'stored' : stored.kind;
    return { outcome: { ...about, kind, copy: made.to }, patient: made.patient };
  } catch (thrown) {
    const error = asPacsError(thrown);
    if (error.code === 'ARCHIVED') await beginRestore(services, tenant, StudyInstanceUID, SeriesInstanceUID);
    if (['later', 'safe', 'checkFirst'].includes(error.row.resend)) throw error;
    const refusal = error.details.refusal as Refusal | undefined;
    if (refusal !== undefined) return { outcome: { ...about, kind: 'refused', reasons: [refusal] } };
    return { outcome: { ...about, kind: 'failed', code: error.code } };
  }
}

/** Who is who, for the administrator alone: written with the first copy of a study. */
function mapped(
  tenant: Tenant,
  project: string,
  StudyInstanceUID: string,
  copy: string,
  patient: Patient,
): WriteOperation[] {
  const { pseudonym } = patient;
  return [
    { kind: 'put', key: deidentificationKeys.patient(tenant, project, pseudonym), item: asItem(patient) },
    {
      kind: 'put',
      key: deidentificationKeys.mappedStudy(tenant, project, copy),
      item: asItem({ StudyInstanceUID, copy, pseudonym }),
    },
  ];
}

/** One worker's turn at a study: nobody else works at it while the lease lasts, and how far it got is written with every few instances. */
class Turn {
  /** the project takes nothing more */
  stopped = false;
  readonly #services: Services;
  readonly #job: CopyJob;
  #progress: StudyProgress;
  #renewing: Promise<void> = Promise.resolve();

  private constructor(services: Services, job: CopyJob, progress: StudyProgress) {
    this.#services = services;
    this.#job = job;
    this.#progress = progress;
  }

  static async take(services: Services, job: CopyJob): Promise<Turn | 'gone' | 'done' | 'elsewhere'> {
    const { index, clock } = services;
    const key = deidentificationKeys.study(job.tenant, job.id, job.study);
    const item = await index.get(key);
    if (!item) return 'gone';
    const progress = asRecord<StudyProgress>(item);
    if (progress.state === 'done') return 'done';
    if ((progress.leaseUntil ?? 0) > clock.now()) return 'elsewhere';
    const turn = new Turn(services, job, progress);
    return (await turn.#write({ state: 'running', leaseUntil: clock.now() + LEASE_MS })) ? turn : 'elsewhere';
  }

  get progress(): StudyProgress {
    return this.#progress;
  }

  async #write(change: Partial<StudyProgress>, others: readonly WriteOperation[] = []): Promise<boolean> {
    const { index, clock } = this.#services;
    const { tenant, id, study } = this.#job;
    const next: StudyProgress = {
      ...this.#progress,
      ...change,
      version: this.#progress.version + 1,
      at: clock.now(),
    };
    const outcome = await index.write([
      {
        kind: 'put',
        key: deidentificationKeys.study(tenant, id, study),
        item: asItem(next),
        if: { version: this.#progress.version },
      },
      ...others,
    ]);
    if (outcome.committed) this.#progress = next;
    return outcome.committed;
  }

  /** @throws PacsError BUSY when another worker has taken over */
  async note(outcomes: readonly InstanceOutcome[], others: readonly WriteOperation[]): Promise<void> {
    await this.#renewing;
    const { tenant, id, study } = this.#job;
    const counts = { ...this.#progress.counts };
    for (const { kind } of outcomes) counts[kind]++;
    const last = outcomes.at(-1)!;
    const copy = this.#progress.copy ?? outcomes.find((outcome) => outcome.copy !== undefined)?.copy?.StudyInstanceUID;
    const change = {
      counts,
      after: { series: last.SeriesInstanceUID, sop: last.SOPInstanceUID },
      leaseUntil: this.#services.clock.now() + LEASE_MS,
      ...(copy !== undefined && { copy }),
    };
    const writes = outcomes.map((outcome): WriteOperation => {
      const { SeriesInstanceUID, SOPInstanceUID } = outcome;
      const key = deidentificationKeys.outcome(tenant, id, study, SeriesInstanceUID, SOPInstanceUID);
      return { kind: 'put', key, item: asItem(outcome) };
    });
    if (!(await this.#write(change, [...writes, ...others])))
      throw new PacsError('BUSY', 'another worker is at this study');
  }

  /** Bytes on their way, during which the lease is kept up. */
  async *during(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const { clock } = this.#services;
    for await (const chunk of bytes) {
      if ((this.#progress.leaseUntil ?? 0) - clock.now() < LEASE_MS - RENEW_MS) {
        this.#renewing = this.#renewing.then(async () => {
          if ((this.#progress.leaseUntil ?? 0) - clock.now() < LEASE_MS - RENEW_MS)
            await this.#write({ leaseUntil: clock.now() + LEASE_MS });
        });
        await this.#renewing;
      }
      yield chunk;
    }
  }

  async release(): Promise<void> {
    await this.#write({ leaseUntil: 0 });
  }

  /** The study is done, and with the last one the run. Recorded before it is said, so that it may be recorded twice, never not at all. */
  async finish(run: RunRecord): Promise<void> {
    const { StudyInstanceUID, counts } = this.#progress;
    await this.#services.audit.record(this.#job.tenant, {
      at: this.#services.clock.now(),
      event: 'DataDeidentified',
      action: 'C',
      outcome: counts.failed > 0 ? 8 : 0,
      subject: run.by,
      roles: [],
      door: 'system',
      transaction: 'Deidentify',
      // The copy is not named: who is who can be destroyed, and the trail cannot.
      studies: [StudyInstanceUID],
      instances: counts.stored + counts.duplicate,
    });
    if (await this.#write({ state: 'done', leaseUntil: 0, ...(this.stopped && { stopped: true }) }))
      await closeRun(this.#services, this.#job.tenant, run);
  }
}

/** Says that a run is done when all of its studies are. */
async function closeRun({ index, clock }: Services, tenant: Tenant, run: RunRecord): Promise<void> {
  const { partition } = deidentificationKeys.study(tenant, run.id, 0);
  const page = await index.query({ partition, prefix: 'study|', limit: 1_000 });
  if (run.state === 'done' || page.records.some(({ item }) => asRecord<StudyProgress>(item).state !== 'done')) return;
  const key = deidentificationKeys.run(tenant, run.id);
  const done = { ...run, version: run.version + 1, state: 'done' as const, finishedAt: clock.now() };
  await index.write([{ kind: 'put', key, item: asItem(done), if: { version: run.version } }]);
}
