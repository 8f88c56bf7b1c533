import { userInfo } from 'node:os';
import type { AuditEvent } from '#core/audit/event.ts';
import type { Services } from '#core/services.ts';

/** Who works at the machine itself needs no session there: the trail has the name of his account. */
const bySelf = (): string => `${userInfo().username}@command-line`;

type Act = Pick<AuditEvent, 'event' | 'action' | 'transaction'> &
  Partial<Pick<AuditEvent, 'outcome' | 'studies' | 'instances' | 'about' | 'error'>>;

const entryOf = ({ clock }: Services, act: Act): AuditEvent => ({
  at: clock.now(),
  outcome: 0,
  ...act,
  subject: bySelf(),
  roles: [],
  door: 'command',
});

/**
 * A command in the audit trail, durable when it resolves. Before what leaves the archive or cannot be undone; after what is only changed.
 * @throws PacsError BUSY where the trail cannot be written and the policy asks for it
 */
export const recordCommand = (services: Services, tenant: string, act: Act): Promise<void> =>
  services.audit.record(tenant, entryOf(services, act));

/** One of many acts upon a study: the first is an entry, the others are counted until `services.audit.flush(true)`. @throws PacsError BUSY */
export const recordRepeated = (
  services: Services,
  tenant: string,
  StudyInstanceUID: string,
  act: Act,
): Promise<void> => {
  const entry = entryOf(services, { ...act, studies: [StudyInstanceUID], instances: 1 });
  return services.audit.recordOnce(tenant, `${act.transaction} ${act.outcome ?? 0} ${StudyInstanceUID}`, entry);
};
