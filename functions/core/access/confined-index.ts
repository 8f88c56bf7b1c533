import type { DataSet } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import {
  asRecord,
  type IndexTable,
  type Item,
  type Key,
  type Page,
  type RangeQuery,
  type ReadMeter,
  type WriteOperation,
  type WriteOptions,
  type WriteOutcome,
} from '../ports/index-table.ts';
import { worklistKeys } from '../worklist/records.ts';
import type { StudyReach } from './reach.ts';
import { factsOfDataSet } from './rules.ts';

/** How the study is found by which a record is judged. */
type Judged =
  /** no study's: or one that only what it names tells of, which is judged itself */
  | { readonly by: 'nothing' }
  /** all of the partition belongs to the study that it names */
  | { readonly by: 'partition' }
  /** the studies that a record names */
  | { readonly by: 'record'; readonly studies: (item: Item, sort: string) => readonly string[] }
  /** an order: by what it says itself, for its study may not have come */
  | { readonly by: 'order' }
  /** a note that an order has changed: by the order, as long as it is there */
  | { readonly by: 'change' };

const nothing: Judged = { by: 'nothing' };
const partition: Judged = { by: 'partition' };
const named: Judged = { by: 'record', studies: ({ StudyInstanceUID }) => [StudyInstanceUID as string] };

/**
 * Every kind of record that a tenant has, by the second part of its partition's name. A kind that is not listed cannot be read by anybody
 * who is confined, and test/unit/access/kinds.test.ts fails where the code names one.
 */
export const RECORD_KINDS: Readonly<Record<string, Judged>> = {
  study: partition,
  instances: partition,
  metadata: partition,
  evicted: partition,
  'mpps-of': partition,
  'worklist-step': partition,
  deliveries: partition,
  delivered: partition,
  sop: named,
  seriesof: { by: 'record', studies: (_, sort) => [sort] },
  superseded: named,
  'deliveries-waiting': named,
  'deliveries-held': named,
  trash: named,
  trashed: named,
  held: {
    by: 'record',
    studies: ({ StudyInstanceUID, existing }) => [
      StudyInstanceUID as string,
      (existing as { StudyInstanceUID: string }).StudyInstanceUID,
    ],
  },
  // A damaged object is of a study, the pass that found it of none.
  fixity: {
    by: 'record',
    studies: ({ StudyInstanceUID }) => (StudyInstanceUID === undefined ? [] : [StudyInstanceUID as string]),
  },
  // An alarm names no study, and is for everybody who follows the feed.
  feed: {
    by: 'record',
    studies: ({ type, StudyInstanceUID }) => (type === 'EmergencyAccess' ? [] : [StudyInstanceUID as string]),
  },
  mpps: { by: 'record', studies: ({ StudyInstanceUIDs }) => StudyInstanceUIDs as readonly string[] },
  worklist: { by: 'order' },
  'worklist-changes': { by: 'change' },
  // These lead to records that are judged.
  heldof: nothing,
  'mpps-by-time': nothing,
  'worklist-id': nothing,
  // Lines of the study list are judged by the search that reads them (search/studies.ts); postings and counts lead to lines.
  x: nothing,
  // One's own: found by who created them.
  transactions: nothing,
  transaction: nothing,
  commitment: nothing,
  shares: nothing,
  sharetrail: nothing,
  shareheld: nothing,
  shareuse: nothing,
  sharesdue: nothing,
  // Work under way and records of administration: no door shows them to whoever does not administer.
  pending: nothing,
  unfolded: nothing,
  trashing: nothing,
  evicting: nothing,
  purge: nothing,
  access: nothing,
  tier: nothing,
  tiering: nothing,
  idle: nothing,
  placed: nothing,
  placement: nothing,
  placing: nothing,
  routing: nothing,
  'routing-state': nothing,
  'routing-cursor': nothing,
  folding: nothing,
  imagesets: nothing,
  placedsets: nothing,
  policy: nothing,
  users: nothing,
  usershead: nothing,
  attempts: nothing,
  clients: nothing,
  enrolments: nothing,
  deidentification: nothing,
  deidentifications: nothing,
  'deidentification-projects': nothing,
  'deidentification-secrets': nothing,
  gatewayclients: nothing,
  auditexport: nothing,
  tokens: nothing,
  gateways: nothing,
  gatewayconfigurations: nothing,
  audit: nothing,
  auditseal: nothing,
  auditseals: nothing,
  reconcile: nothing,
  rates: nothing,
  usage: nothing,
  served: nothing,
};

/** records of a log that are looked at for one page; with none found by then the reader goes on behind them */
const LOG_RECORDS = 5_000;

/**
 * The index as one principal may see it: records of studies out of his reach are not there. What is read is judged after it was read, so
 * that nothing that became visible meanwhile slips through. Writes pass: a use case that writes what it cannot see asks for the whole index.
 */
export class ConfinedIndex implements IndexTable {
  readonly #index: IndexTable;
  readonly #reach: StudyReach;

  constructor(index: IndexTable, reach: StudyReach) {
    this.#index = index;
    this.#reach = reach;
  }

  async get(key: Key, meter?: ReadMeter): Promise<Item | undefined> {
    const kind = this.#kindOf(key.partition);
    const item = await this.#index.get(key, meter);
    return item !== undefined && (await this.#admits(kind, key.partition, key.sort, item, meter)) ? item : undefined;
  }

  async getMany(keys: readonly Key[], meter?: ReadMeter): Promise<(Item | undefined)[]> {
    const kinds = keys.map((key) => this.#kindOf(key.partition));
    const items = await this.#index.getMany(keys, meter);
    const admitted: (Item | undefined)[] = [];
    for (const [i, item] of items.entries()) {
      const { partition: of, sort } = keys[i]!;
      admitted.push(item !== undefined && (await this.#admits(kinds[i]!, of, sort, item, meter)) ? item : undefined);
    }
    return admitted;
  }

  async query(query: RangeQuery, meter?: ReadMeter): Promise<Page> {
    const kind = this.#kindOf(query.partition);
    if (kind.by === 'nothing') return this.#index.query(query, meter);
    if (kind.by === 'partition') {
      const page = await this.#index.query(query, meter);
      const admitted = page.records.length === 0 || (await this.#reach.admitsStudy(studyOf(query.partition), meter));
      return admitted ? page : { records: [], more: false };
    }
    return this.#admitted(query, kind, meter);
  }

  write(operations: readonly WriteOperation[], options?: WriteOptions): Promise<WriteOutcome> {
    return this.#index.write(operations, options);
  }

  /** Pages are filled up again, as who reads them goes on behind the last record that he sees. */
  async #admitted({ keysOnly: _, only: __, ...query }: RangeQuery, kind: Judged, meter?: ReadMeter): Promise<Page> {
    const found: Page['records'][number][] = [];
    let after = query.after;
    let looked = 0;
    for (;;) {
      const page = await this.#index.query({ ...query, ...(after !== undefined && { after }) }, meter);
      for (const record of page.records) {
        if (found.length === query.limit) return { records: found, more: true };
        looked++;
        if (await this.#admits(kind, query.partition, record.sort, record.item, meter)) found.push(record);
      }
      after = page.records.at(-1)?.sort ?? after;
      const isEnough = query.log === true && looked >= LOG_RECORDS;
      if (!page.more || isEnough)
        return { records: found, more: page.more, ...(query.log && after !== undefined && { seen: after }) };
    }
  }

  async #admits(kind: Judged, of: string, sort: string, item: Item, meter?: ReadMeter): Promise<boolean> {
    switch (kind.by) {
      case 'nothing':
        return true;
      case 'partition':
        return this.#reach.admitsStudy(studyOf(of), meter);
      case 'order':
        return this.#reach.admits(factsOfOrder(item));
      case 'change': {
        const { tenant } = this.#reach;
        const id = item.id as string;
        const where = await this.#index.get(worklistKeys.where(tenant, id), meter);
        const order =
          where &&
          (await this.#index.get(worklistKeys.item(tenant, { startsAt: where.startsAt as string, id }), meter));
        return order !== undefined && this.#reach.admits(factsOfOrder(order));
      }
      case 'record': {
        for (const study of kind.studies(item, sort)) if (!(await this.#reach.admitsStudy(study, meter))) return false;
        return true;
      }
    }
  }

  /** @throws PacsError INTERNAL for another tenant's, and for a kind nobody has thought about */
  #kindOf(of: string): Judged {
    const [tenant = '', kind = ''] = of.split('|', 2);
    // Tokens and the like, which belong to the archive as a whole.
    if (tenant === '_system') return nothing;
    const judged = tenant === this.#reach.tenant ? RECORD_KINDS[kind] : undefined;
    if (judged === undefined) throw new PacsError('INTERNAL', 'records of this kind have no rule of reach');
    return judged;
  }
}

/** `t|study|{Study}`, `t|instances|{Study}|{Series}` */
const studyOf = (of: string): string => of.split('|', 3)[2] ?? '';

function factsOfOrder(item: Item) {
  const dataSet = asRecord<DataSet>(item.dataSet ?? {});
  const step = (dataSet['00400100']?.Value?.[0] ?? {}) as DataSet;
  return factsOfDataSet(dataSet, step);
}
