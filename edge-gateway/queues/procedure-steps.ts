import { setTimeout as sleep } from 'node:timers/promises';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { asItem, asRecord } from '#core/archive/records.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { describeError, PacsError } from '#core/errors.ts';
import { newVersion } from '#core/ids.ts';
import type { NoteStep } from '#dimse/services/procedure.ts';
import type { BackgroundWorker, EdgeContext } from '../context.ts';
import { apiRootOf, askApi } from './archive-api.ts';
import { worklistCopy } from './worklist.ts';

/**
 * What modalities said of performed procedure steps, until the archive has heard it. A message is noted in the same atomic write that
 * applies it here, and told to the archive in the order it came, under a key by which the archive counts it once.
 *
 * | record  | partition        | sort                  | holds    |
 * |---------|------------------|-----------------------|----------|
 * | waiting | t|edge-mpps      | {time}|{id}           | Told     |
 * | held    | t|edge-mpps-held | {time}|{id}           | Told: the archive refused it; a person releases it |
 */
interface Told {
  kind: 'create' | 'set';
  /** names the message to the archive */
  id: string;
  SOPInstanceUID: string;
  source: string;
  /** DICOM JSON, deflated */
  dataSet: Uint8Array;
  at: number;
  reason?: string | undefined;
}

export interface HeldStep {
  readonly key: string;
  readonly kind: 'create' | 'set';
  readonly SOPInstanceUID: string;
  readonly source: string;
  readonly at: number;
  readonly reason: string;
}

const TIME_DIGITS = 15;
const LOOK_MS = 500;
const AGAIN_MS = { first: 1_000, most: 60_000 };
const waitingIn = (tenant: string): string => `${tenant}|edge-mpps`;
const heldIn = (tenant: string): string => `${tenant}|edge-mpps-held`;

/** @throws PacsError UNSUPPORTED_SOP_CLASS, BUSY where nobody would ever hear of it */
export const noteStep = (context: EdgeContext): NoteStep => {
  const { services, clock } = context;
  let last = 0;
  return async (tenant, { kind, SOPInstanceUID, dataSet, source }) => {
    const copy = await worklistCopy(context);
    if (copy?.offered === 'no')
      throw new PacsError(
        'UNSUPPORTED_SOP_CLASS',
        'the upstream takes no procedure steps: it is not a Nephos archive',
        {
          details: { status: 0x0122 },
        },
      );
    if (copy === undefined) throw new PacsError('BUSY', 'the upstream has not been reached yet');
    const partition = waitingIn(tenant);
    const page = await services.index.query({ partition, descending: true, limit: 1, keysOnly: true });
    // In order even where the clock was set back.
    last = Math.max(clock.now(), last + 1, Number(page.records[0]?.sort.split('|')[0] ?? 0) + 1);
    const id = newVersion(clock);
    const told: Told = {
      kind,
      id,
      SOPInstanceUID,
      source,
      dataSet: deflateRawSync(JSON.stringify(dataSet)),
      at: clock.now(),
    };
    const sort = `${String(last).padStart(TIME_DIGITS, '0')}|${id}`;
    return [{ kind: 'put', key: { partition, sort }, item: asItem(told) }];
  };
};

/** How many messages the archive has not heard yet, up to a hundred. */
export async function waitingSteps({ services, tenant }: EdgeContext): Promise<number> {
  const page = await services.index.query({ partition: waitingIn(tenant), limit: 100, keysOnly: true });
  return page.records.length;
}

/** Messages that the archive refused, oldest first. */
export async function heldSteps({ services, tenant }: EdgeContext, limit = 100): Promise<HeldStep[]> {
  const page = await services.index.query({ partition: heldIn(tenant), limit });
  return page.records.map(({ sort, item }) => {
    const { kind, SOPInstanceUID, source, at, reason = '' } = asRecord<Told>(item);
    return { key: sort, kind, SOPInstanceUID, source, at, reason };
  });
}

/** Puts what was refused back in its place. @returns how many */
export async function releaseSteps({ services, tenant }: EdgeContext): Promise<number> {
  const partition = heldIn(tenant);
  let released = 0;
  for (;;) {
    const page = await services.index.query({ partition, limit: 50 });
    for (const { sort, item } of page.records)
      await services.index.write([
        { kind: 'delete', key: { partition, sort } },
        { kind: 'put', key: { partition: waitingIn(tenant), sort }, item },
      ]);
    released += page.records.length;
    if (!page.more) return released;
  }
}

/**
 * Tells the archive what waits, one message after the other.
 * @returns how many it has heard
 * @throws PacsError where it cannot be told now: this message and all behind it wait
 */
export async function tellSteps(context: EdgeContext, signal: AbortSignal): Promise<number> {
  const { services, tenant, log } = context;
  const partition = waitingIn(tenant);
  let told = 0;
  while (!signal.aborted) {
    const page = await services.index.query({ partition, limit: 1 });
    const [first] = page.records;
    if (first === undefined) return told;
    const key = { partition, sort: first.sort };
    const message = asRecord<Told>(first.item);
    const refusal = await tell(context, message, signal);
    if (refusal === undefined) {
      await services.index.write([{ kind: 'delete', key }]);
      told++;
      continue;
    }
    log.error('procedure-step-refused', {
      SOPInstanceUID: message.SOPInstanceUID,
      kind: message.kind,
      reason: refusal,
    });
    await services.index.write([
      { kind: 'delete', key },
      {
        kind: 'put',
        key: { partition: heldIn(tenant), sort: first.sort },
        item: asItem({ ...message, reason: refusal }),
      },
    ]);
  }
  return told;
}

/** @returns why the archive will never take it; undefined once it has @throws PacsError where it may later */
async function tell(context: EdgeContext, told: Told, signal: AbortSignal): Promise<string | undefined> {
  const { kind, id, SOPInstanceUID, source } = told;
  const body = JSON.parse(inflateRawSync(told.dataSet).toString()) as DataSet;
  const { status, retryAfterMs } = await askApi(context.upstreams[0]!, {
    method: kind === 'create' ? 'PUT' : 'POST',
    path: `/procedure-steps/${SOPInstanceUID}?source=${encodeURIComponent(source)}`,
    body,
    headers: { 'idempotency-key': id },
    signal,
  });
  if (status >= 200 && status < 300) return undefined;
  const mayWork = status >= 500 || status === 401 || status === 403 || status === 408 || status === 429;
  if (!mayWork) return `the archive answered ${status}`;
  throw new PacsError('BUSY', `the upstream answered ${status}`, { details: { status, retryAfterMs } });
}

/** Tells the archive of procedure steps while the gateway runs. */
export const procedureStepWorker: BackgroundWorker = {
  name: 'procedure-steps',
  async run(context, signal) {
    let failures = 0;
    while (!signal.aborted) {
      let pauseMs = LOOK_MS;
      const [upstream] = context.upstreams;
      if (upstream!.isReachable && apiRootOf(upstream!) !== undefined) {
        try {
          await tellSteps(context, signal);
          failures = 0;
        } catch (error) {
          const asked = error instanceof PacsError ? error.details.retryAfterMs : undefined;
          const backOff = Math.min(AGAIN_MS.most, AGAIN_MS.first * 2 ** Math.min(10, failures++));
          pauseMs = typeof asked === 'number' ? Math.min(AGAIN_MS.most, Math.max(asked, LOOK_MS)) : backOff;
          if (!signal.aborted) context.log.info('procedure-steps-wait', describeError(error));
        }
      }
      await sleep(pauseMs, undefined, { signal }).catch(() => {});
    }
  },
};
