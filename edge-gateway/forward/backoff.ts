export { backoffMs, retryAfterMs } from '#core/backoff.ts';
