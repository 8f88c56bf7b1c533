import { useStore } from '../store.ts';
import { upload } from '../upload/queue.ts';

/** How many files are still on their way, beside the link to the upload page. */
export function UploadBadge() {
  const open = useStore(upload).filter(({ state }) => state === 'waiting' || state === 'sending').length;
  return open > 0 ? <span class="badge">{open}</span> : null;
}
