import type { Policy } from '#core/services.ts';

/**
 * Cache-Control of what belongs to one instance: its object, frames, bulk data. Their URLs carry no version, so the bytes behind one
 * can change: always under the policies `version` and `replace`; under `keepFirst` only when an instance is deleted and its
 * UID is sent again. A day bounds how long a workstation may show the earlier image in that case, and spares a reader who opens
 * a stack again in the same day a request a frame (docs/decisions/0012-retrieve-caching.md).
 */
export const cacheControlOf = (policy: Policy): string =>
  policy.conflict === 'keepFirst' ? 'private, max-age=86400, immutable' : 'private, no-cache';
