import { recounted } from '../costs/count-study.ts';
import { monthOf } from '../costs/usage-records.ts';
import { asItem, asRecord, recordsIn } from '../ports/index-table.ts';
import { settleProcedureSteps } from '../procedure/arrival.ts';
import { prepareSeriesMetadata } from '../retrieve/prepare.ts';
import { routesAtOnce } from '../routing/intake.ts';
import { askForIntake } from '../routing/work.ts';
import type { Services } from '../services.ts';
import { eventWrite } from './feed.ts';
import { STUDY_QUIET } from './fold.ts';
import { beginPlacement, isToBePlaced } from './place.ts';
import { keys, type SeriesRecord, type StudyRecord, type Tenant } from './records.ts';
import { awaitTiering } from './tier-policy.ts';

/** series with fewer instances are put together from the index as fast as from a prepared document */
const PREPARE_FROM_INSTANCES = 20;

/**
 * A study-quiet job: when nothing new came for `limits.studyQuietMs`, prepares the metadata documents and says so in the feed,
 * once a burst (with references on `root`, the DICOMweb root that most clients use, when it is known); otherwise comes back when the time is over.
 */
export async function settleStudy(
  services: Services,
  tenant: Tenant,
  study: string,
  root?: string,
): Promise<'quiet' | 'later' | 'gone'> {
  const key = keys.study(tenant, study);
  const item = await services.index.get(key);
  if (!item) return 'gone';
  const record = asRecord<StudyRecord>(item);
  if (record.quietJobAt === undefined) {
    // Whoever said so may have been cut off before he asked.
    await askForIntake(services, tenant);
    return 'quiet';
  }
  const waitMs = record.lastStoredAt + services.limits.studyQuietMs - services.clock.now();
  if (waitMs > 0) {
    await services.jobs.enqueue(STUDY_QUIET, { tenant, study }, { delayMs: await pauseMs(services, tenant, waitMs) });
    return 'later';
  }
  const range = { partition: key.partition, prefix: 'series|', limit: 10_000 };
  const all = await Array.fromAsync(recordsIn(services.index, range), (one) => asRecord<SeriesRecord>(one.item));
  for (const series of all) {
    if (series.instanceCount >= PREPARE_FROM_INSTANCES && series.prepared?.revision !== series.revision) {
      await inTurn(() => prepareSeriesMetadata(services, tenant, study, series.SeriesInstanceUID, root));
    }
  }
  await settleProcedureSteps(services, tenant, study);
  // Before the record says that the study is settled: a crash in between leaves a placement too many, never one too few.
  if (isToBePlaced(services, record)) await beginPlacement(services, tenant, study);
  await awaitTiering(services, tenant, study);
  const { quietJobAt: _, ...settled } = record;
  const { counted, operations } = recounted(tenant, record, all, monthOf(services.clock.now()));
  const after = asItem({ ...settled, counted, version: record.version + 1 });
  const outcome = await services.index.write([
    { kind: 'put', key, item: after, if: { version: record.version } },
    ...operations,
    eventWrite(tenant, {
      type: 'StudyQuiet',
      at: services.clock.now(),
      StudyInstanceUID: study,
      instances: record.instanceCount,
    }),
  ]);
  if (outcome.committed) {
    await askForIntake(services, tenant);
    return 'quiet';
  }
  // A new instance came in between: quiet again later.
  await services.jobs.enqueue(STUDY_QUIET, { tenant, study }, { delayMs: services.limits.studyQuietMs });
  return 'later';
}

/** Documents are made one after the other, however many studies are settled at once: the text of a whole series is held for each. */
let making: Promise<unknown> = Promise.resolve();
function inTurn<T>(make: () => Promise<T>): Promise<T> {
  const made = making.then(make);
  making = made.catch(() => {});
  return made;
}

/** How long to wait for what is left of the silence; where rules send instances on at once, they have them looked at meanwhile. */
async function pauseMs(services: Services, tenant: Tenant, waitMs: number): Promise<number> {
  if (services.policy.routing.hosts.length === 0 || !(await routesAtOnce(services, tenant))) return waitMs;
  await askForIntake(services, tenant);
  return Math.min(waitMs, services.limits.routingStoredMs);
}
