import { ConfigError } from '#embedded/config.ts';
import program from '#package' with { type: 'json' };
import type { EdgeContext } from '../context.ts';
import { readIdentity } from '../enrolment/identity.ts';
import type { DestinationStatus, HeldInstance, LeftDestination } from '../forward/forwarder.ts';
import { switchesOf } from '../forward/switches.ts';
import { type OwedStatus, owedStatus } from '../queues/owed.ts';
import { type HeldStep, heldSteps, waitingStepsOfAll } from '../queues/procedure-steps.ts';
import { worklistStatus } from '../queues/worklist.ts';
import type { Inventory } from '../read/inventory.ts';
import { readSideOf } from '../read/read-side.ts';
import type { CallerActivity } from './activity.ts';
import { type Conflicts, conflictsOf } from './conflicts.ts';
import type { SendRate } from './rates.ts';
import { statusSideOf } from './status-side.ts';

const VERSION: string = program.version;

/** The state of the gateway at one moment, for a person, for Prometheus and for the archive. Times are ms since 1970. */
export interface GatewayStatus {
  readonly version: string;
  /** under which it reports to the archive */
  readonly id: string | undefined;
  readonly aeTitle: string;
  /** what it is to the archive that it enrolled with; undefined: it shows itself otherwise */
  readonly identity: GatewayIdentity | undefined;
  readonly at: number;
  readonly startedAt: number;
  readonly associations: number;
  /** instances that are stored here and that no destination's queue has yet (counted up to a hundred) */
  readonly untaken: number;
  readonly destinations: readonly DestinationState[];
  /** no longer configured, and waited for */
  readonly left: readonly LeftDestination[];
  /** other bytes under a UID that is taken: a person has to decide */
  readonly conflicts: Conflicts;
  readonly disk: DiskState;
  /** the last time that the archives were asked for all that is here; undefined: not since the start */
  readonly inventory: Inventory | undefined;
  readonly worklist: {
    readonly state: 'current' | 'stale' | 'none' | 'off';
    readonly ageMs?: number;
    readonly reason?: string;
  };
  /** messages of MPPS that the archive has not heard yet (counted up to a hundred), and those that it refused */
  readonly procedureSteps: { readonly waiting: number; readonly held: readonly HeldStep[] };
  /** what others in the hospital are still to be told */
  readonly owed: OwedStatus;
  /** who has called, the latest first */
  readonly callers: readonly CallerActivity[];
  readonly report: { readonly at: number; readonly error: string | undefined } | undefined;
  readonly configuration: {
    readonly number: number | null;
    readonly refused?: { readonly number: number; readonly reason: string } | undefined;
  };
}

export interface GatewayIdentity {
  readonly clientId: string;
  readonly archive: string;
  readonly enrolledAt: number;
  /** why the archive gives it no token; undefined: it does, or has not been asked */
  readonly refusal: string | undefined;
}

export interface DestinationState extends DestinationStatus {
  readonly link: 'online' | 'offline' | 'unknown';
  readonly paused: boolean;
  readonly sendNowUntil: number | undefined;
  readonly rate: SendRate;
  /** the first ones of those that are held, with why */
  readonly heldInstances: readonly HeldInstance[];
}

export interface DiskState {
  readonly freeBytes: number;
  readonly reserveBytes: number;
  /** new objects are refused (A700): less than the reserve is free */
  readonly refusing: boolean;
  /** of all that is here, what waits included; undefined: not counted yet */
  readonly cacheBytes: number | undefined;
  readonly cacheStudies: number | undefined;
  readonly maxCacheBytes: number;
  /** that come in, of late */
  readonly bytesPerDay: number;
  /** for how long what comes in has room while nothing goes out; undefined: nothing comes in */
  readonly daysLeft: number | undefined;
}

const LISTED_HELD = 100;

export async function gatewayStatus(context: EdgeContext): Promise<GatewayStatus> {
  const { config, clock } = context;
  const side = statusSideOf(context);
  // Counted first: what is taken in meanwhile is counted twice, never not at all.
  const untaken = await context.forwarder.untaken();
  const destinations = await Promise.all(
    (await context.forwarder.status()).map((one) => destinationState(context, one)),
  );
  const left = await context.forwarder.left();
  const waitingBytes = Math.max(
    0,
    ...[...destinations, ...left].map(({ pendingBytes, heldBytes }) => pendingBytes + heldBytes),
  );
  return {
    version: VERSION,
    id: config.heartbeat?.id,
    aeTitle: config.aeTitle,
    identity: identityOf(context),
    at: clock.now(),
    startedAt: side.startedAt,
    associations: side.associations(),
    untaken,
    destinations,
    left,
    conflicts: await conflictsOf(context),
    disk: await diskState(context, waitingBytes),
    inventory: readSideOf(context).inventory,
    worklist: await worklistStatus(context),
    procedureSteps: { waiting: await waitingStepsOfAll(context), held: await heldSteps(context, LISTED_HELD) },
    owed: await owedStatus(context),
    callers: side.activity.callers,
    report: side.report,
    configuration: side.configuration,
  };
}

function identityOf({ upstreams, config }: EdgeContext): GatewayIdentity | undefined {
  const upstream = upstreams.find((one) => one.config.auth?.enrolled);
  if (upstream === undefined) return undefined;
  const { refusal } = upstream.state;
  try {
    const { clientId, archive, enrolledAt } = readIdentity(config.dataDir) ?? NOT_ENROLLED;
    return { clientId, archive, enrolledAt, refusal };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { ...NOT_ENROLLED, refusal: error.message };
  }
}

const NOT_ENROLLED = { clientId: '', archive: '', enrolledAt: 0 };

async function destinationState(context: EdgeContext, status: DestinationStatus): Promise<DestinationState> {
  const { paused, sendNowUntil } = await switchesOf(context).of(status.name);
  const { online } = status.upstream;
  return {
    ...status,
    link: online === undefined ? 'unknown' : online ? 'online' : 'offline',
    paused,
    sendNowUntil: sendNowUntil !== undefined && sendNowUntil > context.clock.now() ? sendNowUntil : undefined,
    rate: statusSideOf(context).rates.of(status.name),
    heldInstances: status.held === 0 ? [] : await context.forwarder.held(status.name, LISTED_HELD),
  };
}

async function diskState(context: EdgeContext, waitingBytes: number): Promise<DiskState> {
  const { freeBytes, reserveBytes, refusing } = await context.disk.state();
  const { cache } = readSideOf(context);
  const { bytesPerDay } = statusSideOf(context).activity;
  // What was confirmed upstream long ago gives way when room is needed, also while nothing upstream answers.
  const givesWay = Math.max(0, Math.min((cache?.bytes ?? 0) - waitingBytes, cache?.oldBytes ?? 0));
  const roomBytes = Math.max(0, freeBytes - reserveBytes) + givesWay;
  return {
    freeBytes,
    reserveBytes,
    refusing,
    cacheBytes: cache?.bytes,
    cacheStudies: cache?.studies,
    maxCacheBytes: context.config.cache.maxBytes,
    bytesPerDay,
    daysLeft: bytesPerDay > 0 ? roomBytes / bytesPerDay : undefined,
  };
}
