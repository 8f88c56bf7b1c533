import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { DataSet } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import { newVersion } from '#core/ids.ts';
import { asItem, asRecord, type Key, type WriteOperation } from '#core/ports/index-table.ts';
import type { NoteStep } from '#dimse/services/procedure.ts';
import type { EdgeContext } from '../context.ts';
import { worklistCopy } from './worklist.ts';

/**
 * What modalities said of performed procedure steps, until those who are to know have heard it: the archive upstream, and the systems of
 * `procedureSteps.forwardTo`. A message is noted for each of them in the same atomic write that applies it here, and told in the order it
 * came; to the archive under a key by which that counts it once.
 *
 * | record  | partition          | sort        | holds                                                           |
 * |---------|--------------------|-------------|-----------------------------------------------------------------|
 * | waiting | t|edge-mpps        | {time}|{id} | Told, for the archive                                           |
 * | waiting | t|edge-mpps|{AE}   | {time}|{id} | Told, for another system                                        |
 * | held    | t|edge-mpps-held   | {time}|{id} | Told: it was refused for good; a person releases it             |
 */
export interface Told {
  kind: 'create' | 'set';
  /** AE title of whom it is for; absent: the archive */
  destination?: string | undefined;
  /** it has been sent before, and what became of that is not known */
  tried?: boolean | undefined;
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
  /** absent: the archive */
  readonly destination?: string | undefined;
  readonly kind: 'create' | 'set';
  readonly SOPInstanceUID: string;
  readonly source: string;
  readonly at: number;
  readonly reason: string;
}

const TIME_DIGITS = 15;
const waitingIn = (tenant: string, destination: string | undefined): string =>
  destination === undefined ? `${tenant}|edge-mpps` : `${tenant}|edge-mpps|${destination}`;
const heldIn = (tenant: string): string => `${tenant}|edge-mpps-held`;

/** @throws PacsError UNSUPPORTED_SOP_CLASS, BUSY where nobody would ever hear of it */
export const noteStep = (context: EdgeContext): NoteStep => {
  const { services, clock } = context;
  let last = 0;
  return async (tenant, { kind, SOPInstanceUID, dataSet, source }) => {
    const copy = await worklistCopy(context);
    const others = context.config.procedureSteps.forwardTo.map(({ aeTitle }) => aeTitle);
    if (copy?.offered === 'no' && others.length === 0)
      throw new PacsError(
        'UNSUPPORTED_SOP_CLASS',
        'the upstream takes no procedure steps: it is not a Nephos archive',
        {
          details: { status: 0x0122 },
        },
      );
    if (copy === undefined) throw new PacsError('BUSY', 'the upstream has not been reached yet');
    const destinations = [...(copy.offered === 'no' ? [] : [undefined]), ...others];
    const partitions = destinations.map((destination) => waitingIn(tenant, destination));
    const newest = await Promise.all(
      partitions.map((partition) =>
        services.index.query({ partition, descending: true, limit: 1, keysOnly: true }).then(({ records }) => records),
      ),
    );
    // In order even where the clock was set back.
    const before = newest.flat().map(({ sort }) => Number(sort.split('|')[0]));
    last = Math.max(clock.now(), last + 1, ...before.map((time) => time + 1));
    const body = deflateRawSync(JSON.stringify(dataSet));
    return destinations.map((destination, i): WriteOperation => {
      const id = newVersion(clock);
      const told: Told = { kind, id, destination, SOPInstanceUID, source, dataSet: body, at: clock.now() };
      const sort = `${String(last).padStart(TIME_DIGITS, '0')}|${id}`;
      return { kind: 'put', key: { partition: partitions[i]!, sort }, item: asItem(told) };
    });
  };
};

const COUNTED = 100;

/** How many messages the archive, or another system, has not heard yet, up to a hundred. */
export async function waitingSteps({ services, tenant }: EdgeContext, destination?: string): Promise<number> {
  const partition = waitingIn(tenant, destination);
  const page = await services.index.query({ partition, limit: COUNTED, keysOnly: true });
  return page.records.length;
}

/** Of all who are to know. */
export async function waitingStepsOfAll(context: EdgeContext): Promise<number> {
  const others = context.config.procedureSteps.forwardTo.map(({ aeTitle }) => waitingSteps(context, aeTitle));
  const counts = await Promise.all([waitingSteps(context), ...others]);
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Messages that were refused, oldest first. */
export async function heldSteps({ services, tenant }: EdgeContext, limit = COUNTED): Promise<HeldStep[]> {
  const page = await services.index.query({ partition: heldIn(tenant), limit });
  return page.records.map(({ sort, item }) => {
    const { kind, destination, SOPInstanceUID, source, at, reason = '' } = asRecord<Told>(item);
    return { key: sort, destination, kind, SOPInstanceUID, source, at, reason };
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
        { kind: 'put', key: { partition: waitingIn(tenant, asRecord<Told>(item).destination), sort }, item },
      ]);
    released += page.records.length;
    if (!page.more) return released;
  }
}

/** The oldest message that somebody has not heard, and where it stands. */
export async function firstWaiting(
  { services, tenant }: EdgeContext,
  destination: string | undefined,
): Promise<{ readonly key: Key; readonly told: Told } | undefined> {
  const partition = waitingIn(tenant, destination);
  const { records } = await services.index.query({ partition, limit: 1 });
  const [first] = records;
  return first && { key: { partition, sort: first.sort }, told: asRecord<Told>(first.item) };
}

/** Sets a message aside that was refused for good. */
export async function holdStep({ services, tenant }: EdgeContext, key: Key, told: Told, reason: string): Promise<void> {
  await services.index.write([
    { kind: 'delete', key },
    { kind: 'put', key: { partition: heldIn(tenant), sort: key.sort }, item: asItem({ ...told, reason }) },
  ]);
}

/** What a modality said, as it said it. */
export const dataSetOf = ({ dataSet }: Told): DataSet => JSON.parse(inflateRawSync(dataSet).toString()) as DataSet;
