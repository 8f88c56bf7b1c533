import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, PacsError } from '#core/errors.ts';
import type { GatewayConfiguration, GatewayQueue, GatewayReport } from '#core/gateways.ts';
import { ConfigError } from '#embedded/config.ts';
import type { BackgroundWorker, EdgeContext } from '../context.ts';
import type { LeftDestination } from '../forward/forwarder.ts';
import { apiRootOf } from '../queues/archive-api.ts';
import { keepSigned, reasonOf } from './remote-configuration.ts';
import { type GatewayStatus, gatewayStatus } from './snapshot.ts';
import { type StatusSide, statusSideOf } from './status-side.ts';

/** While the configuration has no heartbeat, or after one has failed for what is ours (ms). */
const LOOK_MS = 1_000;
const ANSWER_BYTES = 2 * 1024 * 1024;

/** Reports to the archive, and takes the signed configuration that its answer may hold. */
export const heartbeat: BackgroundWorker = {
  name: 'heartbeat',
  async run(context, signal) {
    while (!signal.aborted) {
      const every = context.config.heartbeat?.everySeconds;
      if (every !== undefined) await beat(context, signal);
      await sleep(every === undefined ? LOOK_MS : every * 1000, undefined, { signal }).catch(() => {});
    }
  },
};

/** One report, and what its answer brings. Never throws: a report more or less is no matter. */
export async function beat(context: EdgeContext, signal: AbortSignal): Promise<void> {
  const side = statusSideOf(context);
  let error: string | undefined;
  try {
    error = await report(context, side, signal);
  } catch (thrown) {
    if (signal.aborted) return;
    error = thrown instanceof PacsError ? thrown.message : 'internal error';
    if (!(thrown instanceof PacsError)) context.log.error('heartbeat-failed', describeError(thrown));
  }
  if (error !== undefined && error !== side.report?.error) context.log.info('heartbeat-refused', { reason: error });
  side.report = { at: context.clock.now(), error };
}

/** @returns why it was not taken; undefined: it was */
async function report(context: EdgeContext, side: StatusSide, signal: AbortSignal): Promise<string | undefined> {
  const { id, everySeconds, apiUrl } = context.config.heartbeat!;
  const upstream = context.upstreams[0]!;
  const api = apiUrl?.replace(/\/+$/, '') ?? apiRootOf(upstream);
  if (api === undefined) return 'the first upstream is no Nephos archive: heartbeat.apiUrl must name one';
  const response = await upstream.request({
    method: 'PUT',
    path: `${api}/gateways/${id}`,
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify(reportOf(await gatewayStatus(context), everySeconds)),
    signal,
    probe: true,
  });
  if (response.status !== 200) {
    await response.discard();
    return `the archive answered ${response.status}`;
  }
  const { configuration } = JSON.parse(await response.text(ANSWER_BYTES)) as { configuration?: GatewayConfiguration };
  if (configuration !== undefined) await take(context, side, configuration);
  return undefined;
}

/** Taken, it counts from now on and after every start; refused, the next report tells why. */
async function take(context: EdgeContext, side: StatusSide, given: GatewayConfiguration): Promise<void> {
  const { number } = given;
  const refuse = (reason: string): void => {
    side.configuration = { ...side.configuration, refused: { number, reason } };
    context.log.error('configuration-refused', { number, message: reason });
  };
  const newest = side.newestConfiguration;
  if (!Number.isSafeInteger(number) || typeof given.document !== 'string' || typeof given.signature !== 'string')
    return refuse('it is malformed');
  if (number <= newest) return refuse(`it is not newer than ${newest}`);
  try {
    await side.reload(given);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return refuse(reasonOf(error));
  }
  await keepSigned(context.config.dataDir, given);
  side.configuration = { number };
  side.newestConfiguration = number;
  context.log.info('signed-configuration-taken', { number });
}

/** Of the whole state what the archive's console shows. UIDs of held instances stay here. */
export function reportOf(status: GatewayStatus, everySeconds: number): GatewayReport {
  return {
    version: status.version,
    startedAt: status.startedAt,
    everySeconds,
    aeTitle: status.aeTitle,
    queues: [...status.destinations.map(queueOf), ...status.left.map(leftQueue)],
    disk: {
      freeBytes: status.disk.freeBytes,
      cacheBytes: status.disk.cacheBytes ?? 0,
      daysLeft: status.disk.daysLeft ?? null,
    },
    modalities: status.callers.map(({ aeTitle, lastSeenAt, objects }) => ({ aeTitle, lastSeenAt, objects })),
    configuration: status.configuration,
  };
}

const queueOf = (one: GatewayStatus['destinations'][number]): GatewayQueue => ({
  upstream: one.name,
  link: one.link,
  paused: one.paused,
  waiting: one.pending,
  waitingBytes: one.pendingBytes,
  oldestAt: one.oldestAt ?? null,
  held: one.held,
  ...((one.pause ?? one.upstream.lastError) && {
    lastError: (one.pause?.reason ?? one.upstream.lastError!.message).slice(0, 200),
  }),
});

const leftQueue = ({ name, pending, pendingBytes, oldestAt, held }: LeftDestination): GatewayQueue => ({
  upstream: name,
  link: 'unknown',
  paused: false,
  waiting: pending,
  waitingBytes: pendingBytes,
  oldestAt: oldestAt ?? null,
  held,
  lastError: 'it is no longer configured',
});
