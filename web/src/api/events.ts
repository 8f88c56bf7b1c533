import { useEffect, useRef } from 'preact/hooks';
import { checkSession, may } from './session.ts';

export type ArchiveEventType =
  | 'InstanceStored'
  | 'StudyQuiet'
  | 'Conflict'
  | 'Rejected'
  | 'Deleted'
  | 'Restored'
  | 'ProcedureStepStarted'
  | 'ProcedureStepCompleted'
  | 'ProcedureStepDiscontinued'
  | 'StudyComplete'
  | 'EmergencyAccess'
  | 'ShareCreated'
  | 'ShareOpened'
  | 'ShareRevoked'
  | 'ShareExpired';

/** Gathering time: a study of 1,000 instances is one change of the list, not 1,000. */
const GATHER_MS = 1_500;

/**
 * Calls `onChange` soon after something of `types` happened in the archive, at most once every 1.5 s, and once after it has
 * begun to listen: what happened between the first look and then is told by nobody else. Listens only while the tab is seen:
 * a browser has six connections to a server, and every open stream holds one.
 */
export function useArchiveEvents(types: readonly ArchiveEventType[], onChange: () => void): void {
  const callback = useRef(onChange);
  callback.current = onChange;
  const key = types.join();
  useEffect(() => {
    let source: EventSource | undefined;
    let gathering: ReturnType<typeof setTimeout> | undefined;
    const happened = () => {
      gathering ??= setTimeout(() => {
        gathering = undefined;
        callback.current();
      }, GATHER_MS);
    };
    const listen = () => {
      if (document.hidden) {
        source?.close();
        source = undefined;
        return;
      }
      if (source || !may('readEvents')) return;
      source = new EventSource('/api/events');
      // A stream that is refused closes for good, and does not say with what status.
      source.addEventListener('error', () => source?.readyState === EventSource.CLOSED && checkSession());
      // A stream that was cut goes on behind the last event that it brought; a new one begins now.
      source.addEventListener('open', happened, { once: true });
      for (const type of key.split(',')) source.addEventListener(type, happened);
    };
    listen();
    document.addEventListener('visibilitychange', listen);
    return () => {
      document.removeEventListener('visibilitychange', listen);
      source?.close();
      clearTimeout(gathering);
    };
  }, [key]);
}
