import { getVerification } from '../api/verification.ts';
import { useLoaded } from './use-loaded.ts';

/** For administrators, on every page: how many images the disk has spoiled. */
export function DamagedBadge() {
  const { value } = useLoaded('damaged', getVerification);
  const damaged = value?.damaged ?? 0;
  if (damaged === 0) return null;
  return (
    <span class="badge alarm" role="status" aria-label={`${damaged} damaged`}>
      {damaged}
    </span>
  );
}
