import type { Action, Principal } from '../access.ts';
import type { Tenant } from '../archive/records.ts';
import type { Services } from '../services.ts';
import { ConfinedIndex } from './confined-index.ts';
import { type KeptReach, StudyReach } from './reach.ts';

/** These neither show nor change a study: what an auditor or an operator sees is not narrowed down by patients. */
const OF_NO_STUDY: ReadonlySet<Action> = new Set<Action>([
  'monitor',
  'readCosts',
  'reportAsGateway',
  'readAudit',
  'breakGlass',
]);
/** These write what they need not see: the index is whole, and the use case asks `reach` about what it writes. */
const WRITING: ReadonlySet<Action> = new Set<Action>(['store', 'performProcedure']);

/**
 * The services as a principal may use them for an action that he is permitted: in all that is read through them, studies out of his reach
 * do not exist. Every door asks for this once a request, after `authorize`; the very same services for who reaches everything.
 */
export async function confine(services: Services, principal: Principal, action: Action): Promise<Services> {
  if (OF_NO_STUDY.has(action)) return services;
  const reach = await StudyReach.open(services, principal, action);
  if (reach === undefined) return services;
  return WRITING.has(action) ? { ...services, reach } : confineTo(services, reach);
}

/** The services as far as a reach goes. */
export const confineTo = (services: Services, reach: StudyReach | undefined): Services => {
  if (reach === undefined) return services;
  const whole = wholeOf(services);
  return { ...whole, reach, whole, index: new ConfinedIndex(whole.index, reach) };
};

/** The services for work that is done later in the name of who was confined when he asked for it: as far as he reached then. */
export function confineKept(services: Services, tenant: Tenant, kept: KeptReach | undefined, action: Action): Services {
  const reach = kept && StudyReach.kept(services, tenant, kept, action);
  if (reach === undefined) return services;
  return WRITING.has(action) ? { ...wholeOf(services), reach } : confineTo(services, reach);
}

/** The services without confinement, for a use case that has seen what it works on and now has to work on it whole. */
export const wholeOf = (services: Services): Services => services.whole ?? services;
