/**
 * What functions write to the index, as far as DynamoDB can be told: operations, and the partitions they are made in. Every function may
 * read all of it. Pure constants: infra makes statements of IAM of them; test/fixtures/granted-index.ts lets the functions have no more in tests.
 */
export interface IndexGrant {
  /** of its statement, behind `Index` */
  readonly name: string;
  readonly writes: readonly IndexWrite[];
  /**
   * As IAM's StringLike has them: `*` is any text, `?` any one character (in the place of U+0000, which no policy can hold). None: everywhere.
   * What is written in one transaction stands in one grant: then it does not matter whether IAM looks at an operation's key or at all of them.
   */
  readonly partitions?: readonly string[];
}

/** As the port has them; `file`: records that were appended are given their place in the log, by whoever reads it. */
export type IndexWrite = 'put' | 'add' | 'delete' | 'check' | 'file';

/** Everything that is done to studies, everywhere: which records that takes depends on what it meets. */
export const ARCHIVE: IndexGrant = { name: 'Archive', writes: ['put', 'add', 'delete', 'check'] };

/** The entry in the audit trail, of every act: it is added, and neither read nor removed. */
export const TRAIL: IndexGrant = { name: 'Trail', writes: ['put'], partitions: ['*|audit?in?*'] };

/** The accounts of the rates of principals and addresses, in whatever answers requests. */
export const RATES: IndexGrant = { name: 'Rates', writes: ['add'], partitions: ['*|rates?*'] };

/** Sessions of people, whose tokens are renewed, or which have ended, by whoever they come to. */
export const SESSIONS: IndexGrant = {
  name: 'Sessions',
  writes: ['put', 'delete'],
  partitions: ['_system|login|*', '_system|expiring'],
};

/** What guests do, in the trail of their link. */
export const GUEST_ACTS: IndexGrant = { name: 'GuestActs', writes: ['put'], partitions: ['*|sharetrail|*'] };

/** The day on which a study was last read, where a policy asks for it. */
export const ACCESS_NOTES: IndexGrant = { name: 'AccessNotes', writes: ['put'], partitions: ['*|access|*'] };

/** Who reads what lies on slow media has it fetched, and says in the records of series and study, and in its line of the list, that it is on its way. */
export const AVAILABILITY: IndexGrant = {
  name: 'Availability',
  writes: ['put'],
  partitions: ['*|study|*', '*|x|list'],
};

/** Whoever reads a log gives what was appended its place (docs/decisions/0081). */
export const FEED_PAGES: IndexGrant = pagesOf('Feed', 'feed');
export const TRAIL_PAGES: IndexGrant = pagesOf('Trail', 'audit');
export const ALL_PAGES: IndexGrant = pagesOf('Log', '*');

function pagesOf(name: string, log: string): IndexGrant {
  return { name: `${name}Pages`, writes: ['put', 'file'], partitions: [`*|${log}?in?*`, `*|${log}?pages`] };
}

/** How far the trail is sealed, and handed over. */
export const SEALS: IndexGrant = {
  name: 'Seals',
  writes: ['put'],
  partitions: ['*|auditseal', '*|auditseals', '*|auditexport'],
};

/** How far the last comparison came. */
export const RECONCILIATION: IndexGrant = { name: 'Reconciliation', writes: ['put'], partitions: ['*|reconcile'] };

/** What has been idle since when; what moves is counted in the study's record. */
export const TIERING: readonly IndexGrant[] = [
  { name: 'Tiers', writes: ['put', 'delete'], partitions: ['*|tiering', '*|tier|*', '*|idle|*'] },
  { name: 'Counts', writes: ['put', 'add'], partitions: ['*|study|*', '*|usage'] },
];

/** What is to be sent where, and how far it came. */
export const DELIVERIES: IndexGrant = {
  name: 'Deliveries',
  writes: ['put', 'delete'],
  partitions: ['*|routing', '*|routing-cursor', '*|routing-state', '*|deliveries*', '*|delivered|*'],
};
