import { feedTail } from '../archive/feed.ts';
import type { Tenant } from '../archive/records.ts';
import { PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import { asItem, asRecord, type Key, type WriteOperation } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { destinationUrl } from './allowed.ts';
import {
  DESTINATION,
  type DestinationRecord,
  type DestinationState,
  RULE,
  type RuleRecord,
  routingKeys,
} from './records.ts';
import { type AskedRule, inOrder, isRoutingName } from './rules.ts';

type Uses = Pick<Services, 'index' | 'clock'>;

/** rules and destinations of a tenant, each */
const ROUTING_RECORDS = 200;

export interface Routing {
  readonly destinations: ReadonlyMap<string, DestinationRecord>;
  /** in the order in which they are asked */
  readonly rules: readonly RuleRecord[];
  /** by which other archives know this one; made with the first destination */
  readonly identity: string | undefined;
}

/** All of a tenant's routing, in one query. */
export async function readRouting({ index }: Pick<Uses, 'index'>, tenant: Tenant): Promise<Routing> {
  const { partition } = routingKeys.identity(tenant);
  const page = await index.query({ partition, limit: 2 * ROUTING_RECORDS + 1 });
  const destinations = new Map<string, DestinationRecord>();
  const rules: RuleRecord[] = [];
  let identity: string | undefined;
  for (const { sort, item } of page.records) {
    if (sort.startsWith(DESTINATION)) destinations.set(sort.slice(DESTINATION.length), asRecord(item));
    else if (sort.startsWith(RULE)) rules.push(asRecord(item));
    else if (sort === 'identity') identity = item.id as string;
  }
  return { destinations, rules: inOrder(rules), identity };
}

/** What a person says of a destination. */
export type AskedDestination = Pick<DestinationRecord, 'url' | 'authentication' | 'timeoutMs' | 'enabled'>;

const LEAST_TIMEOUT_MS = 1_000;
const MOST_TIMEOUT_MS = 10 * 60 * 1_000;
const AUTHENTICATION = /^[a-z0-9][a-z0-9._-]{0,62}$/i;

/** @throws PacsError BAD_REQUEST; FORBIDDEN when the configuration does not let the archive send there */
export function readDestination(
  { policy, limits }: Pick<Services, 'policy' | 'limits'>,
  value: Readonly<Record<string, unknown>>,
): AskedDestination {
  const { url, authentication, timeoutMs = limits.routingTimeoutMs, enabled = true } = value;
  if (typeof url !== 'string') throw new PacsError('BAD_REQUEST', 'url must be a text');
  if (authentication !== undefined && (typeof authentication !== 'string' || !AUTHENTICATION.test(authentication)))
    throw new PacsError('BAD_REQUEST', 'authentication must be the name of credentials');
  if (
    !Number.isInteger(timeoutMs) ||
    (timeoutMs as number) < LEAST_TIMEOUT_MS ||
    (timeoutMs as number) > MOST_TIMEOUT_MS
  )
    throw new PacsError(
      'BAD_REQUEST',
      `timeoutMs must be a whole number from ${LEAST_TIMEOUT_MS} to ${MOST_TIMEOUT_MS}`,
    );
  if (typeof enabled !== 'boolean') throw new PacsError('BAD_REQUEST', 'enabled must be true or false');
  return {
    url: destinationUrl(policy.routing, url).href.replace(/\/+$/, ''),
    ...(authentication !== undefined && { authentication }),
    timeoutMs: timeoutMs as number,
    enabled,
  };
}

/**
 * Makes a destination, or replaces it.
 * @param expected version that it is to have; 0: it is to be new; undefined: whatever it is
 * @throws PacsError BAD_REQUEST; TOO_LARGE; PRECONDITION_FAILED when it has another version
 */
export async function putDestination(
  services: Uses,
  tenant: Tenant,
  name: string,
  asked: AskedDestination,
  by: string,
  expected?: number,
): Promise<DestinationRecord> {
  const routing = await readRouting(services, tenant);
  const known = routing.destinations.get(name);
  checkNew(name, known, routing.destinations.size);
  checkVersion(known, expected);
  const record = { ...asked, name, version: (known?.version ?? 0) + 1, changedAt: services.clock.now(), changedBy: by };
  const identity: WriteOperation[] =
    routing.identity === undefined
      ? [{ kind: 'put', key: routingKeys.identity(tenant), item: { id: newVersion(services.clock) }, if: 'absent' }]
      : [];
  await replace(services, routingKeys.destination(tenant, name), known, record, identity);
  await forgetProblem(services, tenant, name);
  return record;
}

/** What it failed by may be over: it is tried again at once. */
export async function forgetProblem({ index }: Uses, tenant: Tenant, destination: string): Promise<void> {
  const key = routingKeys.state(tenant, destination);
  const item = await index.get(key);
  if (item === undefined) return;
  const { problem: _, ...state } = asRecord<DestinationState>(item);
  const fresh: DestinationState = { ...state, version: state.version + 1, failures: 0, pausedUntil: 0 };
  // Lost to a sender that has just learnt something: that is as new.
  await index.write([{ kind: 'put', key, item: asItem(fresh), if: { version: state.version } }]);
}

/** @throws PacsError NOT_FOUND; CONFLICT while a rule names it; PRECONDITION_FAILED */
export async function deleteDestination(
  services: Uses,
  tenant: Tenant,
  name: string,
  expected?: number,
): Promise<void> {
  const { destinations, rules } = await readRouting(services, tenant);
  const known = destinations.get(name);
  if (known === undefined) throw new PacsError('NOT_FOUND', 'there is no such destination');
  checkVersion(known, expected);
  const user = rules.find((rule) => rule.destinations.includes(name));
  if (user !== undefined)
    throw new PacsError('CONFLICT', 'a rule names this destination', { details: { rule: user.name } });
  await remove(services, routingKeys.destination(tenant, name), known.version, [
    { kind: 'delete', key: routingKeys.state(tenant, name) },
  ]);
}

/**
 * Makes a rule, or replaces it. A new one, and one that was not enabled, speaks of what is stored from now on.
 * @throws PacsError BAD_REQUEST; TOO_LARGE; PRECONDITION_FAILED
 */
export async function putRule(
  services: Uses,
  tenant: Tenant,
  name: string,
  asked: AskedRule,
  by: string,
  expected?: number,
): Promise<RuleRecord> {
  const { index, clock } = services;
  const { rules, destinations } = await readRouting(services, tenant);
  const known = rules.find((rule) => rule.name === name);
  checkNew(name, known, rules.length);
  checkVersion(known, expected);
  const unknown = asked.destinations.find((one) => !destinations.has(one));
  if (unknown !== undefined)
    throw new PacsError('BAD_REQUEST', 'there is no such destination', { details: { destination: unknown } });
  const now = clock.now();
  const since = known?.enabled ? known.since : now;
  const record = { ...asked, name, version: (known?.version ?? 0) + 1, since, changedAt: now, changedBy: by };
  const beside: WriteOperation[] = [];
  if (rules.length === 0) {
    // What was told before need not be looked through.
    const key = routingKeys.cursor(tenant);
    const version = ((await index.get(key))?.version as number | undefined) ?? 0;
    const item = { version: version + 1, cursor: await feedTail(index, tenant) };
    beside.push({ kind: 'put', key, item, if: version === 0 ? 'absent' : { version } });
  }
  await replace(services, routingKeys.rule(tenant, name), known, record, beside);
  return record;
}

/** @throws PacsError NOT_FOUND; PRECONDITION_FAILED */
export async function deleteRule(services: Uses, tenant: Tenant, name: string, expected?: number): Promise<void> {
  const { rules } = await readRouting(services, tenant);
  const known = rules.find((rule) => rule.name === name);
  if (known === undefined) throw new PacsError('NOT_FOUND', 'there is no such rule');
  checkVersion(known, expected);
  await remove(services, routingKeys.rule(tenant, name), known.version);
}

export async function destinationStates(
  { index }: Pick<Uses, 'index'>,
  tenant: Tenant,
): Promise<ReadonlyMap<string, DestinationState>> {
  const { partition } = routingKeys.state(tenant, '');
  const page = await index.query({ partition, limit: 2 * ROUTING_RECORDS });
  return new Map(page.records.map(({ sort, item }) => [sort, asRecord<DestinationState>(item)]));
}

function checkNew(name: string, known: unknown, count: number): void {
  if (!isRoutingName(name)) throw new PacsError('BAD_REQUEST', 'a name must be [a-z0-9][a-z0-9-]{0,62}');
  if (known === undefined && count >= ROUTING_RECORDS)
    throw new PacsError('TOO_LARGE', 'there are too many', { details: { limit: ROUTING_RECORDS } });
}

function checkVersion(known: { readonly version: number } | undefined, expected: number | undefined): void {
  if (expected !== undefined && (known?.version ?? 0) !== expected) throw changed();
}

async function replace(
  { index }: Uses,
  key: Key,
  known: { readonly version: number } | undefined,
  record: object,
  beside: readonly WriteOperation[],
): Promise<void> {
  const outcome = await index.write([
    { kind: 'put', key, item: asItem(record), if: known === undefined ? 'absent' : { version: known.version } },
    ...beside,
  ]);
  if (!outcome.committed) throw changed();
}

async function remove(
  { index }: Uses,
  key: Key,
  version: number,
  beside: readonly WriteOperation[] = [],
): Promise<void> {
  const outcome = await index.write([{ kind: 'delete', key, if: { version } }, ...beside]);
  if (!outcome.committed) throw changed();
}

const changed = (): PacsError => new PacsError('PRECONDITION_FAILED', 'somebody has changed it meanwhile');
