import { readFeed } from '../archive/feed.ts';
import {
  type ArchiveEvent,
  type InstanceRecord,
  keys,
  type SeriesRecord,
  type StudyRecord,
  type Tenant,
} from '../archive/records.ts';
import type { DataSet } from '../dicom/types.ts';
import { PacsError } from '../errors.ts';
import { asRecord, pagesIn, recordsIn } from '../ports/index-table.ts';
import { instanceMetadata } from '../retrieve/metadata.ts';
import type { Services } from '../services.ts';
import { enqueueInstances, type RoutedInstance } from './enqueue.ts';
import { type DestinationState, type RuleRecord, routingKeys } from './records.ts';
import { asksMore, conditionsMet, matched, rulesFor } from './rules.ts';
import { destinationStates, type Routing, readRouting } from './settings.ts';

/** events that are taken in at a time */
const EVENTS = 100;
/** pages of events that one job takes in; what is left is another's */
const PAGES = 50;
/** instances of a study that are looked at at a time */
const INSTANCES = 100;
/** data sets that are read at a time */
const READING = 16;
/** an instance that has come through more archives than this is sent no further */
const HOPS = 8;

/**
 * Takes in what has been stored and has become quiet: for each instance and destination that a rule names, one record of what is to be sent. The events
 * stand in the feed in the same write as the instances they speak of, and the cursor moves on when all behind it has been recorded; what is recorded twice counts
 * once. So nothing is missed, and nothing sent twice, whatever is interrupted.
 * @returns whether there is more to be taken in
 */
export async function takeInRoutes(services: Services, tenant: Tenant): Promise<boolean> {
  const routing = await readRouting(services, tenant);
  if (routing.rules.length === 0) return false;
  // An archive that was restored has its rules, and a feed that begins anew.
  const known = await services.index.get(routingKeys.cursor(tenant));
  let { cursor, version } = known ? asRecord<Cursor>(known) : { cursor: '', version: 0 };
  const states = await destinationStates(services, tenant);
  for (let pages = 0; pages < PAGES; pages++) {
    const { events, next } = await readFeed(services.index, tenant, cursor, EVENTS);
    if (next === cursor) return false;
    await takeIn(services, tenant, { routing, states }, events);
    const outcome = await services.index.write([
      {
        kind: 'put',
        key: routingKeys.cursor(tenant),
        item: { version: version + 1, cursor: next },
        if: version === 0 ? 'absent' : { version },
      },
    ]);
    // Another has taken the same in, and goes on with what is behind it.
    if (!outcome.committed) return false;
    cursor = next;
    version++;
  }
  return true;
}

/** Whether a tenant has rules that want what is stored at once. */
export async function routesAtOnce(services: Pick<Services, 'index'>, tenant: Tenant): Promise<boolean> {
  const { rules } = await readRouting(services, tenant);
  return rules.some(({ enabled, when }) => enabled && when === 'stored');
}

interface Cursor {
  readonly version: number;
  readonly cursor: string;
}

interface Known {
  readonly routing: Routing;
  readonly states: ReadonlyMap<string, DestinationState>;
}

async function takeIn(
  services: Services,
  tenant: Tenant,
  known: Known,
  events: readonly ArchiveEvent[],
): Promise<void> {
  const { rules } = known.routing;
  if (!rules.some(({ enabled }) => enabled)) return;
  const stored = events.filter(({ type, at }) => type === 'InstanceStored' && rulesFor(rules, 'stored', at).length > 0);
  for (const [study, ofStudy] of Map.groupBy(stored, (event) => event.StudyInstanceUID)) {
    const found = await services.index.getMany(
      ofStudy.map((event) => keys.instance(tenant, study, event.SeriesInstanceUID!, event.SOPInstanceUID!)),
    );
    // Where other bytes took its place, or it was removed, a later event says so.
    const instances = found.flatMap((item, i) =>
      item !== undefined && item.sha256 === ofStudy[i]!.sha256 ? [asRecord<InstanceRecord>(item)] : [],
    );
    const at = Math.min(...ofStudy.map((event) => event.at));
    await route(services, tenant, known, rulesFor(rules, 'stored', at), instances);
  }
  // A study that became quiet several times over is looked at once, as it is now.
  const quiet = new Map<string, number>();
  for (const { type, StudyInstanceUID, at } of events)
    if (type === 'StudyQuiet') quiet.set(StudyInstanceUID, Math.max(at, quiet.get(StudyInstanceUID) ?? 0));
  const records = await services.index.getMany([...quiet.keys()].map((study) => keys.study(tenant, study)));
  for (const [i, [study, at]] of [...quiet].entries()) {
    const item = records[i];
    if (item === undefined) continue;
    // When an index has been made anew, every study becomes quiet once more: what counts is when its last object came.
    const due = asRecord<StudyRecord>(item).lastStoredAt + services.limits.studyQuietMs;
    await routeQuiet(services, tenant, known, rulesFor(rules, 'quiet', Math.min(at, due)), study);
  }
}

/** In pages, as a study may have any number of instances; only rules that send all of it need to see all of it first. */
async function routeQuiet(
  services: Services,
  tenant: Tenant,
  known: Known,
  rules: readonly RuleRecord[],
  study: string,
): Promise<void> {
  if (rules.length === 0) return;
  if (!rules.some(({ scope }) => scope === 'study')) {
    for await (const page of instancesOf(services, tenant, study)) await route(services, tenant, known, rules, page);
    return;
  }
  const all: Candidate[] = [];
  for await (const page of instancesOf(services, tenant, study))
    all.push(...(await candidatesOf(services, tenant, rules, page)));
  await enqueueMatches(services, tenant, known, rules, all);
}

async function route(
  services: Services,
  tenant: Tenant,
  known: Known,
  rules: readonly RuleRecord[],
  instances: readonly InstanceRecord[],
): Promise<void> {
  if (rules.length === 0 || instances.length === 0) return;
  const candidates = await candidatesOf(services, tenant, rules, instances);
  await enqueueMatches(services, tenant, known, rules, candidates);
}

async function enqueueMatches(
  services: Services,
  tenant: Tenant,
  { routing, states }: Known,
  rules: readonly RuleRecord[],
  candidates: readonly Candidate[],
): Promise<void> {
  const found = matched(
    rules,
    candidates.map(({ met }) => met),
  );
  const wanted = new Map<string, { instances: Set<number>; rules: Set<string> }>();
  for (const [i, positions] of found.entries()) {
    const rule = rules[i]!;
    if (positions.size === 0) continue;
    for (const destination of rule.destinations) {
      const entry = wanted.get(destination) ?? { instances: new Set<number>(), rules: new Set<string>() };
      for (const at of positions) entry.instances.add(at);
      entry.rules.add(rule.name);
      wanted.set(destination, entry);
    }
  }
  for (const [destination, entry] of wanted) {
    const instances = [...entry.instances]
      .map((at) => candidates[at]!.instance)
      .filter((instance) => !isLoop(instance, routing.identity, states.get(destination)?.archive));
    if (instances.length > 0)
      await enqueueInstances(services, tenant, destination, instances, { rules: [...entry.rules] });
  }
}

/** It has been at the destination, or here, before; or it has gone round long enough. */
const isLoop = ({ route = [] }: RoutedInstance, identity: string | undefined, destination: string | undefined) =>
  route.length > HOPS || [identity, destination].some((archive) => archive !== undefined && route.includes(archive));

/** Instances of a study, series by series. */
export async function* instancesOf(
  { index }: Pick<Services, 'index'>,
  tenant: Tenant,
  study: string,
): AsyncGenerator<InstanceRecord[]> {
  const { partition } = keys.study(tenant, study);
  for await (const { item } of recordsIn(index, { partition, prefix: 'series|', limit: 10_000 })) {
    const { SeriesInstanceUID } = asRecord<SeriesRecord>(item);
    const { partition: of } = keys.instance(tenant, study, SeriesInstanceUID, '');
    for await (const page of pagesIn(index, { partition: of, limit: INSTANCES }))
      yield page.map((record) => asRecord<InstanceRecord>(record.item));
  }
}

/** Of an instance what sending it takes, and which conditions it meets: not its data set, as a study may have any number. */
export interface Candidate {
  readonly instance: RoutedInstance;
  readonly met: readonly boolean[];
}

export async function candidatesOf(
  services: Pick<Services, 'index' | 'blobs'>,
  tenant: Tenant,
  rules: readonly Pick<RuleRecord, 'condition'>[],
  instances: readonly InstanceRecord[],
): Promise<Candidate[]> {
  const needsDataSets = asksMore(rules);
  const candidates: Candidate[] = [];
  for (let at = 0; at < instances.length; at += READING) {
    const some = instances.slice(at, at + READING).map(async (instance): Promise<Candidate> => {
      const dataSet = needsDataSets ? await dataSetOf(services, tenant, instance) : undefined;
      const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, sha256, route } = instance;
      return {
        instance: { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, sha256, route },
        met: conditionsMet(rules, instance, dataSet),
      };
    });
    candidates.push(...(await Promise.all(some)));
  }
  return candidates;
}

async function dataSetOf(
  services: Pick<Services, 'index' | 'blobs'>,
  tenant: Tenant,
  { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID }: InstanceRecord,
): Promise<DataSet | undefined> {
  try {
    const text = await instanceMetadata(services, tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID);
    return JSON.parse(text) as DataSet;
  } catch (error) {
    // Removed just now: it must not stop those behind it.
    if (error instanceof PacsError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}
