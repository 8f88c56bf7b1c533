import middy from '@middy/core';
import type { Context } from 'aws-lambda';
import type { CloudArchive, OpenArchive } from './archive.ts';
import type { FunctionName } from './functions.ts';
import { logger, type Observed, observing } from './observe.ts';

/** time left for a run to write down where it is (ms) */
const GRACE_MS = 60_000;

/** A function that the clock starts: its work for each tenant, one after the other. `isOver` says when to come to an end. */
export function scheduledFunction(
  name: FunctionName,
  open: OpenArchive,
  work: (archive: CloudArchive, tenant: string, isOver: () => boolean) => Promise<object>,
) {
  const archive = open();
  const run = async (_event: unknown, context: Context): Promise<Observed> => {
    const isOver = (): boolean => context.getRemainingTimeInMillis() < GRACE_MS;
    const reports: Record<string, object> = {};
    for (const tenant of archive.config.tenants) {
      reports[tenant] = await work(archive, tenant, isOver);
      logger.info(name, { tenant, ...reports[tenant] });
    }
    return { result: reports, outcomes: [{ name, status: 'done' }] };
  };
  return middy()
    .use(observing(name))
    .handler(run as never);
}
