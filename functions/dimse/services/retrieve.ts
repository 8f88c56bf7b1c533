import type { InstanceRecord } from '#core/archive/records.ts';
import { textOf } from '#core/dicom/element-text.ts';
import { transferSyntax } from '#core/dicom/transfer-syntaxes.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { PacsError } from '#core/errors.ts';
import { findInstance, instancesOfSeries, instancesOfStudy } from '#core/retrieve/find.ts';
import { deliveryOf, readDelivery } from '#core/retrieve/objects.ts';
import { coalesce, type Payload, payloadOf } from '#core/retrieve/stream.ts';
import type { Services } from '#core/services.ts';
import type { AcceptedContext } from '../negotiation.ts';
import { dataSetOf } from '../part10.ts';
import { rows } from './find.ts';
import { levelOf, queryOf, TAG, UNIQUE_KEY } from './query.ts';

/** An instance that is known to belong to what was asked for, and cannot be had. */
export interface Unavailable {
  readonly SOPInstanceUID: string;
  readonly unavailable: true;
}

/** A large instance that is on its way here, and may be passed on as it comes. */
export interface Arriving {
  readonly arriving: true;
  readonly StudyInstanceUID: string;
  readonly SOPInstanceUID: string;
  readonly SOPClassUID: string;
  readonly transferSyntaxUID: string;
  /** its data set, once, for who reads it at once; undefined: too late, it is to be read when it is here */
  readonly take: () => AsyncIterable<Uint8Array> | undefined;
  /** it is here, or could not be had */
  readonly stored: Promise<InstanceRecord | Unavailable>;
}

/** What becomes one sub-operation. */
export type Selected = InstanceRecord | Unavailable | Arriving;

/** The instances that an identifier of C-MOVE or C-GET names, as often as they are asked for. */
export interface Selection {
  readonly instances: () => AsyncIterable<Selected>;
  readonly count: number;
  /** transfer syntaxes by SOP class, of all instances */
  readonly encodings: ReadonlyMap<string, ReadonlySet<string>>;
}

/** A selection of what is in the archive itself. */
export interface LocalSelection extends Selection {
  readonly instances: () => AsyncIterable<InstanceRecord>;
}

/** Finds what is to be sent; `signal` aborts when the operation is cancelled. @throws PacsError as `select` */
export type SelectInstances = (
  tenant: string,
  identifier: DataSet,
  SOPClassUID: string,
  signal: AbortSignal,
  /** confined to who asks */
  confined: Services,
  /** Priority (0000,0700) of the request */
  priority: number | undefined,
) => Promise<Selection>;

const UID_KEYS: ReadonlySet<string> = new Set(Object.values(UNIQUE_KEY));

/**
 * Only unique keys count; that of the level asked for must be there, so that nobody retrieves the whole archive by an empty one.
 * @throws PacsError DATASET_MISMATCH (A900)
 */
export async function select(
  services: Services,
  tenant: string,
  identifier: DataSet,
  SOPClassUID: string,
): Promise<LocalSelection> {
  const level = levelOf(identifier, SOPClassUID);
  const key = textOf(identifier[UNIQUE_KEY[level]]);
  if (key === '' || /[*?]/.test(key))
    throw new PacsError('DATASET_MISMATCH', 'the identifier lacks the unique key of its level');
  const query = queryOf(identifier, level, services.limits, { fuzzy: false, only: UID_KEYS });

  async function* instances(): AsyncGenerator<InstanceRecord> {
    for await (const match of rows(services, tenant, query)) {
      if (match === 'cut') throw new PacsError('BUSY', 'too many matches');
      const uid = (tag: string): string => textOf(match.element(tag));
      const study = uid(TAG.StudyInstanceUID);
      const series = uid(TAG.SeriesInstanceUID);
      try {
        if (level === 'IMAGE') yield await findInstance(services, tenant, study, series, uid(TAG.SOPInstanceUID));
        else if (level === 'SERIES') yield* instancesOfSeries(services, tenant, study, series);
        else yield* instancesOfStudy(services, tenant, study);
      } catch (error) {
        // Removed between the search and now: it is not there to be sent.
        if (!(error instanceof PacsError) || error.code !== 'NOT_FOUND') throw error;
      }
    }
  }

  let count = 0;
  const encodings = new Map<string, Set<string>>();
  for await (const { SOPClassUID: sopClass, transferSyntaxUID } of instances()) {
    count++;
    const known = encodings.get(sopClass);
    if (known === undefined) encodings.set(sopClass, new Set([transferSyntaxUID]));
    else known.add(transferSyntaxUID);
  }
  return { instances, count, encodings };
}

/** An object ready to be sent: over which context, and its data set in that context's syntax. */
export interface Outgoing {
  readonly instance: Selected;
  readonly context: AcceptedContext | undefined;
  /** rejects where the object cannot be read or converted; undefined without a context */
  readonly dataSet: Promise<Payload> | undefined;
  /** of an object that is still arriving, in place of `dataSet`: to be called when it is its turn */
  readonly open?: () => Promise<Payload>;
}

/** One that arrives in a syntax that a context takes is passed on as it comes; any other when it is here. */
export async function prepareArriving(
  services: Services,
  arriving: Arriving,
  contexts: readonly AcceptedContext[],
): Promise<Outgoing> {
  const { SOPClassUID, transferSyntaxUID, take, stored } = arriving;
  const context = contexts.find(
    (one) => one.abstractSyntax === SOPClassUID && one.transferSyntax === transferSyntaxUID,
  );
  if (context === undefined) return prepare(services, await stored, contexts);
  const open = async (): Promise<Payload> => {
    const passed = take();
    if (passed !== undefined) return payloadOf(coalesce(passed));
    const instance = await stored;
    if ('unavailable' in instance || instance.transferSyntaxUID !== transferSyntaxUID)
      throw new PacsError('NOT_FOUND', 'the object did not arrive');
    return payloadOf(readStored(services, instance));
  };
  return { instance: arriving, context, dataSet: undefined, open };
}

/** As stored where one of the contexts takes that; else converted to what one of them does. */
export function prepare(
  services: Services,
  instance: InstanceRecord | Unavailable,
  contexts: readonly AcceptedContext[],
): Outgoing {
  if ('unavailable' in instance) return { instance, context: undefined, dataSet: undefined };
  const fitting = contexts.filter(({ abstractSyntax }) => abstractSyntax === instance.SOPClassUID);
  const asStored = fitting.find((context) => context.transferSyntax === instance.transferSyntaxUID);
  if (asStored !== undefined) {
    return { instance, context: asStored, dataSet: started(payloadOf(readStored(services, instance))) };
  }
  // What loses nothing first, and what costs least to make.
  const ranked = fitting.toSorted((a, b) => cost(a.transferSyntax) - cost(b.transferSyntax));
  for (const context of ranked) {
    const delivery = deliveryOf(services, instance, context.transferSyntax);
    if (delivery === undefined || delivery.transferSyntaxUID !== context.transferSyntax) continue;
    const object = readDelivery(services, delivery, { offset: 0, length: instance.sizeBytes });
    if (object instanceof Promise) continue;
    return { instance, context, dataSet: started(payloadOf(coalesce(dataSetOf(object)))) };
  }
  return { instance, context: undefined, dataSet: undefined };
}

const cost = (uid: string): number => {
  const { lossy, encapsulated, deflated, littleEndian } = transferSyntax(uid);
  return (lossy ? 4 : 0) + (encapsulated ? 2 : 0) + (deflated || !littleEndian ? 1 : 0);
};

/** An object that fits in one read is read in one. */
const WHOLE_BYTES = 1024 * 1024;

function readStored(
  { blobs }: Services,
  { blobKey, dataSetOffset, sizeBytes }: InstanceRecord,
): Promise<Uint8Array> | AsyncIterable<Uint8Array> {
  const range = { offset: dataSetOffset, length: sizeBytes - dataSetOffset };
  return range.length <= WHOLE_BYTES ? blobs.readBytes(blobKey, range) : blobs.read(blobKey, range);
}

/** Awaited in its turn; until then a failure must not count as unhandled. */
function started<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
