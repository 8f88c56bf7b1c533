import { listEmergencies } from '../api/access.ts';
import { useArchiveEvents } from '../api/events.ts';
import { useLoaded } from './use-loaded.ts';

const EVENTS = ['EmergencyAccess'] as const;

/** For administrators, on every page: how many have emergency access now. */
export function AlarmBadge() {
  const { value, reload } = useLoaded('alarms', listEmergencies);
  useArchiveEvents(EVENTS, reload);
  const active = value?.filter((one) => one.active).length ?? 0;
  if (active === 0) return null;
  return (
    <span class="badge alarm" role="status" aria-label={`${active} with emergency access`}>
      {active}
    </span>
  );
}
