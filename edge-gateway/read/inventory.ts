import { setTimeout as sleep } from 'node:timers/promises';
import { selectedInstances } from '#core/archive/remove.ts';
import { allStudies } from '#core/archive/verify.ts';
import { describeError } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import type { BackgroundWorker } from '../context.ts';
import type { ForwardKnowledge } from './knowledge.ts';
import { readSideOf } from './read-side.ts';

/** What the archives were found to have of what is here, when all of it was asked for. */
export interface Inventory {
  readonly startedAt: number;
  /** undefined: it goes on */
  readonly endedAt?: number;
  readonly there: number;
  /** somebody has deleted them there; their copies may be evicted */
  readonly deleted: number;
  /** held since */
  readonly lost: number;
  readonly unanswered: number;
}

/** Asks the archives for all that is here and that they have confirmed, as after one was restored from a backup. Tells how far it is. */
async function takeInventory(
  services: Services,
  tenant: string,
  knowledge: Pick<ForwardKnowledge, 'askAgain'>,
  tell: (inventory: Inventory) => void,
  signal: AbortSignal,
): Promise<void> {
  const counts = { there: 0, deleted: 0, lost: 0, unanswered: 0 };
  const startedAt = services.clock.now();
  tell({ startedAt, ...counts });
  for await (const StudyInstanceUID of allStudies(services, tenant)) {
    if (signal.aborted) return;
    const here = await Array.fromAsync(selectedInstances(services, tenant, [{ StudyInstanceUID }]));
    for (const { answer } of (await knowledge.askAgain(here, signal)).values()) counts[answer]++;
    tell({ startedAt, ...counts });
  }
  tell({ startedAt, endedAt: services.clock.now(), ...counts });
}

const LOOK_MS = 500;

/** Takes an inventory whenever a person wants one. */
export const inventoryWorker: BackgroundWorker = {
  name: 'inventory',
  async run(context, signal) {
    const side = readSideOf(context);
    while (!signal.aborted) {
      if (side.isInventoryWanted) {
        side.isInventoryWanted = false;
        try {
          const tell = (inventory: Inventory): void => {
            side.inventory = inventory;
          };
          await takeInventory(context.services, context.tenant, side.knowledge, tell, signal);
          context.log.info('inventory', { ...side.inventory });
        } catch (error) {
          context.log.error('inventory-failed', describeError(error));
        }
      }
      await sleep(LOOK_MS, undefined, { signal }).catch(() => {});
    }
  },
};
