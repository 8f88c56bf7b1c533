import { STUDY_QUIET } from './archive/fold.ts';
import { placeStudy } from './archive/place.ts';
import { settleStudy } from './archive/quiet.ts';
import { FINISH_REMOVAL } from './archive/remove.ts';
import { finishInterrupted } from './archive/restore-from-trash.ts';
import { RESTORE, restoreSeries } from './archive/tiering.ts';
import { STORE_UPLOADED, storeUploaded, type UploadedObjects } from './archive/uploaded.ts';
import { type CopyJob, copyStudy } from './deidentify/copy-study.ts';
import { DEIDENTIFY } from './deidentify/runs.ts';
import { PLACEMENT } from './ports/frame-placement.ts';
import { asRecord, type Item } from './ports/index-table.ts';
import { endProcedureStep } from './procedure/availability.ts';
import { PROCEDURE_STEP_ENDED } from './procedure/procedure-step.ts';
import { ROUTE } from './routing/enqueue.ts';
import { workRoute } from './routing/work.ts';
import type { Services } from './services.ts';

/** What a queue's jobs do, by the queue's name. Each may run twice. `root`: the DICOMweb root that most clients use. */
export type JobHandlers = Readonly<
  Record<string, (services: Services, payload: Item, root: string) => Promise<unknown>>
>;

/** The archive's own work in the background, the same on every host. */
export const ARCHIVE_JOBS = {
  [STUDY_QUIET]: (services, payload, root) =>
    settleStudy(services, payload.tenant as string, payload.study as string, root),
  [RESTORE]: (services, payload) => restoreSeries(services, asRecord<Parameters<typeof restoreSeries>[1]>(payload)),
  [PLACEMENT]: (services, payload) => placeStudy(services, asRecord<Parameters<typeof placeStudy>[1]>(payload)),
  [FINISH_REMOVAL]: (services, payload) => finishInterrupted(services, payload.tenant as string, payload.id as string),
  [STORE_UPLOADED]: (services, payload) => storeUploaded(services, asRecord<UploadedObjects>(payload)),
  [DEIDENTIFY]: (services, payload) => copyStudy(services, asRecord<CopyJob>(payload)),
  [ROUTE]: (services, payload) => workRoute(services, payload),
  // Hosts with DIMSE replace it by one that also notifies other systems.
  [PROCEDURE_STEP_ENDED]: (services, payload) =>
    endProcedureStep(services, payload.tenant as string, payload.sop as string),
} satisfies JobHandlers;
