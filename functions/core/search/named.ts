import { keys, type SopClaim, type Tenant } from '../archive/records.ts';
import { asRecord, type IndexTable } from '../ports/index-table.ts';
import type { ReadBudget } from './cursors.ts';
import type { Condition } from './match.ts';
import type { Query } from './query.ts';

/** What a query names by its UIDs; all that are named must be met. */
export interface Named {
  readonly studies: readonly string[] | undefined;
  readonly series: readonly string[] | undefined;
  readonly instances: readonly string[] | undefined;
}

const STUDY_INSTANCE_UID = '0020000D';
const SERIES_INSTANCE_UID = '0020000E';
const SOP_INSTANCE_UID = '00080018';
const GET_MANY = 100;
const STUDIES_OF_SERIES = 1_000;

/** undefined when it names nothing. */
export function namedBy({ level, StudyInstanceUID, SeriesInstanceUID, conditions }: Query): Named | undefined {
  const studies = StudyInstanceUID === undefined ? uidsIn(conditions.study, STUDY_INSTANCE_UID) : [StudyInstanceUID];
  // Below the study level these conditions are met by series and instances; a named study is all that is needed here.
  if (studies !== undefined && level !== 'study') return { studies, series: undefined, instances: undefined };
  const series = SeriesInstanceUID === undefined ? uidsIn(conditions.series, SERIES_INSTANCE_UID) : [SeriesInstanceUID];
  const instances = uidsIn(conditions.instance, SOP_INSTANCE_UID);
  return studies === undefined && series === undefined && instances === undefined
    ? undefined
    : { studies, series, instances };
}

/** The studies that are named, directly or by the UIDs of what they hold. */
export async function studiesNamed(
  index: IndexTable,
  tenant: Tenant,
  { studies, series, instances }: Named,
  budget: ReadBudget,
): Promise<readonly string[]> {
  const named = [
    studies,
    instances && (await studiesOfInstances(index, tenant, instances, budget)),
    series && (await studiesOfSeries(index, tenant, series, budget)),
  ].filter((uids) => uids !== undefined);
  return named.reduce((common, uids) => common.filter((uid) => uids.includes(uid)));
}

async function studiesOfInstances(
  index: IndexTable,
  tenant: Tenant,
  uids: readonly string[],
  budget: ReadBudget,
): Promise<string[]> {
  const studies = new Set<string>();
  for (const batch of batchesOf(uids, budget)) {
    const items = await index.getMany(
      batch.map((uid) => keys.sop(tenant, uid)),
      budget.meter,
    );
    for (const item of items) if (item !== undefined) studies.add(asRecord<SopClaim>(item).StudyInstanceUID);
  }
  return [...studies];
}

async function studiesOfSeries(
  index: IndexTable,
  tenant: Tenant,
  uids: readonly string[],
  budget: ReadBudget,
): Promise<string[]> {
  const studies = new Set<string>();
  for (const uid of uids) {
    const limit = budget.grant(STUDIES_OF_SERIES);
    if (limit === 0) break;
    const { partition } = keys.seriesOf(tenant, uid, '0');
    const page = await index.query({ partition, limit, keysOnly: true }, budget.meter);
    for (const { sort } of page.records) studies.add(sort);
  }
  return [...studies];
}

export function* batchesOf(uids: readonly string[], budget: ReadBudget): Generator<readonly string[]> {
  for (let at = 0; at < uids.length; ) {
    const size = budget.grant(Math.min(GET_MANY, uids.length - at));
    if (size === 0) return;
    yield uids.slice(at, at + size);
    at += size;
  }
}

export function uidsIn(conditions: readonly Condition[], tag: string): readonly string[] | undefined {
  for (const condition of conditions)
    if (condition.tag === tag && condition.key.kind === 'values') return condition.key.texts;
  return undefined;
}
