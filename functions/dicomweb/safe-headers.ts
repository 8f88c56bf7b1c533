import type { HttpResponse } from './http.ts';

/** Answers that are no page of ours run nothing, load nothing and stand in nobody else's page; their type is believed as it is said. */
export const SAFE_HEADERS = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'self'; sandbox",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
} as const;

/**
 * Objects come from strangers, and a document in one may be HTML: opened as a page of our origin, its scripts would act with the session of
 * whoever opened it. Browsers' own readers of PDF and video do not start in a sandbox; they run nothing of ours.
 */
export function safeHeaders({ headers }: Pick<HttpResponse, 'headers'>): Readonly<Record<string, string>> {
  const isPlayed = /^(application\/pdf|video\/)/i.test(headers['content-type'] ?? '');
  return isPlayed ? { ...SAFE_HEADERS, 'content-security-policy': "frame-ancestors 'self'" } : SAFE_HEADERS;
}
