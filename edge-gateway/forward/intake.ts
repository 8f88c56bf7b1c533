import { FROM_UPSTREAM } from '#core/archive/evict.ts';
import { readFeed } from '#core/archive/feed.ts';
import type { ArchiveEvent, InstanceRecord } from '#core/archive/records.ts';
import { keptInstance } from '#core/archive/trashed.ts';
import { Part10Scanner } from '#core/dicom/scanner.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import { asItem, asRecord, type Key, type WriteOperation } from '#core/ports/index-table.ts';
import { instanceMetadata } from '#core/retrieve/metadata.ts';
import { type Condition, holds } from '#core/routing/conditions.ts';
import { factsOf } from '#core/routing/facts.ts';
import type { SendPriority, UpstreamConfig } from '../config.ts';
import type { EdgeContext } from '../context.ts';
import { ledgerKeys } from './ledger.ts';
import { DestinationQueue } from './queue.ts';
import {
  countIn,
  type ForwardCounts,
  type ForwardRecord,
  forwardKeys,
  NO_COUNTS,
  NOBODY,
  queueKeyOf,
  type StudyOrder,
} from './records.ts';
import { hideIfRejected, rememberRejections } from './rejected.ts';
import { scheduledPriority, statedPriority, urgent } from './urgent.ts';

/** events of one atomic write; few enough for its 100 operations whatever is configured */
const EVENTS = 20;
const OPERATIONS = 90;
/** What comes to a study after so long a pause takes its place in the queue by itself (ms). */
const STUDY_GOES_ON_MS = 60 * 60 * 1000;
/** A study's last arrival is noted with this much play, to spare writes (ms). */
const NOTE_MS = 5 * 60 * 1000;

/**
 * Takes in what the local archive has stored: for each instance one record a destination that wants it. The feed's events are written
 * in the same atomic write as the instances they speak of, and the cursor in the same one as the records: nothing is missed or doubled.
 * @returns the destinations that have got something to do; undefined when there was no event
 */
export async function takeIn(context: EdgeContext): Promise<ReadonlySet<string> | undefined> {
  const { services, tenant, config } = context;
  const { index } = services;
  const cursorKey = forwardKeys.cursor(tenant);
  const known = await index.get(cursorKey);
  const cursor = (known?.cursor as string | undefined) ?? '';
  const { events } = await readFeed(
    index,
    tenant,
    cursor,
    Math.max(1, Math.min(EVENTS, Math.floor(OPERATIONS / (3 * config.upstreams.length + 1)) - 1)),
  );
  if (events.length === 0) return undefined;
  const batch = new Intake(context);
  let next = cursor;
  for (const event of events) {
    await batch.add(event);
    next = event.cursor;
  }
  const version = (known?.version as number | undefined) ?? 0;
  const outcome = await index.write([
    { kind: 'put', key: cursorKey, item: { version: version + 1, cursor: next }, if: known ? { version } : 'absent' },
    ...batch.operations(),
  ]);
  // A record changed under us (it was confirmed, or released): the same events are taken in again.
  if (!outcome.committed) return new Set();
  for (const [study, order] of batch.raised) {
    for (const { name } of config.upstreams) await new DestinationQueue(services, tenant, name).raise(study, order);
  }
  return batch.destinations;
}

/** Instances that are stored here and that no destination's queue has yet, counted up to `limit`: usually none, many while the index has no room. */
export async function untaken({ services, tenant }: EdgeContext, limit: number): Promise<number> {
  const known = await services.index.get(forwardKeys.cursor(tenant));
  const { events } = await readFeed(services.index, tenant, (known?.cursor as string | undefined) ?? '', limit);
  return events.filter(({ type }) => type === 'InstanceStored').length;
}

/** One write's worth of instances. */
class Intake {
  readonly #context: EdgeContext;
  readonly #operations: WriteOperation[] = [];
  readonly #seen = new Set<string>();
  readonly #studies = new Map<string, StudyOrder>();
  /** those that are written */
  readonly #orders = new Map<string, StudyOrder>();
  readonly #counts = new Map<string, ForwardCounts>();
  /** forward records that are new */
  #records = 0;
  readonly destinations = new Set<string>();
  /** studies whose priority has become a higher one: what waits of them is moved */
  readonly raised = new Map<string, StudyOrder>();

  constructor(context: EdgeContext) {
    this.#context = context;
  }

  operations(): WriteOperation[] {
    const { tenant } = this.#context;
    const counts = [...this.#counts].map(
      ([destination, increments]): WriteOperation => ({
        kind: 'add',
        key: forwardKeys.counts(tenant, destination),
        increments: { ...increments },
      }),
    );
    const orders = [...this.#orders].map(
      ([study, order]): WriteOperation => ({
        kind: 'put',
        key: forwardKeys.study(tenant, study),
        item: asItem(order),
      }),
    );
    const size: WriteOperation[] =
      this.#records === 0
        ? []
        : [{ kind: 'add', key: ledgerKeys.size(tenant), increments: { records: this.#records } }];
    return [...this.#operations, ...counts, ...orders, ...size];
  }

  async add(event: ArchiveEvent & { readonly cursor: string }): Promise<void> {
    const { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop } = event;
    if (event.type !== 'InstanceStored' || series === undefined || sop === undefined) return;
    const { services, tenant, config } = this.#context;
    // What a rejection note has hidden here since is sent all the same: the archive keeps it, and hides it, too.
    const instance = await keptInstance(services, tenant, study, series, sop);
    // Other bytes took its place, or it was removed: a later event says so.
    if (instance === undefined || instance.sha256 !== event.sha256 || this.#seen.has(sop)) return;
    this.#seen.add(sop);
    // It was fetched from there, and is never forwarded back.
    if (instance.source === FROM_UPSTREAM) return this.#cameFrom(config.upstreams[0].name, instance, event.cursor);
    const facts = new InstanceFacts(this.#context, instance);
    await rememberRejections(this.#context, instance, () => facts.dataSet());
    const wanted: UpstreamConfig[] = [];
    for (const upstream of config.upstreams)
      if (upstream.when === undefined || (await facts.satisfy(upstream.when))) wanted.push(upstream);
    const order = await this.#orderOf(instance, facts, event.at);
    const queueKey = queueKeyOf(order, study, event.cursor);
    if (wanted.length === 0) {
      const known = await services.index.get(forwardKeys.forward(tenant, sop, NOBODY));
      this.#put(instance, NOBODY, { state: 'unwanted', queueKey }, asRecord<ForwardRecord>(known));
    }
    for (const { name } of wanted) await this.#enqueue(instance, name, queueKey);
    await hideIfRejected(this.#context, instance);
  }

  /** It was fetched from there: so it is there. */
  async #cameFrom(destination: string, instance: InstanceRecord, cursor: string): Promise<void> {
    const { services, tenant } = this.#context;
    const known = await services.index.get(forwardKeys.forward(tenant, instance.SOPInstanceUID, destination));
    if (known !== undefined) return;
    const { storedAt } = instance;
    const order: StudyOrder = { priority: 'low', arrivedAt: storedAt, lastAt: storedAt };
    const queueKey = queueKeyOf(order, instance.StudyInstanceUID, cursor);
    this.#put(instance, destination, { state: 'confirmed', queueKey, evidence: 'retrieve', fetched: true });
  }

  async #enqueue(instance: InstanceRecord, destination: string, queueKey: string): Promise<void> {
    const { services, tenant } = this.#context;
    const { SOPInstanceUID: sop, sizeBytes } = instance;
    const item = await services.index.get(forwardKeys.forward(tenant, sop, destination));
    const known = asRecord<ForwardRecord>(item);
    const isSame = known?.sha256 === instance.sha256;
    const places = known === undefined ? [] : placesOf(tenant, destination, known);
    if (isSame && places.length > 0) return;
    // Other bytes of this UID wait there: these take their place in the queue.
    for (const key of places) this.#operations.push({ kind: 'delete', key });
    if (known !== undefined && !known.fetched) this.#count(destination, known, -1);
    // Stored here again after it had been confirmed and evicted: the upstream most likely has it still.
    this.#put(instance, destination, { state: 'pending', queueKey, ...(isSame && { ask: true }) }, known);
    this.#operations.push({
      kind: 'put',
      key: forwardKeys.queue(tenant, destination, queueKey),
      item: { SOPInstanceUID: sop, sizeBytes },
    });
    this.#count(destination, { state: 'pending', sizeBytes }, 1);
    this.destinations.add(destination);
  }

  #put(
    instance: InstanceRecord,
    destination: string,
    fields: Pick<ForwardRecord, 'state' | 'queueKey' | 'ask' | 'evidence' | 'fetched'>,
    known?: ForwardRecord,
  ): void {
    const { services, tenant } = this.#context;
    const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, SOPClassUID, sha256, sizeBytes } = instance;
    const now = services.clock.now();
    const record: ForwardRecord = {
      version: (known?.version ?? 0) + 1,
      StudyInstanceUID,
      SeriesInstanceUID,
      SOPInstanceUID,
      SOPClassUID,
      sha256,
      sizeBytes,
      attempts: 0,
      refusals: 0,
      queuedAt: now,
      ...(fields.state === 'confirmed' && { confirmedAt: now }),
      ...fields,
    };
    if (known === undefined) this.#records++;
    this.#operations.push({
      kind: 'put',
      key: forwardKeys.forward(tenant, SOPInstanceUID, destination),
      item: asItem(record),
      if: known === undefined ? 'absent' : { version: known.version },
    });
  }

  #count(destination: string, record: Pick<ForwardRecord, 'state' | 'sizeBytes'>, sign: 1 | -1): void {
    const counts = this.#counts.get(destination) ?? { ...NO_COUNTS };
    countIn(counts, record, sign);
    this.#counts.set(destination, counts);
  }

  /**
   * The study's place, given by its first instance and by what the worklist says of it. A later one whose request states a higher priority raises the study; a sender of
   * higher priority moves ahead what it adds.
   */
  async #orderOf({ StudyInstanceUID: study, source }: InstanceRecord, facts: InstanceFacts, at: number) {
    const { services, tenant, config } = this.#context;
    const sender =
      config.allowed === 'any'
        ? undefined
        : config.allowed.find(({ aeTitle }) => aeTitle === source || aeTitle === '*');
    const own = sender?.priority ?? 'routine';
    const key = forwardKeys.study(tenant, study);
    let known = this.#studies.get(study);
    if (known === undefined) {
      const item = await services.index.get(key);
      known = asRecord<StudyOrder>(item);
    }
    if (known === undefined || at - known.lastAt >= STUDY_GOES_ON_MS) {
      const stated = urgent(own, await facts.priority());
      const priority = urgent(stated, await scheduledPriority(services, tenant, study));
      const order = { priority, arrivedAt: at, lastAt: at };
      return this.#keepOrder(study, order);
    }
    const priority = known.priority === 'stat' ? 'stat' : urgent(known.priority, await facts.priority());
    if (priority !== known.priority) {
      const order = { ...known, priority, lastAt: at };
      this.raised.set(study, order);
      return this.#keepOrder(study, order);
    }
    if (at - known.lastAt >= NOTE_MS) known = this.#keepOrder(study, { ...known, lastAt: at });
    this.#studies.set(study, known);
    return higher(known, own);
  }

  #keepOrder(study: string, order: StudyOrder): StudyOrder {
    this.#studies.set(study, order);
    this.#orders.set(study, order);
    return order;
  }
}

const higher = (order: StudyOrder, own: SendPriority): StudyOrder => ({
  ...order,
  priority: urgent(order.priority, own),
});

/** Where a record stands that waits; nowhere, when it does not. */
export function placesOf(tenant: string, destination: string, record: ForwardRecord): Key[] {
  if (record.state === 'confirmed' || record.state === 'unwanted') return [];
  if (record.state === 'held') return [forwardKeys.held(tenant, destination, record.queueKey)];
  if (record.due !== undefined) return [forwardKeys.later(tenant, destination, record.due, record.queueKey)];
  return [forwardKeys.queue(tenant, destination, record.queueKey)];
}

const REQUEST_ATTRIBUTES = '00400275';

/** What conditions ask of an instance; its data set is read when one asks for more than the record has. */
class InstanceFacts {
  readonly #context: EdgeContext;
  readonly #instance: InstanceRecord;
  #dataSet: DataSet | undefined;

  constructor(context: EdgeContext, instance: InstanceRecord) {
    this.#context = context;
    this.#instance = instance;
  }

  async satisfy(condition: Condition): Promise<boolean> {
    await this.dataSet();
    return holds(condition, factsOf(this.#instance, this.#dataSet));
  }

  async priority(): Promise<SendPriority | undefined> {
    const dataSet = await this.dataSet();
    const requests = (dataSet[REQUEST_ATTRIBUTES]?.Value ?? []) as DataSet[];
    for (const one of [dataSet, ...requests]) {
      const stated = statedPriority(one);
      if (stated !== undefined) return stated;
    }
    return undefined;
  }

  async dataSet(): Promise<DataSet> {
    const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = this.#instance;
    const { services, tenant } = this.#context;
    try {
      this.#dataSet ??= JSON.parse(
        await instanceMetadata(services, tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID),
      ) as DataSet;
    } catch (error) {
      if (!(error instanceof PacsError) || error.code !== 'NOT_FOUND') throw error;
      this.#dataSet = await this.#hidden();
    }
    return this.#dataSet;
  }

  /** Of what a rejection note has hidden there are the bytes. Removed just now, it has none: it must not stop those behind it. */
  async #hidden(): Promise<DataSet> {
    const { blobs, limits } = this.#context.services;
    const scanner = new Part10Scanner(limits);
    try {
      for await (const chunk of blobs.read(this.#instance.blobKey)) scanner.push(chunk);
      return scanner.end().dataSet;
    } catch (error) {
      if (!(error instanceof PacsError)) throw error;
      return {};
    }
  }
}
