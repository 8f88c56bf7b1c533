import { useEffect, useLayoutEffect, useState } from 'preact/hooks';
import { emergencies, endEmergency, loadOwnEmergencies } from '../api/access.ts';
import { useStore } from '../store.ts';
import { messageOf } from './use-loaded.ts';

const TICK_MS = 1_000;

/** While emergency access lasts: to what, how long still, and a way to end it. It stands above every page. */
export function EmergencyBanner() {
  const { items, aheadMs } = useStore(emergencies);
  const [now, setNow] = useState(Date.now);
  const [error, setError] = useState('');
  const isRunning = items.length > 0;
  // Before it is drawn: the page may have been open for long.
  useLayoutEffect(() => {
    if (!isRunning) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), TICK_MS);
    return () => clearInterval(timer);
  }, [isRunning]);
  const left = items.map((one) => ({ ...one, leftMs: one.until - now - aheadMs })).filter(({ leftMs }) => leftMs > 0);
  // What is over is the archive's to say: it may have ended before, too.
  useEffect(() => {
    if (isRunning && left.length < items.length) void loadOwnEmergencies().catch(() => {});
  }, [left.length, items.length]);
  if (left.length === 0) return null;
  const end = async (id: string) => {
    setError('');
    await endEmergency(id).catch((failure: unknown) => setError(messageOf(failure)));
  };
  return (
    <section class="emergency-banner" aria-label="Emergency access">
      {left.map(({ id, ofPatient, reason, leftMs }) => (
        <p key={id}>
          <strong>Emergency access</strong> to {ofPatient ? 'a patient’s studies' : 'a study'} ({reason}):{' '}
          <span class="left" role="timer">
            {minutesAndSeconds(leftMs)}
          </span>{' '}
          left. What you do is recorded.{' '}
          <button type="button" onClick={() => void end(id)}>
            End it
          </button>
        </p>
      ))}
      {error && <p role="alert">{error}</p>}
    </section>
  );
}

const minutesAndSeconds = (ms: number): string => {
  const seconds = Math.ceil(ms / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
};
