import { COMMAND } from '#dimse/command-set.ts';
import type { Service, ServiceTable } from '#dimse/session.ts';
import { statusClass } from '#dimse/status.ts';
import type { Activity } from './activity.ts';

/** The same services, and who has called them is noted. */
export const watched = (services: ServiceTable, activity: Activity): ServiceTable =>
  new Map([...services].map(([command, service]) => [command, watching(command, service, activity)]));

const watching =
  (command: number, service: Service, activity: Activity): Service =>
  (operation) => {
    const { session, dataSet } = operation;
    const caller = session.callingAETitle;
    activity.seen(caller);
    let failed = false;
    const done = service({
      ...operation,
      respond: (fields, identifier) => {
        const kind = statusClass(fields.Status);
        if (kind === 'failure') {
          failed = true;
          activity.refused(caller);
        } else if (command === COMMAND.cStore && kind !== 'pending') activity.stored(caller, dataSet?.received ?? 0);
        return operation.respond(fields, identifier);
      },
    });
    // What a service throws becomes its response elsewhere.
    return done.catch((error: unknown) => {
      if (!failed) activity.refused(caller);
      throw error;
    });
  };
