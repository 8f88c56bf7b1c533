import { PacsError } from '#core/errors.ts';
import { isUID } from '#core/ids.ts';
import type { EdgeContext } from '../context.ts';
import { switchesOf } from '../forward/switches.ts';
import { takeUpAgain } from '../queues/owed.ts';
import { releaseSteps } from '../queues/procedure-steps.ts';
import { readSideOf } from '../read/read-side.ts';
import { discardConflict, takeConflict } from './conflicts.ts';

/** What a person can do from the status page. */
const ACTIONS = [
  ...(['retry', 'pause', 'resume', 'sendNow', 'drop', 'letGo'] as const),
  ...(['retrySteps', 'takeUp', 'inventory', 'takeConflict', 'discardConflict'] as const),
] as const;
export type Action = (typeof ACTIONS)[number];

/** Those that are not about one destination. */
const OF_NONE: ReadonlySet<Action> = new Set([
  ...(['retrySteps', 'takeUp', 'inventory', 'takeConflict', 'discardConflict'] as const),
]);

const OF_CONFLICTS: ReadonlySet<Action> = new Set(['takeConflict', 'discardConflict']);

export interface ActionRequest {
  readonly action: Action;
  /** none: those that are not about one; of drop: one that is no longer configured */
  readonly destination: string;
  /** retry, letGo: one held instance; all of the destination without it */
  readonly SOPInstanceUID?: string | undefined;
  /** takeConflict, discardConflict: which */
  readonly conflict?: string | undefined;
}

/** @throws PacsError BAD_REQUEST, NOT_FOUND */
export async function readAction(context: EdgeContext, form: URLSearchParams): Promise<ActionRequest> {
  const action = ACTIONS.find((one) => one === form.get('action'));
  if (action === undefined) throw new PacsError('BAD_REQUEST', `action must be one of ${ACTIONS.join(', ')}`);
  const destination = form.get('destination') ?? '';
  if (!OF_NONE.has(action) && !(await isKnown(context, action, destination)))
    throw new PacsError('NOT_FOUND', 'there is no such destination');
  const SOPInstanceUID = form.get('SOPInstanceUID') ?? undefined;
  if (SOPInstanceUID !== undefined && !isUID(SOPInstanceUID))
    throw new PacsError('BAD_REQUEST', 'SOPInstanceUID is no UID');
  const conflict = form.get('conflict') ?? undefined;
  if (OF_CONFLICTS.has(action) && !/^[0-9A-HJKMNP-TV-Z]{26}$/.test(conflict ?? ''))
    throw new PacsError('BAD_REQUEST', 'conflict is no conflict’s id');
  return { action, destination, SOPInstanceUID, conflict };
}

const isKnown = async ({ forwarder, upstream }: EdgeContext, action: Action, destination: string): Promise<boolean> =>
  upstream(destination) !== undefined ||
  (action === 'drop' && (await forwarder.left()).some(({ name }) => name === destination));

/** @returns what has been done, in words @throws PacsError CONFLICT: what waits for a configured destination is not dropped */
export async function perform(context: EdgeContext, request: ActionRequest): Promise<string> {
  const { action, destination, SOPInstanceUID, conflict = '' } = request;
  const { forwarder, log } = context;
  log.info('asked-by-a-person', {
    action,
    destination,
    ...(SOPInstanceUID !== undefined && { SOPInstanceUID }),
    ...(conflict !== '' && { conflict }),
  });
  switch (action) {
    case 'retry': {
      const count = await forwarder.release(destination, SOPInstanceUID);
      return count === 1 ? '1 held instance is sent again.' : `${count} held instances are sent again.`;
    }
    case 'drop': {
      const count = await forwarder.drop(destination);
      return `${count} ${count === 1 ? 'instance is' : 'instances are'} no longer meant for ${destination}.`;
    }
    case 'letGo': {
      const count = await forwarder.letGo(destination, SOPInstanceUID);
      return `${count} ${count === 1 ? 'instance need' : 'instances need'} not be in ${destination} any more.`;
    }
    case 'inventory':
      readSideOf(context).isInventoryWanted = true;
      return 'Every archive is asked for what is here and it has confirmed.';
    case 'takeConflict':
      await takeConflict(context, conflict);
      return 'They take the place of those that were here, and are sent on.';
    case 'discardConflict':
      await discardConflict(context, conflict);
      return 'They are in the trash of this gateway, and are removed in its time.';
    case 'retrySteps':
      return `${await releaseSteps(context)} messages about procedure steps are sent again.`;
    case 'takeUp': {
      const count = await takeUpAgain(context);
      return `${count} ${count === 1 ? 'piece of work is' : 'pieces of work are'} taken up again.`;
    }
    case 'pause':
      await switchesOf(context).pause(destination);
      return `Nothing more is sent to ${destination} until it is resumed.`;
    case 'resume':
      await switchesOf(context).resume(destination);
      forwarder.retryNow(destination);
      return `${destination} is sent to again.`;
    case 'sendNow':
      await switchesOf(context).sendNow(destination);
      forwarder.retryNow(destination);
      return `For an hour ${destination} is sent to at full speed.`;
  }
}
