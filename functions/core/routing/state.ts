import type { Tenant } from '../archive/records.ts';
import { backoffMs } from '../backoff.ts';
import { asItem, asRecord } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import { type DestinationRecord, type DestinationState, routingKeys } from './records.ts';

type Uses = Pick<Services, 'index' | 'clock' | 'limits'>;

const NEW_STATE: DestinationState = { version: 0, failures: 0, pausedUntil: 0 };
/** that something was taken is noted no more often (ms) */
const NOTE_MS = 60_000;

async function stateOf({ index }: Pick<Uses, 'index'>, tenant: Tenant, destination: string): Promise<DestinationState> {
  const item = await index.get(routingKeys.state(tenant, destination));
  return item ? asRecord<DestinationState>(item) : NEW_STATE;
}

/** Until when nothing goes to a destination, and why; undefined: it may be tried. */
export async function pausedState(
  services: Uses,
  tenant: Tenant,
  { name, enabled }: DestinationRecord,
): Promise<{ readonly until: number; readonly problem: DestinationState['problem'] } | undefined> {
  const { clock, limits } = services;
  // Whoever lets it go again has what waits looked at (deliveries.ts).
  if (!enabled) return { until: clock.now() + limits.routingMostRetryMs, problem: undefined };
  const { pausedUntil, problem } = await stateOf(services, tenant, name);
  if (pausedUntil <= clock.now()) return undefined;
  // Not all of them at the same moment.
  const [spread = 0] = clock.randomBytes(1);
  return { until: pausedUntil + spread * 8, problem };
}

/**
 * A destination cannot be sent to: what waits for it is not tried before the time that is returned (ms since 1970). The state is a hint that spares
 * attempts: what is lost of it in a race is learnt by the next one.
 */
export async function noteFailure(
  services: Uses,
  tenant: Tenant,
  destination: string,
  problem: NonNullable<DestinationState['problem']>,
  askedMs: number,
): Promise<number> {
  const { clock, limits } = services;
  const state = await stateOf(services, tenant, destination);
  const failures = state.failures + 1;
  const retry = { firstMs: limits.routingFirstRetryMs, mostMs: limits.routingMostRetryMs };
  const pausedUntil = clock.now() + Math.max(askedMs, backoffMs(clock, failures, retry));
  await put(services, tenant, destination, state, { ...state, failures, pausedUntil, problem });
  return pausedUntil;
}

export async function noteSuccess(
  services: Uses,
  tenant: Tenant,
  destination: string,
  archive: string | undefined,
): Promise<void> {
  const now = services.clock.now();
  const { problem, ...state } = await stateOf(services, tenant, destination);
  const isKnown = archive === undefined || archive === state.archive;
  if (problem === undefined && state.failures === 0 && isKnown && now - (state.sentAt ?? 0) < NOTE_MS) return;
  const next = { ...state, failures: 0, pausedUntil: 0, sentAt: now, ...(archive !== undefined && { archive }) };
  await put(services, tenant, destination, state, next);
}

async function put(
  { index }: Uses,
  tenant: Tenant,
  destination: string,
  before: DestinationState,
  after: DestinationState,
): Promise<void> {
  const version = before.version + 1;
  const condition = before.version === 0 ? ('absent' as const) : { version: before.version };
  const key = routingKeys.state(tenant, destination);
  await index.write([{ kind: 'put', key, item: asItem({ ...after, version }), if: condition }]);
}
