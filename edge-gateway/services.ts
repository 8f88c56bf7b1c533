import { STORAGE_COMMITMENT } from '#core/archive/commitment.ts';
import { ARCHIVE_POLICY, archiveServices } from '#dimse/archive.ts';
import type { AcceptorPolicy } from '#dimse/negotiation.ts';
import type { ServiceTable } from '#dimse/session.ts';
import type { JobHandlers } from '#embedded/jobs.ts';
import type { EdgeContext } from './context.ts';
import { urgentStores } from './forward/urgent.ts';
import { availabilityAtTheEdge } from './queues/availability.ts';
import { answerOrWait, edgeEvidence, FIRST_LOOK_MS } from './queues/commitment.ts';
import { noteStep } from './queues/procedure-steps.ts';
import { worklistReady } from './queues/worklist.ts';
import { edgeSearch } from './read/find.ts';
import { edgeSelect } from './read/select.ts';
import { statusSideOf } from './status/status-side.ts';
import { watched } from './status/watch.ts';

/** What the gateway answers over DIMSE: which SOP classes, and by which services. */
export const EDGE_POLICY: AcceptorPolicy = ARCHIVE_POLICY;

/** By command field; made once, before the gateway listens. */
export const edgeServices = (context: EdgeContext): ServiceTable =>
  watched(
    urgentStores(
      context,
      archiveServices(context.access, {
        search: edgeSearch(context),
        select: edgeSelect(context),
        worklistReady: worklistReady(context),
        noteStep: noteStep(context),
        commitment: { evidence: edgeEvidence(context), answerMs: FIRST_LOOK_MS },
      }),
    ),
    statusSideOf(context).activity,
  );

/** Jobs of the local archive's queues that belong to these services. */
export const edgeJobs = (context: EdgeContext): JobHandlers => ({
  ...availabilityAtTheEdge(context),
  [STORAGE_COMMITMENT]: (_, payload) =>
    answerOrWait(context, edgeEvidence(context), payload.tenant as string, payload.id as string),
});
