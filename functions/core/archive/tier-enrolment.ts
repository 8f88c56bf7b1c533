import { asItem, asRecord } from '../ports/index-table.ts';
import { partitions } from '../search/postings.ts';
import { studyOfSort } from '../search/study-list.ts';
import { keys, type StudyRecord, type Tenant } from './records.ts';
import { settle, type TierServices } from './tier-policy.ts';
import { DAY_MS, dayOf, tierKeys } from './tier-records.ts';

/** How far the walk through the list of studies came; `doneAt` (ms): to its end. */
interface EnrolmentRecord {
  readonly after: string;
  readonly doneAt?: number | undefined;
}

const PAGE = 100;
/** The list is walked through again after this time: what escaped once (a lost job) does not for ever. */
const AGAIN_MS = 30 * DAY_MS;

/**
 * Lets studies wait for the first step that were stored before there was a policy: those of the list that have no tier record. Walks
 * through the list once, as far as the time goes, on from where the last run stopped. Without a policy it forgets that it did, so that one
 * which is laid down again finds what came in between. Safe to be repeated, and run twice at once.
 * @returns studies that wait from now on
 */
export async function enrolStudies(services: TierServices, tenant: Tenant, isOver: () => boolean): Promise<number> {
  const { index, clock, policy } = services;
  const place = tierKeys.enrolment(tenant);
  const item = await index.get(place);
  const known = asRecord<EnrolmentRecord>(item);
  if (policy.tiers.length === 0) {
    if (known !== undefined) await index.write([{ kind: 'delete', key: place }]);
    return 0;
  }
  if (known?.doneAt !== undefined && clock.now() - known.doneAt < AGAIN_MS) return 0;
  let enrolled = 0;
  let after = known?.doneAt === undefined ? (known?.after ?? '') : '';
  for (let more = true; more && !isOver(); ) {
    const partition = partitions.list(tenant);
    const page = await index.query({ partition, limit: PAGE, keysOnly: true, ...(after !== '' && { after }) });
    enrolled += await enrol(
      services,
      tenant,
      page.records.map(({ sort }) => studyOfSort(sort)),
    );
    after = page.records.at(-1)?.sort ?? after;
    more = page.more;
    const record: EnrolmentRecord = { after, ...(!more && { doneAt: clock.now() }) };
    await index.write([{ kind: 'put', key: place, item: asItem(record) }]);
  }
  return enrolled;
}

async function enrol(services: TierServices, tenant: Tenant, studies: readonly string[]): Promise<number> {
  if (studies.length === 0) return 0;
  const { index } = services;
  const known = await index.getMany(studies.map((study) => tierKeys.tier(tenant, study)));
  const unknown = studies.filter((_, i) => known[i] === undefined);
  if (unknown.length === 0) return 0;
  const records = await index.getMany(unknown.map((study) => keys.study(tenant, study)));
  let enrolled = 0;
  for (const [i, study] of unknown.entries()) {
    const record = records[i] && asRecord<StudyRecord>(records[i]);
    if (record === undefined) continue;
    // Nobody noted when it was read: what is known is when something came.
    const day = dayOf(record.lastStoredAt);
    if (await settle(services, tenant, study, undefined, { tier: '', day })) enrolled++;
  }
  return enrolled;
}
