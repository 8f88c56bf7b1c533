import { createHash } from 'node:crypto';
import { confineTo } from '../access/confine.ts';
import { factsOfDataSet } from '../access/rules.ts';
import { Part10Scanner } from '../dicom/scanner.ts';
import type { DataSet, ScannedObject } from '../dicom/types.ts';
import { asPacsError, PacsError } from '../errors.ts';
import { newVersion } from '../ids.ts';
import type { BlobInfo, PutOptions } from '../ports/blob-store.ts';
import { asItem, asRecord } from '../ports/index-table.ts';
import type { Services } from '../services.ts';
import type { BlobGuard } from './commit.ts';
import { holdUpload, settleConflict } from './conflict.ts';
import {
  blobKeyOf,
  blobKeysOf,
  type Description,
  describe,
  type Identity,
  identify,
  prepareInstance,
  uidsOf,
} from './instance.ts';
import { hasBytes } from './missing-bytes.ts';
import { ObjectSource } from './object-source.ts';
import { type HeldRecord, keys, type PendingRecord, type SopClaim, type Tenant } from './records.ts';
import { applyRejectionNote, isRejectionNote } from './reject.ts';
import { checkCanBeOfStudy, filingOf, type SuppliedUIDs, withSupplied } from './supplied-uids.ts';

export interface StoreContext {
  readonly tenant: Tenant;
  /** where the object came from: 'STOW', an AE title; never an address of a person */
  readonly source: string;
  /** archives that it has come through by routing, first to last */
  readonly route?: readonly string[] | undefined;
  /** when given, the object must belong to it */
  readonly StudyInstanceUID?: string | undefined;
  /** what the sender says the object is: when given, it must be that */
  readonly SOPInstanceUID?: string | undefined;
  readonly SOPClassUID?: string | undefined;
  /** lower-case hex the sender has of the object's SHA-256: when given, nothing else is stored */
  readonly sha256?: string | undefined;
  /** the sender sent a data set, and the file meta before it is ours (C-STORE) */
  readonly onlyDataSetSent?: boolean | undefined;
  /** `false`: rejection notes are refused */
  readonly mayReject?: boolean | undefined;
  /** asked once it is known what the object is, before anything of it is kept; refuses by throwing */
  readonly admit?: ((id: Identity) => Promise<Verdict>) | undefined;
}

/** `hold`: it waits in quarantine as sent in by this share link */
export type Verdict = 'store' | { readonly hold: string };

/**
 * `stored`: new, durable, visible. `duplicate`: these very bytes are here already. `replaced`: they took the place of other
 * bytes by policy. `held`: other bytes own the UID; these wait in quarantine. `failed`: nothing was kept.
 */
export type StoreOutcome =
  | {
      readonly kind: 'stored' | 'duplicate' | 'replaced';
      readonly id: Identity;
      readonly sha256: string;
      readonly warnings: readonly string[];
      /** UIDs that it is filed under and does not hold itself */
      readonly supplied: SuppliedUIDs;
    }
  | { readonly kind: 'held'; readonly id: Identity; readonly held: HeldRecord }
  | { readonly kind: 'failed'; readonly id: Partial<Identity>; readonly error: PacsError };

/**
 * Stores one Part 10 object, in one pass and constant memory, in three steps under a version: begin (reserve, invisible), write
 * (blob, SHA-256, frame table), commit (visible, with event and aggregates). Resolves when the outcome would survive losing power.
 *
 * `received` resolves as soon as the body has been read to its end, so that the caller may go on with the next object while
 * this one is being made durable, with the bytes that are held until then; it never rejects. `outcome` rejects with what the body's source throws, and with nothing else.
 */
export function storeObject(
  services: Services,
  context: StoreContext,
  body: AsyncIterable<Uint8Array>,
): { readonly received: Promise<number>; readonly outcome: Promise<StoreOutcome> } {
  const nothingHeld = (): number => 0;
  const { promise: received, resolve: markReceived } = Promise.withResolvers<number>();
  const outcome = store(services, context, body, markReceived);
  return { received: Promise.race([received, outcome.then(nothingHeld, nothingHeld)]), outcome };
}

async function store(
  services: Services,
  context: StoreContext,
  body: AsyncIterable<Uint8Array>,
  markReceived: (heldBytes: number) => void,
): Promise<StoreOutcome> {
  const source = new ObjectSource(body, services.limits.wholeObjectBytes);
  const object = new IncomingObject(services, context);
  try {
    const whole = await source.gather();
    if (whole) {
      markReceived(whole.byteLength);
      return await object.storeWhole(whole);
    }
    return await object.storeStream(source);
  } catch (error) {
    await object.abandon();
    if (source.error !== undefined) throw source.error;
    return { kind: 'failed', id: object.uids, error: asPacsError(error) };
  } finally {
    source.release();
  }
}

const expectedOf = ({ StudyInstanceUID, SOPInstanceUID, SOPClassUID }: StoreContext): Partial<Identity> => ({
  ...(StudyInstanceUID !== undefined && { StudyInstanceUID }),
  ...(SOPInstanceUID !== undefined && { SOPInstanceUID }),
  ...(SOPClassUID !== undefined && { SOPClassUID }),
});

/** One object on its way in: what has been reserved for it, so that a failure can take it back. */
class IncomingObject {
  readonly #services: Services;
  readonly #context: StoreContext;
  readonly #version: string;
  #blobKey: string | undefined;
  #guard: BlobGuard = 'pending';
  /** reserved, and not yet handed to the commit: from there on only the sweeper may tell whether the bytes are needed */
  #revocable = false;
  #verdict: Verdict = 'store';
  #supplied: SuppliedUIDs = [];
  uids: Partial<Identity> = {};

  constructor(services: Services, context: StoreContext) {
    this.#services = services;
    this.#context = context;
    this.#version = newVersion(services.clock);
  }

  async storeWhole(bytes: Uint8Array): Promise<StoreOutcome> {
    const scanner = new Part10Scanner(this.#services.limits);
    scanner.push(bytes);
    let scanned = scanner.end();
    const id = this.#identify(uidsOf(scanned.dataSet), scanned.fileMeta);
    scanned = this.#filed(scanned, id);
    await this.#admit(id);
    await this.#checkRights(scanned.dataSet, id);
    const claim = await this.#claim(id);
    if (claim) {
      // Somebody owns the UID: the hash tells whether there is anything to write at all.
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      if (sha256 === claim.sha256 && (await hasBytes(this.#services, this.#context.tenant, claim, id))) {
        await this.#complete(scanned, id, 'before');
        return { kind: 'duplicate', id, sha256, warnings: scanned.warnings, supplied: this.#supplied };
      }
    }
    const putting = this.#put(id, bytes);
    let description: Description;
    try {
      // The disk works meanwhile: what writes begins with the next microtask.
      await Promise.resolve();
      description = describe(scanned.dataSet, id);
    } finally {
      // Whatever fails: what is being written must have come to an end before it can be taken back.
      await putting.catch(() => {});
    }
    return this.#commit(scanned, id, await putting, description);
  }

  async storeStream(source: ObjectSource): Promise<StoreOutcome> {
    const scanner = new Part10Scanner(this.#services.limits);
    const passed: Uint8Array[] = [];
    for (;;) {
      const chunk = await source.next();
      if (chunk === undefined) break;
      scanner.push(chunk);
      passed.push(chunk);
      this.uids = scanner.identity() ?? {};
      if (this.uids.SOPInstanceUID !== undefined) break;
    }
    if (this.uids.SOPInstanceUID === undefined) this.uids = uidsOf(scanner.end().dataSet);
    const id = this.#identify(this.uids, scanner.fileMeta);
    await this.#admit(id);
    async function* scanningOnTheWay(): AsyncGenerator<Uint8Array> {
      yield* passed.splice(0);
      for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next()) {
        scanner.push(chunk);
        yield chunk;
      }
      scanned = filed(scanner.end());
    }
    const filed = (found: ScannedObject): ScannedObject => this.#filed(found, id);
    let scanned: ScannedObject | undefined;
    const blob = await this.#services.blobs.put(this.#key(id), scanningOnTheWay(), this.#putOptions(id));
    if (!scanned) throw new Error('the blob store did not read the object to its end');
    await this.#checkRights(scanned.dataSet, id);
    return this.#commit(scanned, id, blob);
  }

  /** @throws PacsError UNREADABLE_DATASET, DATASET_MISMATCH, UNSUPPORTED_SOP_CLASS */
  #identify(found: Partial<Identity>, fileMeta: DataSet): Identity {
    const { uids, supplied } = filingOf(found, fileMeta, this.#services.policy.missingUIDs);
    this.uids = uids;
    this.#supplied = supplied;
    checkCanBeOfStudy(uids, fileMeta);
    return identify(uids, expectedOf(this.#context));
  }

  #filed(scanned: ScannedObject, id: Identity): ScannedObject {
    if (this.#supplied.length === 0) return scanned;
    return { ...scanned, dataSet: withSupplied(scanned.dataSet, id, this.#supplied, this.#version) };
  }

  /** Takes back what a failed store left; what this misses (a crash, a commit whose outcome is unknown), the sweeper settles. */
  async abandon(): Promise<void> {
    if (!this.#revocable || this.#blobKey === undefined) return;
    this.#revocable = false;
    try {
      for (const key of blobKeysOf({ blobKey: this.#blobKey })) await this.#services.blobs.delete(key);
      if (this.#guard === 'pending') await this.#end();
      else this.#services.blobs.packed?.settled(this.#blobKey);
    } catch {
      // The store has failed already; the pending record stays and tells the sweeper.
    }
  }

  async #admit(id: Identity): Promise<void> {
    this.#verdict = (await this.#context.admit?.(id)) ?? 'store';
  }

  /**
   * Who is confined stores into his reach: into a study that is in it, or one that would be if this were its first object. Nor may the
   * object's UID be that of one he cannot reach: it would be told apart from it, or hidden by it. A rejection note is for who may reject.
   * @throws PacsError FORBIDDEN
   */
  async #checkRights(dataSet: DataSet, id: Identity): Promise<void> {
    if (this.#context.mayReject === false && isRejectionNote(dataSet))
      throw new PacsError('FORBIDDEN', 'the object is a rejection note, of somebody who may not reject');
    const { reach } = this.#services;
    if (reach === undefined) return;
    const claim = await this.#claim(id);
    const isAdmitted =
      (await reach.admitsAddition(factsOfDataSet(dataSet))) &&
      (claim === undefined ||
        claim.StudyInstanceUID === id.StudyInstanceUID ||
        (await reach.admitsStudy(claim.StudyInstanceUID)));
    if (!isAdmitted) throw new PacsError('FORBIDDEN', 'the object is of no study that may be stored into');
  }

  /** A small object goes beside others, where the store remembers what nobody owns yet; else there is a pending record first. */
  async #put(id: Identity, bytes: Uint8Array): Promise<BlobInfo> {
    const { packed } = this.#services.blobs;
    const { sha256 } = this.#context;
    if (packed === undefined || bytes.length > packed.limitBytes)
      return this.#services.blobs.put(this.#key(id), bytes, this.#putOptions(id));
    const blob = await packed.append(this.#key(id), bytes, sha256 === undefined ? {} : { sha256 });
    this.#blobKey = blob.key;
    this.#guard = 'unsettled';
    this.#revocable = true;
    return blob;
  }

  /** A record speaks of the blob. */
  #owned(): void {
    if (this.#guard === 'unsettled' && this.#blobKey !== undefined) this.#services.blobs.packed?.settled(this.#blobKey);
  }

  async #claim(id: Identity): Promise<SopClaim | undefined> {
    const item = await this.#services.index.get(keys.sop(this.#context.tenant, id.SOPInstanceUID));
    return asRecord<SopClaim>(item);
  }

  #putOptions(id: Identity): PutOptions {
    const { sha256 } = this.#context;
    return { visibleAfter: this.#begin(id), ...(sha256 !== undefined && { sha256 }) };
  }

  #key(id: Identity): string {
    this.#blobKey = blobKeyOf(this.#context.tenant, id, this.#version);
    return this.#blobKey;
  }

  /** The pending record: it stands before the blob does, so that no crash leaves bytes nobody knows. */
  async #begin(id: Identity): Promise<void> {
    this.#revocable = true;
    const pending: PendingRecord = { version: 1, ...id, blobKey: this.#key(id), startedAt: this.#services.clock.now() };
    const key = keys.pending(this.#context.tenant, this.#version);
    await this.#services.index.write([{ kind: 'put', key, item: asItem(pending) }], { durability: 'deferred' });
  }

  async #end(): Promise<void> {
    const key = keys.pending(this.#context.tenant, this.#version);
    await this.#services.index.write([{ kind: 'delete', key }], { durability: 'deferred' });
  }

  /** What follows the commit. Done for duplicates too: the first sender's process may have died right there. */
  async #complete(scanned: ScannedObject, id: Identity, stored: 'now' | 'before'): Promise<void> {
    const { tenant } = this.#context;
    if (stored === 'before') await this.#services.folder.fold(tenant, id.StudyInstanceUID);
    if (!isRejectionNote(scanned.dataSet)) return;
    const confined = confineTo(this.#services, this.#services.reach);
    await applyRejectionNote(confined, tenant, scanned.dataSet, id);
  }

  async #commit(
    scanned: ScannedObject,
    id: Identity,
    blob: { key: string; size: number; sha256: string },
    description = describe(scanned.dataSet, id),
  ): Promise<StoreOutcome> {
    const { tenant, source, route } = this.#context;
    const about = {
      tenant,
      id,
      version: this.#version,
      blobKey: blob.key,
      sizeBytes: blob.size,
      sha256: blob.sha256,
      source,
      ...(route !== undefined && route.length > 0 && { route }),
      suppliedUIDs: this.#supplied,
      storedAt: this.#services.clock.now(),
      guard: this.#guard,
    };
    const prepared = await prepareInstance(this.#services, scanned, about, description);
    const { warnings } = scanned;
    const { sha256 } = blob;
    const supplied = this.#supplied;
    this.#revocable = false;
    if (this.#verdict !== 'store') {
      const settled = await holdUpload(this.#services, prepared, this.#verdict.hold);
      if (settled.kind === 'heldBefore') {
        this.#revocable = true;
        await this.abandon();
      } else if (settled.kind === 'held') this.#owned();
      if ('held' in settled) return { kind: 'held', id, held: settled.held };
    }
    if ((await this.#services.commits.commit(prepared)) === 'committed') {
      this.#owned();
      await this.#complete(scanned, id, 'now');
      return { kind: 'stored', id, sha256, warnings, supplied };
    }
    const { onlyDataSetSent = false } = this.#context;
    const settled = await settleConflict(this.#services, prepared, { onlyDataSetSent });
    switch (settled.kind) {
      case 'duplicate':
        this.#revocable = true;
        await this.abandon();
        await this.#complete(scanned, id, 'before');
        return { kind: 'duplicate', id, sha256, warnings, supplied };
      case 'heldBefore':
        this.#revocable = true;
        await this.abandon();
        return { kind: 'held', id, held: settled.held };
      case 'held':
        this.#owned();
        return { kind: 'held', id, held: settled.held };
      case 'stored':
      case 'replaced':
        this.#owned();
        await this.#complete(scanned, id, 'now');
        return { kind: settled.kind, id, sha256, warnings, supplied };
    }
  }
}
