import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs, retryAfterMs } from '#core/backoff.ts';
import { describeError, PacsError } from '#core/errors.ts';
import { asItem } from '#core/ports/index-table.ts';
import { AssociationError } from '#dimse/association.ts';
import { sendStep } from '#dimse/services/procedure-scu.ts';
import { STATUS, statusClass } from '#dimse/status.ts';
import type { BackgroundWorker, EdgeContext } from '../context.ts';
import { NotBefore } from '../not-before.ts';
import { remoteOf } from '../remote.ts';
import { apiRootOf, askApi } from './archive-api.ts';
import { dataSetOf, firstWaiting, holdStep, type Told } from './procedure-steps.ts';

const LOOK_MS = 500;
/** Who cannot be told now is tried again between these times, the longer the more often it failed. */
const AGAIN = { firstMs: 1_000, mostMs: 60_000 };

/**
 * Tells the archive, or the system of an AE title, what waits for it, one message after the other.
 * @throws PacsError where it cannot be told now: this message and all behind it wait
 */
async function tellSteps(context: EdgeContext, destination: string | undefined, signal: AbortSignal): Promise<void> {
  const { services, log } = context;
  while (!signal.aborted) {
    const first = await firstWaiting(context, destination);
    if (first === undefined) return;
    const { key, told } = first;
    const refusal = await (destination === undefined
      ? tellArchive(context, told, signal)
      : tellOther(context, destination, told, async () => {
          await services.index.write([{ kind: 'put', key, item: asItem({ ...told, tried: true }) }]);
        }));
    if (refusal === undefined) await services.index.write([{ kind: 'delete', key }]);
    else {
      const { SOPInstanceUID, kind } = told;
      log.error('procedure-step-refused', { SOPInstanceUID, kind, destination, reason: refusal });
      await holdStep(context, key, told, refusal);
    }
  }
}

/** @returns why the archive will never take it; undefined once it has @throws PacsError where it may later */
async function tellArchive(context: EdgeContext, told: Told, signal: AbortSignal): Promise<string | undefined> {
  const { kind, id, SOPInstanceUID, source } = told;
  const { status, retryAfter } = await askApi(context.upstreams[0]!, {
    method: kind === 'create' ? 'PUT' : 'POST',
    path: `/procedure-steps/${SOPInstanceUID}?source=${encodeURIComponent(source)}`,
    body: dataSetOf(told),
    headers: { 'idempotency-key': id },
    signal,
  });
  if (status >= 200 && status < 300) return undefined;
  const mayWork = status >= 500 || status === 401 || status === 403 || status === 408 || status === 429;
  if (!mayWork) return `the archive answered ${status}`;
  const askedMs = retryAfterMs(retryAfter, context.clock.now());
  throw new PacsError('BUSY', `the upstream answered ${status}`, { details: { status, retryAfterMs: askedMs } });
}

/**
 * By N-CREATE and N-SET. DIMSE has no key that makes a message count once: what was sent before, and comes to a step that exists already,
 * or is over already, has been heard the first time.
 */
async function tellOther(
  context: EdgeContext,
  destination: string,
  told: Told,
  noteTried: () => Promise<void>,
): Promise<string | undefined> {
  const row = context.config.procedureSteps.forwardTo.find(({ aeTitle }) => aeTitle === destination);
  if (row === undefined) throw new PacsError('BUSY', 'the system is no longer configured');
  if (!told.tried) await noteTried();
  let status: number;
  try {
    const report = { kind: told.kind, SOPInstanceUID: told.SOPInstanceUID, dataSet: dataSetOf(told) };
    status = (await sendStep(remoteOf(row), context.config.aeTitle, report)).Status ?? STATUS.processingFailure;
  } catch (cause) {
    if (!(cause instanceof AssociationError)) throw cause;
    throw new PacsError('BUSY', `${destination}: ${cause.message}`, { cause });
  }
  if (['success', 'warning'].includes(statusClass(status))) return undefined;
  if (told.tried && status === (told.kind === 'create' ? STATUS.duplicateInstance : STATUS.processingFailure))
    return undefined;
  if (status === STATUS.resourceLimitation) throw new PacsError('BUSY', `${destination} is out of resources`);
  return `${destination} answered ${status.toString(16).padStart(4, '0')}`;
}

/** How it stands with one of those who are told. */
interface Way {
  telling: Promise<void> | undefined;
  failures: number;
  readonly again: NotBefore;
}

/** Tells who is to know of procedure steps while the gateway runs; who cannot be reached delays no other. */
export const procedureStepWorker: BackgroundWorker = {
  name: 'procedure-steps',
  async run(context, signal) {
    const ways = new Map<string | undefined, Way>();
    while (!signal.aborted) {
      for (const destination of destinationsOf(context)) {
        const way = ways.get(destination) ?? { telling: undefined, failures: 0, again: new NotBefore() };
        ways.set(destination, way);
        if (way.telling === undefined && way.again.left(context.clock.now()) === 0)
          way.telling = tellOrWait(context, destination, way, signal).finally(() => {
            way.telling = undefined;
          });
      }
      await sleep(LOOK_MS, undefined, { signal }).catch(() => {});
    }
    await Promise.all([...ways.values()].map(({ telling }) => telling));
  },
};

function destinationsOf({ config, upstreams: [upstream] }: EdgeContext): (string | undefined)[] {
  const others = config.procedureSteps.forwardTo.map(({ aeTitle }) => aeTitle);
  const isArchive = upstream!.isReachable && apiRootOf(upstream!) !== undefined;
  return [...(isArchive ? [undefined] : []), ...others];
}

async function tellOrWait(
  context: EdgeContext,
  destination: string | undefined,
  way: Way,
  signal: AbortSignal,
): Promise<void> {
  try {
    await tellSteps(context, destination, signal);
    way.failures = 0;
  } catch (error) {
    const asked = error instanceof PacsError ? error.details.retryAfterMs : undefined;
    const backOff = backoffMs(context.clock, ++way.failures, AGAIN);
    const pauseMs = typeof asked === 'number' ? Math.min(AGAIN.mostMs, Math.max(asked, LOOK_MS)) : backOff;
    const now = context.clock.now();
    way.again.set(now, now + pauseMs);
    if (!signal.aborted) context.log.info('procedure-steps-wait', { destination, ...describeError(error) });
  }
}
