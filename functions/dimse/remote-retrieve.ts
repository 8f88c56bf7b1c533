import { once } from 'node:events';
import { storeObject } from '#core/archive/store.ts';
import { textOf } from '#core/dicom/element-text.ts';
import { STORAGE_SOP_CLASSES } from '#core/dicom/sop-classes.ts';
import type { DataSet } from '#core/dicom/types.ts';
import { ERRORS } from '#core/errors.ts';
import type { Services } from '#core/services.ts';
import { AssociationError, type Timers } from './association.ts';
import { COMMAND } from './command-set.ts';
import { STORAGE_SYNTAXES, UNCOMPRESSED } from './negotiation.ts';
import { part10Header } from './part10.ts';
import type { ProposedContext } from './pdu.ts';
import { identifierFor, inventory, type KnownInstance, MODELS, type Root } from './remote-query.ts';
import { associate, contextOf, proposing, type RemoteEntity, type RetrieveReport, sendRetrieve } from './scu.ts';
import { createDimseServer } from './server.ts';
import { echo } from './services/echo.ts';
import type { Service, ServiceTable } from './session.ts';
import { STATUS } from './status.ts';

/** An object on its way in: a Part 10 object whose data set has the bytes that were sent. */
export interface ArrivingObject {
  readonly SOPClassUID: string;
  readonly SOPInstanceUID: string;
  readonly transferSyntaxUID: string;
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** Where retrieved objects go. @returns the status of PS3.4 B.2.3, when the object would survive losing power */
export type ObjectSink = (object: ArrivingObject) => Promise<number>;

/** Stores what arrives; with a study given, nothing but what belongs to it. */
export const archiveSink =
  (
    services: Services,
    context: { readonly tenant: string; readonly source: string; readonly StudyInstanceUID?: string },
  ): ObjectSink =>
  async ({ SOPClassUID, SOPInstanceUID, bytes }) => {
    const result = await storeObject(services, { ...context, SOPClassUID, SOPInstanceUID }, bytes).outcome;
    if (result.kind === 'failed') return result.error.row.dimse;
    return result.kind === 'held' ? ERRORS.CONFLICT.dimse : STATUS.success;
  };

/** Where a peer that is asked to C-MOVE to us finds us: it must know our AE title under this address. */
export interface Receiver {
  readonly bind: string;
  readonly port: number;
  /** the AE titles that may send; the peer's own where absent */
  readonly senders?: readonly string[];
}

export interface RetrieveOptions {
  readonly callingAETitle: string;
  readonly root?: Root;
  readonly timers?: Timers | undefined;
  /** by C-MOVE to this; C-GET without it */
  readonly receiver?: Receiver | undefined;
  readonly cancel?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Sub-operations so far; numbers are undefined where the peer does not tell. */
export interface Progress extends Pick<RetrieveReport, 'remaining' | 'completed' | 'failed' | 'warning'> {
  /** objects that have been stored here */
  readonly arrived: number;
}

export interface Retrieved extends RetrieveReport {
  /** distinct instances that have been stored here */
  readonly arrived: number;
  /** instances that the peer has by its own word; undefined where it would not say */
  readonly expected: number | undefined;
  /** of those, the ones that did not arrive */
  readonly missing: readonly string[];
}

/**
 * Gets a whole study from another PACS into the archive: by C-GET, or by C-MOVE to a receiver. What the archive has already stays as it is.
 * @throws AssociationError where the peer cannot be reached, or offers no such retrieval
 */
export const retrieveStudy = (
  remote: RemoteEntity,
  StudyInstanceUID: string,
  into: { readonly services: Services; readonly tenant: string },
  options: RetrieveOptions,
): Promise<Retrieved> => {
  const { services, tenant } = into;
  const sink = archiveSink(services, { tenant, source: remote.aeTitle, StudyInstanceUID });
  return retrieve(remote, identifierFor('STUDY', [['StudyInstanceUID', StudyInstanceUID]]), sink, options);
};

/** Gets what an identifier names. @throws AssociationError */
export async function retrieve(
  remote: RemoteEntity,
  identifier: DataSet,
  sink: ObjectSink,
  options: RetrieveOptions,
): Promise<Retrieved> {
  const known = await askInventory(remote, identifier, options);
  const arrived = new Set<string>();
  const last: { -readonly [K in keyof Progress]: Progress[K] } = {
    remaining: undefined,
    completed: undefined,
    failed: undefined,
    warning: undefined,
    arrived: 0,
  };
  const tell = (): void => options.onProgress?.({ ...last, arrived: arrived.size });
  const store = receiving(options.callingAETitle, async (object) => {
    const status = await sink(object);
    if (status === STATUS.success) arrived.add(object.SOPInstanceUID);
    tell();
    return status;
  });
  const onPending = ({ remaining, completed, failed, warning }: RetrieveReport): void => {
    Object.assign(last, { remaining, completed, failed, warning });
    tell();
  };
  const report =
    options.receiver === undefined
      ? await byGet(remote, identifier, known, store, options, onPending)
      : await byMove(remote, identifier, options.receiver, store, options, onPending);
  const missing = (known ?? []).map(({ SOPInstanceUID }) => SOPInstanceUID).filter((uid) => !arrived.has(uid));
  return { ...report, arrived: arrived.size, expected: known?.length, missing };
}

/** undefined where the peer answers no queries: it can be retrieved from all the same. */
async function askInventory(
  remote: RemoteEntity,
  identifier: DataSet,
  { callingAETitle, root = 'study', timers }: RetrieveOptions,
): Promise<KnownInstance[] | undefined> {
  const contexts = proposing([MODELS[root].find, UNCOMPRESSED.slice(0, 2)]);
  const session = await associate(remote, { callingAETitle, contexts, timers });
  try {
    contextOf(session, MODELS[root].find);
    return await inventory(session, root, identifier);
  } catch (error) {
    if (error instanceof AssociationError && error.kind !== 'rejected') throw error;
    return undefined;
  } finally {
    await session.release();
  }
}

async function byGet(
  remote: RemoteEntity,
  identifier: DataSet,
  known: readonly KnownInstance[] | undefined,
  store: Service,
  { callingAETitle, root = 'study', timers, cancel }: RetrieveOptions,
  onPending: (report: RetrieveReport) => void,
): Promise<RetrieveReport> {
  const model = MODELS[root].get;
  const classes = classesOf(known);
  const session = await associate(remote, {
    callingAETitle,
    contexts: contextsForGet(model, classes),
    user: { roles: classes.map((SOPClassUID) => ({ SOPClassUID, scu: false, scp: true })) },
    services: new Map([[COMMAND.cStore, store]]),
    timers,
  });
  try {
    return await sendRetrieve(session, model, identifier, { onPending, ...(cancel && { cancel }) });
  } finally {
    await session.release();
  }
}

async function byMove(
  remote: RemoteEntity,
  identifier: DataSet,
  receiver: Receiver,
  store: Service,
  { callingAETitle, root = 'study', timers, cancel }: RetrieveOptions,
  onPending: (report: RetrieveReport) => void,
): Promise<RetrieveReport> {
  const model = MODELS[root].move;
  const services: ServiceTable = new Map([
    [COMMAND.cEcho, echo],
    [COMMAND.cStore, store],
  ]);
  const listener = createDimseServer({
    aeTitle: callingAETitle,
    checkCalledAETitle: true,
    allowed: (receiver.senders ?? [remote.aeTitle]).map((aeTitle) => ({ aeTitle })),
    maxAssociations: RECEIVING_ASSOCIATIONS,
    policy: { acceptUnknownSopClasses: true, services: new Set() },
    services,
    timers,
  });
  listener.server.listen(receiver.port, receiver.bind);
  await once(listener.server, 'listening');
  try {
    const contexts = proposing([model, UNCOMPRESSED.slice(0, 2)]);
    const session = await associate(remote, { callingAETitle, contexts, timers });
    try {
      const destination = callingAETitle;
      return await sendRetrieve(session, model, identifier, { destination, onPending, ...(cancel && { cancel }) });
    } finally {
      await session.release();
    }
  } finally {
    await listener.close(CLOSE_MS);
  }
}

const RECEIVING_ASSOCIATIONS = 16;
/** How long senders may go on when the C-MOVE has got its final response (ms). */
const CLOSE_MS = 5_000;

/**
 * C-STORE sub-operations. Of a C-MOVE that somebody else asked for, nothing is taken. Some PACS (pynetdicom's among them) name
 * themselves as the originator: that says nothing of who asked.
 */
const receiving =
  (callingAETitle: string, sink: ObjectSink): Service =>
  async ({ session, context, command, dataSet, respond }) => {
    const { AffectedSOPInstanceUID: SOPInstanceUID, MoveOriginatorApplicationEntityTitle: originator } = command;
    if (originator !== undefined && originator !== callingAETitle && originator !== session.callingAETitle) {
      await respond({ Status: ERRORS.FORBIDDEN.dimse, ErrorComment: 'nobody here has asked for this' });
      return;
    }
    if (dataSet === undefined || SOPInstanceUID === undefined) {
      await respond({ Status: STATUS.unableToProcess, ErrorComment: 'no data set, or no AffectedSOPInstanceUID' });
      return;
    }
    const SOPClassUID = command.AffectedSOPClassUID ?? context.abstractSyntax;
    const transferSyntaxUID = context.transferSyntax;
    async function* bytes(): AsyncGenerator<Uint8Array> {
      yield part10Header(SOPClassUID, SOPInstanceUID!, transferSyntaxUID);
      yield* dataSet!;
    }
    await respond({ Status: await sink({ SOPClassUID, SOPInstanceUID, transferSyntaxUID, bytes: bytes() }) });
  };

/** PS3.8 §7.1.1.13: 128 ids, of which one is the query's */
const STORAGE_CONTEXTS = 127;
/** Classes that are proposed when the peer does not tell which ones it has: two contexts for each. */
const GUESSED_CLASSES = 60;

function classesOf(known: readonly KnownInstance[] | undefined): string[] {
  const told = new Set((known ?? []).map(({ SOPClassUID }) => SOPClassUID));
  const guess = known === undefined || known.length === 0 || told.delete('');
  if (!guess) return [...told].slice(0, STORAGE_CONTEXTS);
  const others = [...STORAGE_SOP_CLASSES.values()].filter(({ UID, retired }) => !retired && !told.has(UID));
  // What can be shown first: with a hundred and fifty classes there are not contexts enough for all.
  const ranked = [...others.filter(({ isImage }) => isImage), ...others.filter(({ isImage }) => !isImage)];
  return [...told, ...ranked.map(({ UID }) => UID)].slice(0, GUESSED_CLASSES);
}

/** Each syntax in a context of its own while ids last, so that objects come as they are stored; the rest share the last one. */
function contextsForGet(model: string, classes: readonly string[]): ProposedContext[] {
  const each = Math.max(1, Math.floor(STORAGE_CONTEXTS / Math.max(1, classes.length)));
  const single = STORAGE_SYNTAXES_BY_USE.slice(0, each - 1);
  const shared = STORAGE_SYNTAXES_BY_USE.slice(each - 1, each - 1 + SYNTAXES_OF_A_CONTEXT);
  const ofClass = (uid: string): (readonly [string, readonly string[]])[] => [
    ...single.map((syntax) => [uid, [syntax]] as const),
    ...(shared.length > 0 ? [[uid, shared] as const] : []),
  ];
  return proposing([model, UNCOMPRESSED.slice(0, 2)], ...classes.flatMap(ofClass));
}

/** DCMTK ends an association that proposes more. */
const SYNTAXES_OF_A_CONTEXT = 50;

/** What archives hold most of stands first. */
const COMMON = ['.1', '', '.4.70', '.4.90', '.4.50', '.4.80', '.5', '.4.91', '.4.57', '.4.51', '.4.201', '.4.202'].map(
  (suffix) => `1.2.840.10008.1.2${suffix}`,
);
const STORAGE_SYNTAXES_BY_USE = [...COMMON, ...STORAGE_SYNTAXES.filter((uid) => !COMMON.includes(uid))];

/** Did all arrive? */
export const isComplete = ({ status, missing, failed }: Retrieved): boolean =>
  status === STATUS.success && missing.length === 0 && (failed ?? 0) === 0;

/** The study that an identifier is confined to, if to one. */
export const studyOf = (identifier: DataSet): string | undefined => {
  const text = textOf(identifier['0020000D']);
  return text === '' || text.includes('\\') ? undefined : text;
};
