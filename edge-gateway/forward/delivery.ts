import { keptInstance } from '#core/archive/trashed.ts';
import { backoffMs, retryAfterMs } from '#core/backoff.ts';
import { PacsError } from '#core/errors.ts';
import type { Evidence } from '../config.ts';
import type { EdgeContext } from '../context.ts';
import type { Upstream, UpstreamResponse } from '../upstream.ts';
import type { BandwidthLimiter } from './bandwidth.ts';
import type { Capabilities } from './capabilities.ts';
import { asReceived, compressed } from './compression.ts';
import { askDigest, type Finding, retrieveAndCompare } from './examine.ts';
import { inParallel } from './parallel.ts';
import { inPieces, UnreadableHere, wholeObject } from './pieces.ts';
import type { DestinationQueue, Transition, Waiting } from './queue.ts';
import { type ForwardRecord, STAT_PREFIX } from './records.ts';
import { storeByTransaction } from './store-transaction.ts';
import { isForNow, type Parcel, refusalInWords, storeRequest, type Verdict, verdictsIn } from './stow.ts';

/** What an attempt came to, for who paces them. */
export type Delivered =
  | { readonly kind: 'done'; readonly instances: number; readonly bytes: number }
  /** the way is blocked: nothing of this is an instance's fault */
  | {
      readonly kind: 'blocked';
      readonly reason: string;
      readonly retryAfterMs?: number | undefined;
      /** the line may be fine, and one of the instances what it chokes on */
      readonly apart?: boolean;
    }
  /** refused as a whole, for a reason that may be one instance's: try them one by one */
  | { readonly kind: 'apart' }
  /** 413: less at a time */
  | { readonly kind: 'tooLarge'; readonly bytes: number };

export interface DeliveryTools {
  readonly context: EdgeContext;
  readonly upstream: Upstream;
  readonly queue: DestinationQueue;
  readonly limiter: BandwidthLimiter;
  readonly capabilities: Capabilities;
  readonly signal: AbortSignal;
}

type Item = { record: ForwardRecord } & Parcel;
type Change = readonly [ForwardRecord, Transition];

/** questions about instances under way at a time */
const ASKING = 6;
/** failures of its own after which an object is sent in parts */
const ATTEMPTS_IN_ONE_GO = 2;
/** no more than this is handed to the connection at a time, so that the rate is even (bytes) */
const SLICE_BYTES = 64 * 1024;

/**
 * Brings some instances of the queue to the upstream, once. Each ends confirmed, held, or pending with what is known of its outcome:
 * an instance is never left in doubt about whether it must be asked for before it is sent again.
 */
export class Delivery {
  readonly #tools: DeliveryTools;

  constructor(tools: DeliveryTools) {
    this.#tools = tools;
  }

  async run(batch: readonly Waiting[]): Promise<Delivered> {
    const { queue } = this.#tools;
    const places = new Set(batch.map(({ queueKey }) => queueKey));
    const records = (await queue.records(batch.map(({ SOPInstanceUID }) => SOPInstanceUID))).filter(
      ({ queueKey, state }) => places.has(queueKey) && (state === 'pending' || state === 'sending'),
    );
    const items = await this.#prepared(records);
    try {
      const unasked = items.filter(({ record }) => !record.ask);
      const { missing, failure } = await this.#ask(items.filter(({ record }) => record.ask));
      const toSend = [...unasked, ...missing];
      if (toSend.length === 0)
        return failure === undefined
          ? { kind: 'done', instances: items.length, bytes: 0 }
          : { kind: 'blocked', reason: failure };
      return await this.#send(toSend);
    } catch (error) {
      if (!(error instanceof PacsError)) throw error;
      return { kind: 'blocked', reason: error.message };
    }
  }

  /** With the bytes that are to be sent. What is not here any more can only be held. */
  async #prepared(records: readonly ForwardRecord[]): Promise<Item[]> {
    const { context, queue, upstream } = this.#tools;
    const { services, tenant } = context;
    const items: Item[] = [];
    for (const record of records) {
      const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = record;
      const instance = await keptInstance(services, tenant, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID);
      if (instance === undefined || instance.sha256 !== record.sha256) {
        await queue.apply([[record, { to: 'held', reason: 'it is no longer stored here' }]]);
        continue;
      }
      if (record.sent !== undefined || upstream.config.compression === 'none') {
        items.push({ record, instance, object: record.sent ?? asReceived(instance) });
        continue;
      }
      const sent = await compressed(services, tenant, queue.destination, instance, upstream.config.compression);
      for (const changed of await queue.apply([[record, { to: 'prepared', sent }]]))
        items.push({ record: changed, instance, object: sent });
    }
    return items;
  }

  /**
   * Those whose outcome is unknown: the upstream knows. One that it fails at is asked about again after a while, and holds up no other.
   * @returns what has to be sent all the same, and how it failed at one
   */
  async #ask(items: readonly Item[]): Promise<{ missing: Item[]; failure: string | undefined }> {
    const missing: Item[] = [];
    let failure: string | undefined;
    await inParallel(items, ASKING, async (item) => {
      try {
        const { finding, evidence } = await this.#examine(item);
        if (finding === 'same') await this.#apply([[item, { to: 'confirmed', evidence }]]);
        else missing.push(item);
      } catch (error) {
        if (error instanceof UnreadableHere) return this.#apply([[item, this.#unreadableHere(item, error)]]);
        if (!(error instanceof PacsError) || error.details.ofInstance !== true) throw error;
        failure = error.message;
        await this.#apply([[item, this.#again(item, failure, { ask: true })]]);
      }
    });
    return { missing, failure };
  }

  /** What the upstream has under the UID, by the evidence that its row of the configuration wants. */
  async #examine(item: Item): Promise<{ finding: Finding; evidence: Evidence }> {
    const { upstream, context, capabilities, signal } = this.#tools;
    const wanted = upstream.config.evidence;
    if (wanted === 'accepted') return { finding: 'unstated', evidence: 'accepted' };
    if (wanted === 'digest' || (wanted === 'auto' && capabilities.statesDigests !== false)) {
      const finding = await askDigest(upstream, item, signal);
      if (finding === 'same' || finding === 'other') capabilities.statesDigests = true;
      else if (finding === 'unstated') capabilities.statesDigests ??= false;
      // Orthanc answers HEAD with 404, whatever it has: only one that has stated a digest before is believed that.
      const isTold = finding !== 'absent' || capabilities.statesDigests === true;
      if ((finding !== 'unstated' && isTold) || wanted === 'digest') return { finding, evidence: 'digest' };
    }
    const finding = await retrieveAndCompare(upstream, context.services.blobs, item, signal);
    return { finding, evidence: 'retrieve' };
  }

  async #send(items: readonly Item[]): Promise<Delivered> {
    const { upstream, context, queue } = this.#tools;
    const changed = await queue.apply(items.map(({ record }): Change => [record, { to: 'sending' }]));
    const byUid = new Map(changed.map((record) => [record.SOPInstanceUID, record]));
    const sending = items.flatMap((item) => {
      const record = byUid.get(item.instance.SOPInstanceUID);
      return record === undefined ? [] : [{ ...item, record }];
    });
    if (sending.length === 0) return { kind: 'done', instances: 0, bytes: 0 };
    const bytes = sending.reduce((sum, { object }) => sum + object.sizeBytes, 0);
    const wereAsked = items.every(({ record }) => record.ask === true);
    const [only] = sending;
    try {
      if (sending.length === 1 && this.#goesInParts(only!)) {
        const verdict = await storeByTransaction(only!, this.#tools, (object, offset, length) =>
          this.#paced(only!, inPieces(context.services.blobs, object.blobKey, { offset, length })),
        );
        return await this.#judge(sending, new Map([[only!.instance.SOPInstanceUID, verdict]]), bytes);
      }
      const request = storeRequest(context.clock, sending, (object) =>
        this.#paced(sending[0]!, wholeObject(context.services.blobs, object)),
      );
      const response = await upstream.request({ ...request, probe: true, signal: this.#tools.signal });
      return await this.#answered(sending, response, bytes, wereAsked);
    } catch (error) {
      if (!(error instanceof PacsError)) throw error;
      if (error instanceof UnreadableHere) {
        const transition: Transition =
          sending.length === 1
            ? this.#unreadableHere(only!, error)
            : { to: 'pending', ask: true, reason: error.message };
        await this.#apply(sending.map((item) => [item, transition]));
        return sending.length === 1 ? { kind: 'done', instances: 1, bytes: 0 } : { kind: 'apart' };
      }
      // BUSY: nothing was sent, or nothing was accepted. Everything else leaves it open.
      const ask = error.code !== 'BUSY' && error.code !== 'UNAUTHENTICATED';
      const { retryAfterMs: asked } = error.details as { retryAfterMs?: number };
      // The upstream has just answered questions about them, and breaks off again: what is sent may be to blame. Others go before it.
      const apart = ask && wereAsked;
      return this.#blocked(sending, error.message, { ask, apart, retryAfterMs: asked });
    }
  }

  /** Large objects where the upstream offers it, as a break then costs a part; and what it could not be given in one go. */
  #goesInParts({ record, object }: Item): boolean {
    const { capabilities, upstream } = this.#tools;
    const mostBytes = Math.min(capabilities.requestBytes, upstream.config.batch.bytes);
    return capabilities.offersTransactions && (object.sizeBytes > mostBytes || record.attempts >= ATTEMPTS_IN_ONE_GO);
  }

  /** The way is blocked; `apart`: perhaps by one of these alone. */
  async #blocked(
    sending: readonly Item[],
    reason: string,
    { ask, apart, retryAfterMs }: { ask: boolean; apart: boolean; retryAfterMs: number | undefined },
  ): Promise<Delivered> {
    const transition = (item: Item): Transition =>
      apart && sending.length === 1 ? this.#again(item, reason, { ask }) : { to: 'pending', ask, reason };
    await this.#apply(sending.map((item) => [item, transition(item)]));
    return { kind: 'blocked', reason, retryAfterMs, apart };
  }

  /** @param wereAsked it has just answered questions about all of them */
  async #answered(
    sending: readonly Item[],
    response: UpstreamResponse,
    bytes: number,
    wereAsked: boolean,
  ): Promise<Delivered> {
    const { context, capabilities } = this.#tools;
    const { status, headers } = response;
    const reason = `it answered ${status}`;
    if (status === 200 || status === 202 || status === 409) {
      const verdicts = verdictsIn(await response.text());
      if (verdicts !== undefined) return this.#judge(sending, verdicts, bytes);
      const how = { ask: true, apart: wereAsked, retryAfterMs: undefined };
      return this.#blocked(sending, 'its answer cannot be read', how);
    }
    capabilities.learn(headers);
    await response.discard();
    if (status === 413) {
      await this.#apply(sending.map((item) => [item, { to: 'pending', ask: false, reason }]));
      if (sending.length === 1 && !capabilities.offersTransactions)
        return this.#refuse(sending, 'too large for the upstream', bytes);
      return { kind: 'tooLarge', bytes };
    }
    if (status === 400 || status === 406 || status === 415 || status === 422) {
      if (sending.length === 1) return this.#refuse(sending, reason, bytes);
      await this.#apply(sending.map((item) => [item, { to: 'pending', ask: false, reason }]));
      return { kind: 'apart' };
    }
    // 503 and 429 say that nothing was accepted, as does what concerns our rights or the address; of others one cannot know.
    const ask = status >= 500 && status !== 503 && status !== 507;
    return this.#blocked(sending, reason, {
      ask: ask || status === 408,
      apart: ask && wereAsked,
      retryAfterMs: retryAfterMs(headers['retry-after'], context.clock.now()),
    });
  }

  /** Each by what was said of it, and by evidence. */
  async #judge(sending: readonly Item[], verdicts: ReadonlyMap<string, Verdict>, bytes: number): Promise<Delivered> {
    const changes: [Item, Transition][] = [];
    const toExamine: Item[] = [];
    for (const item of sending) {
      const verdict = verdicts.get(item.instance.SOPInstanceUID);
      if (verdict === undefined)
        changes.push([item, this.#again(item, 'it did not say what became of it', { ask: true })]);
      else if (verdict.kind === 'refused') {
        const own = isForNow(verdict.failureReason) ? 'failed' : 'refused';
        const transition = this.#again(item, refusalInWords(verdict), { own });
        const isAside = transition.to === 'held' && verdict.held !== undefined;
        changes.push([item, isAside ? { ...transition, keptAside: true } : transition]);
      } else if (verdict.sha256 === item.object.sha256) changes.push([item, { to: 'confirmed', evidence: 'digest' }]);
      else if (verdict.sha256 !== undefined) changes.push([item, this.#otherBytes(item)]);
      else if (this.#tools.upstream.config.evidence === 'accepted')
        changes.push([item, { to: 'confirmed', evidence: 'accepted' }]);
      else toExamine.push(item);
    }
    await this.#apply(changes);
    let blocked: string | undefined;
    await inParallel(toExamine, ASKING, async (item) => {
      try {
        await this.#apply([[item, await this.#proved(item)]]);
      } catch (error) {
        if (error instanceof UnreadableHere) return this.#apply([[item, this.#unreadableHere(item, error)]]);
        if (!(error instanceof PacsError)) throw error;
        blocked = error.message;
        const isItsOwn = error.details.ofInstance === true;
        const later: Transition = { to: 'pending', ask: true, reason: blocked };
        await this.#apply([[item, isItsOwn ? this.#again(item, blocked, { ask: true }) : later]]);
      }
    });
    if (blocked !== undefined) return { kind: 'blocked', reason: blocked };
    return { kind: 'done', instances: sending.length, bytes };
  }

  async #proved(item: Item): Promise<Transition> {
    const { finding, evidence } = await this.#examine(item);
    switch (finding) {
      case 'same':
        return { to: 'confirmed', evidence };
      case 'other':
        return this.#otherBytes(item);
      case 'absent':
        return this.#again(item, 'it said it had stored it, and has not got it', { own: 'failed' });
      case 'unstated':
        return this.#again(item, 'it does not state the digest of what it stores', { own: 'refused', ask: true });
    }
  }

  #otherBytes(item: Item): Transition {
    return this.#again(item, 'it keeps other bytes under this SOP Instance UID', { own: 'refused', ask: true });
  }

  /** What a disk cannot read now it may read later. */
  #unreadableHere(item: Item, { isLasting, message }: UnreadableHere): Transition {
    if (isLasting) return { to: 'held', reason: message };
    return this.#again(item, message, { own: 'refused', ask: true });
  }

  async #refuse(sending: readonly Item[], reason: string, bytes: number): Promise<Delivered> {
    await this.#apply(sending.map((item) => [item, this.#again(item, reason, { own: 'refused' })]));
    return { kind: 'done', instances: sending.length, bytes };
  }

  /** Again after a while, or held when it was refused often enough: a line that garbles bytes must not condemn an instance. */
  #again(item: Item, reason: string, how: { own?: 'failed' | 'refused'; ask?: boolean }): Transition {
    const { context, upstream } = this.#tools;
    const { retry } = upstream.config;
    const { own = 'failed', ask = false } = how;
    if (own === 'refused' && item.record.refusals + 1 >= retry.refusals) return { to: 'held', reason };
    const due = context.clock.now() + backoffMs(context.clock, item.record.attempts + 1, retry);
    return { to: 'pending', ask, due, reason, own };
  }

  /** Applies, and removes what was compressed for those that are confirmed. */
  async #apply(changes: readonly (readonly [Item, Transition])[]): Promise<void> {
    const { queue, context } = this.#tools;
    const current = new Map(
      (await queue.records(changes.map(([item]) => item.instance.SOPInstanceUID))).map((record) => [
        record.SOPInstanceUID,
        record,
      ]),
    );
    const changed = await queue.apply(
      changes.flatMap(([item, transition]): Change[] => {
        const record = current.get(item.instance.SOPInstanceUID);
        // What a person has dropped meanwhile stays so.
        return record?.queueKey === item.record.queueKey && record.state !== 'unwanted' ? [[record, transition]] : [];
      }),
    );
    // One that has moved in the order meanwhile was left as it was: its record still names the compressed bytes.
    const confirmed = new Set(changed.filter(({ state }) => state === 'confirmed').map((one) => one.SOPInstanceUID));
    for (const [{ object, instance }] of changes)
      if (confirmed.has(instance.SOPInstanceUID) && object.blobKey !== instance.blobKey)
        await context.services.blobs.delete(object.blobKey);
  }

  async *#paced(item: Item, pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const { limiter, signal } = this.#tools;
    const urgent = item.record.queueKey.startsWith(STAT_PREFIX);
    for await (const chunk of pieces) {
      for (let at = 0; at < chunk.byteLength; at += SLICE_BYTES) {
        const slice = chunk.subarray(at, at + SLICE_BYTES);
        await limiter.take(slice.byteLength, urgent, signal);
        yield slice;
      }
    }
  }
}
