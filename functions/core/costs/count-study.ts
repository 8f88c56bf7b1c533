import { keys, type SeriesRecord, type StudyRecord, type Tenant } from '../archive/records.ts';
import { asItem, asRecord, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { type Amount, type CountedStudy, DEFAULT_TIER, type Month, monthOf, usageWrites } from './usage-records.ts';

/** Defined terms of Modality (PS3.3 C.7.3.1.1.1). Whatever else objects say counts as one: their senders must not make counters grow. */
const MODALITIES: ReadonlySet<string> = new Set(
  (
    'AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL IVOCT IVUS KER KO LEN LS M3D MG MR ' +
    'NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD ' +
    'RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA XAPROTOCOL XC'
  ).split(' '),
);
const OTHER_MODALITY = 'other';
const countedModality = (modality: string): string => (MODALITIES.has(modality) ? modality : OTHER_MODALITY);

const ATTEMPTS = 5;
const PAGE = 10_000;

type Amounts = Readonly<Record<string, Amount>>;

/** A study as it is to be counted by its series: what was in a colder tier still is, as far as it is still there. */
function countedStudy(record: StudyRecord, series: readonly SeriesRecord[]): CountedStudy {
  const rest = new Map<string, [number, number]>();
  for (const { modality, instanceCount, sizeBytes } of series) {
    if (instanceCount <= 0) continue;
    const name = countedModality(modality);
    const [objects, bytes] = rest.get(name) ?? [0, 0];
    rest.set(name, [objects + instanceCount, bytes + sizeBytes]);
  }
  const { [DEFAULT_TIER]: _, ...cold } = record.counted?.tiers ?? {};
  return parted(monthOf(record.firstStoredAt), rest, cold);
}

/** `cold`: by tier, as much of `rest` as is there; the default tier has what is left. */
function parted(
  month: Month,
  rest: Map<string, [number, number]>,
  cold: { readonly [tier: string]: Amounts },
): CountedStudy {
  const tiers: Record<string, Record<string, Amount>> = {};
  for (const [tier, modalities] of Object.entries(cold))
    for (const [modality, [objects, bytes]] of Object.entries(modalities)) {
      const left = rest.get(modality);
      if (left === undefined) continue;
      const taken: Amount = [Math.min(objects, left[0]), Math.min(bytes, left[1])];
      if (taken[0] === 0 && taken[1] === 0) continue;
      rest.set(modality, [left[0] - taken[0], left[1] - taken[1]]);
      tiers[tier] = { ...tiers[tier], [modality]: taken };
    }
  for (const [modality, amount] of rest)
    if (amount[0] > 0 || amount[1] > 0) tiers[DEFAULT_TIER] = { ...tiers[DEFAULT_TIER], [modality]: amount };
  return { month, tiers };
}

/** The study's record with what is counted of it, and the operations on the counters: for one write under the record's lock. */
export function recounted(
  tenant: Tenant,
  record: StudyRecord,
  series: readonly SeriesRecord[],
  month: Month,
): { readonly counted: CountedStudy; readonly operations: readonly WriteOperation[] } {
  const counted = countedStudy(record, series);
  return { counted, operations: usageWrites(tenant, record.counted, counted, month) };
}

type Ports = Pick<Services, 'index'>;

/** Counts a study of an index that was made anew, in the month in which its last object came. Repeating changes nothing. */
export async function countRebuiltStudy({ index }: Ports, tenant: Tenant, study: string): Promise<void> {
  const { partition } = keys.study(tenant, study);
  await changeCounted({ index }, tenant, study, async (record) => {
    const page = await index.query({ partition, prefix: 'series|', limit: PAGE });
    const series = page.records.map(({ item }) => asRecord<SeriesRecord>(item));
    return { counted: countedStudy(record, series), month: monthOf(record.lastStoredAt) };
  });
}

/** What of a study was given a tier: sums of its objects by modality. */
export class Moved {
  readonly #sums = new Map<string, [number, number]>();

  add({ Modality, sizeBytes }: { readonly Modality: string; readonly sizeBytes: number }): void {
    const name = countedModality(Modality);
    const [objects, bytes] = this.#sums.get(name) ?? [0, 0];
    this.#sums.set(name, [objects + 1, bytes + sizeBytes]);
  }

  amounts(): Amounts {
    return Object.fromEntries(this.#sums);
  }
}

/** Counts what a step of the policy has moved under its new tier; all else of the study is in none. Repeating changes nothing. */
export async function countMoved(
  { index, clock }: Pick<Services, 'index' | 'clock'>,
  tenant: Tenant,
  study: string,
  tier: string,
  moved: Moved,
): Promise<void> {
  await changeCounted({ index }, tenant, study, async ({ counted }) => {
    if (counted === undefined) return undefined;
    const rest = new Map<string, [number, number]>();
    for (const modalities of Object.values(counted.tiers))
      for (const [modality, [objects, bytes]] of Object.entries(modalities)) {
        const [n, b] = rest.get(modality) ?? [0, 0];
        rest.set(modality, [n + objects, b + bytes]);
      }
    return { counted: parted(counted.month, rest, { [tier]: moved.amounts() }), month: monthOf(clock.now()) };
  });
}

/** Lost races are tried again; whoever changes the study so often that all are lost has it counted when it is quiet. */
async function changeCounted(
  { index }: Ports,
  tenant: Tenant,
  study: string,
  change: (record: StudyRecord) => Promise<{ readonly counted: CountedStudy; readonly month: Month } | undefined>,
): Promise<void> {
  const key = keys.study(tenant, study);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const item = await index.get(key);
    if (item === undefined) return;
    const record = asRecord<StudyRecord>(item);
    const changed = record.instanceCount > 0 ? await change(record) : undefined;
    if (changed === undefined) return;
    const operations = usageWrites(tenant, record.counted, changed.counted, changed.month);
    if (operations.length === 0) return;
    const after: StudyRecord = { ...record, counted: changed.counted, version: record.version + 1 };
    const put: WriteOperation = { kind: 'put', key, item: asItem(after), if: { version: record.version } };
    if ((await index.write([put, ...operations])).committed) return;
  }
}
