/**
 * Which records of the index can be made anew from the objects, and which stand nowhere else. A kind is the word behind the tenant in the
 * name of a partition (`main|study|1.2.3`: study); those of the whole archive stand behind `_system`, the queues behind `queue`.
 * A test finds every kind in the sources and asks for a decision about it.
 */

/** Made anew by a rebuild: dropped by it. */
export const MADE_ANEW: ReadonlySet<string> = new Set([
  'study',
  'seriesof',
  'instances',
  'metadata',
  'sop',
  'folding',
  'unfolded',
  'pending',
  'held',
  'heldof',
  'trash',
  'trashing',
  'trashed',
  'superseded',
  'evicting',
  'usage',
  'x',
]);

/**
 * True of one moment: what was under way, and what refers to it. A rebuild goes on from it; a backup leaves it out, since all of it would be done, or
 * handed over, a second time. The sealed segments of the audit trail stand beside the objects.
 */
export const OF_THE_MOMENT: ReadonlySet<string> = new Set([
  'queue',
  'feed',
  'audit',
  'auditseal',
  'auditseals',
  'auditexport',
  'commitment',
  // how far the check of all objects has come, and what it found
  'fixity',
  // when the last sweep was here
  'purge',
  'transactions',
  'transaction',
  'evicted',
  'reconcile',
  'routing-cursor',
  // sessions, what opens a door once, failures that are counted for a while, and when each of them ends
  'attempts',
  'enrolmentattempts',
  'link',
  'enrolment',
  'enrolments',
  'oidc',
  'oidcgrant',
  'expiring',
  'loginstep',
  'loginstate',
  'login',
  'launch',
  'assertions',
  // what has been used of rates
  'rates',
]);

export function kindOf(partition: string): string {
  const [first = '', second = ''] = partition.split('|', 2);
  return first === 'queue' ? first : second;
}

/** The audit trail, and how far it has been sealed and handed over. */
export const isOfAudit = (partition: string): boolean => kindOf(partition).startsWith('audit');

export const keptByRebuild = (partition: string): boolean => !MADE_ANEW.has(kindOf(partition));

/** What people have decided and nothing else remembers: accounts, tokens, clients, grants, links, gateways, worklist, procedure steps, … */
export const keptByBackup = (partition: string): boolean =>
  keptByRebuild(partition) && !OF_THE_MOMENT.has(kindOf(partition));
