import type { Principal } from '../access.ts';
import type { Tenant } from '../archive/records.ts';
import type { ShareRecord, ShareScope, UploadRule } from './records.ts';

/** Who has opened a share link, as far as doors have to know. */
export interface Guest {
  /** id of the link */
  readonly link: string;
  readonly receiver: string;
  readonly studies: readonly string[];
  readonly scopes: readonly ShareScope[];
  readonly upload?: UploadRule | undefined;
  /** studies that came in by this link */
  readonly uploaded: readonly string[];
  /** of the session, ms since 1970 */
  readonly endsAt: number;
}

/** The name under which everything done by a link is recorded. */
export const subjectOf = (link: string): string => `link:${link}`;

/** Whoever holds a link: reaches its studies, and nothing else. */
export function guestPrincipal(tenant: Tenant, link: ShareRecord, endsAt: number): Principal & { guest: Guest } {
  const { id, receiver, studies, scopes, upload, uploaded = [] } = link;
  return {
    tenant,
    subject: subjectOf(id),
    roles: upload === undefined ? ['guest'] : ['guest', 'sender'],
    reach: [{ studies }],
    guest: { link: id, receiver, studies, scopes, upload, uploaded, endsAt },
  };
}

/** What stands across every picture that a guest is shown: for whom, when, and by which link. */
export function watermarkText({ receiver, link }: Guest, now: number): string {
  const minute = new Date(now).toISOString().slice(0, 16).replace('T', ' ');
  return `${receiver}  ${minute}  ${link.slice(-6)}`;
}
