import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { retryAfterMs } from '#core/backoff.ts';
import { PacsError } from '#core/errors.ts';
import type { Upstream, UpstreamResponse } from '../upstream.ts';
import type { DeliveryTools } from './delivery.ts';
import { inParallel } from './parallel.ts';
import { inPieces } from './pieces.ts';
import type { ForwardRecord, SentObject } from './records.ts';
import { type Parcel, type Verdict, verdictsIn } from './stow.ts';

/** docs/store-transactions.md */
interface State {
  readonly state: 'open' | 'storing' | 'done';
  readonly objects: readonly [
    { readonly partBytes: number; readonly parts: number; readonly arrived: readonly (readonly [number, number])[] },
  ];
}

interface Upload {
  readonly part: number;
  readonly method: 'PUT' | 'POST';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly authenticate: boolean;
}

/** Parts whose addresses are asked for at a time: signed ones do not hold for long. */
const PARTS_AT_A_TIME = 8;
const COMMIT_AGAIN_MS = 2_000;
/** No archive is asked more often than this, whatever it says (ms). */
const COMMIT_LEAST_MS = 500;
/** One that is still storing after so many questions is asked again by the next attempt: other objects go first. */
const COMMIT_ASKS = 500;

/**
 * Brings one object upstream in parts that are known when they have arrived: what a break interrupts goes on where it was, after a
 * restart too, as the transaction's id follows from the object and from how often it was refused.
 * @throws PacsError as Upstream.request; BUSY with `retryAfterMs` where it said so
 */
export async function storeByTransaction(
  item: { readonly record: ForwardRecord } & Parcel,
  tools: DeliveryTools,
  read: (object: SentObject, offset: number, length: number) => AsyncIterable<Uint8Array>,
): Promise<Verdict> {
  const { object, record } = item;
  const id = createHash('sha256').update(`${object.sha256} ${record.SOPInstanceUID} ${record.refusals}`).digest('hex');
  const transaction = new Transaction(tools, `${tools.capabilities.transactions}/${id}`);
  const state = await transaction.create({
    StudyInstanceUID: record.StudyInstanceUID,
    objects: [{ sizeBytes: object.sizeBytes, sha256: object.sha256, SOPInstanceUID: record.SOPInstanceUID }],
  });
  if (state.state === 'open') await transaction.upload(object, state, read);
  return transaction.commit(record.SOPInstanceUID);
}

class Transaction {
  readonly #tools: DeliveryTools;
  readonly #upstream: Upstream;
  readonly #url: string;

  constructor(tools: DeliveryTools, url: string) {
    this.#tools = tools;
    this.#upstream = tools.upstream;
    this.#url = url;
  }

  async create(announced: object): Promise<State> {
    const response = await this.#json('PUT', this.#url, announced);
    if (response.status === 200 || response.status === 201) return readable(response, isState);
    throw await this.#unexpected(response, 'create');
  }

  async upload(
    object: SentObject,
    state: State,
    read: (object: SentObject, offset: number, length: number) => AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const { partBytes, parts, arrived } = state.objects[0];
    const missing: number[] = [];
    for (let part = 1; part <= parts; part++)
      if (!arrived.some(([first, last]) => part >= first && part <= last)) missing.push(part);
    for (let at = 0; at < missing.length; at += PARTS_AT_A_TIME) {
      const group: { part: number; offset: number; length: number; sha256: string }[] = [];
      // One after the other: the disk is no faster for being asked for all at once, and their pieces would lie side by side.
      for (const part of missing.slice(at, at + PARTS_AT_A_TIME)) {
        const offset = (part - 1) * partBytes;
        const length = Math.min(partBytes, object.sizeBytes - offset);
        group.push({ part, offset, length, sha256: await this.#digest(object, offset, length) });
      }
      const wanted = { object: 1, parts: group.map(({ part, sha256 }) => ({ part, sha256 })) };
      const response = await this.#json('POST', `${this.#url}/parts`, wanted);
      if (response.status !== 200) throw await this.#unexpected(response, 'parts');
      const { uploads } = await readable(response, (answer: Partial<{ uploads: Upload[] }>) =>
        isListOf(answer.uploads, (one) => group.some(({ part }) => part === one.part) && typeof one.url === 'string'),
      );
      // Two at a time keep a line busy; more would only hold more memory.
      await inParallel(uploads, 2, async ({ part, method, url, headers, authenticate }) => {
        const { offset, length } = group.find((one) => one.part === part)!;
        const answer = await this.#upstream.request({
          method,
          path: url,
          headers: { 'content-type': 'application/octet-stream', ...headers },
          body: () => read(object, offset, length),
          bodyBytes: length,
          anonymous: !authenticate,
          probe: true,
          signal: this.#tools.signal,
        });
        const isThere = (answer.status >= 200 && answer.status < 300) || answer.status === 412;
        if (isThere) await answer.discard();
        // 409: as a rule the part is there already; the commit tells when it is not.
        else if (answer.status === 409 && !(await answer.text()).includes('DATASET_MISMATCH')) return;
        else throw await this.#unexpected(answer, 'upload');
      });
    }
  }

  /** @returns what became of the object */
  async commit(SOPInstanceUID: string): Promise<Verdict> {
    const { context, signal } = this.#tools;
    for (let asks = 0; asks < COMMIT_ASKS; asks++) {
      const response = await this.#upstream.request({
        method: 'POST',
        path: `${this.#url}/commit`,
        headers: { accept: 'application/dicom+json' },
        probe: true,
        signal,
      });
      const isAnswer = (response.headers['content-type'] ?? '').startsWith('application/dicom+json');
      if (isAnswer) {
        const verdict = verdictsIn(await response.text())?.get(SOPInstanceUID);
        if (verdict !== undefined) return verdict;
        throw new PacsError('OUTCOME_UNKNOWN', 'the transaction did not say what became of its object');
      }
      if (response.status !== 202) throw await this.#unexpected(response, 'commit');
      await response.discard();
      const asked = retryAfterMs(response.headers['retry-after'], context.clock.now());
      // A gateway that is to stop does not wait for this: the request that follows is given up.
      await sleep(Math.max(asked ?? COMMIT_AGAIN_MS, COMMIT_LEAST_MS), undefined, { signal }).catch(() => {});
    }
    throw new PacsError('BUSY', 'the archive is still storing');
  }

  async #digest(object: SentObject, offset: number, length: number): Promise<string> {
    const hash = createHash('sha256');
    for await (const piece of inPieces(this.#tools.context.services.blobs, object.blobKey, { offset, length }))
      hash.update(piece);
    return hash.digest('hex');
  }

  #json(method: 'PUT' | 'POST', path: string, body: object): Promise<UpstreamResponse> {
    return this.#upstream.request({
      method,
      path,
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify(body),
      probe: true,
      signal: this.#tools.signal,
    });
  }

  /** Parts stay where they are: the next attempt goes on from them. */
  async #unexpected(response: UpstreamResponse, step: string): Promise<PacsError> {
    await response.discard();
    const asked = retryAfterMs(response.headers['retry-after'], this.#tools.context.clock.now());
    return new PacsError('BUSY', `the store transaction's ${step} was answered ${response.status}`, {
      details: asked === undefined ? {} : { retryAfterMs: asked },
    });
  }
}

/** A portal or a proxy may answer in the archive's place, with 200 and whatever it likes. @throws PacsError OUTCOME_UNKNOWN */
async function readable<T extends object>(
  response: UpstreamResponse,
  isIt: (answer: Partial<T>) => boolean,
): Promise<T> {
  const text = await response.text();
  try {
    const answer = JSON.parse(text) as T | null;
    if (typeof answer === 'object' && answer !== null && isIt(answer)) return answer;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new PacsError('OUTCOME_UNKNOWN', 'an answer of the store transaction cannot be read');
}

const isListOf = <T extends object>(value: readonly T[] | undefined, isOne: (one: T) => boolean): boolean =>
  Array.isArray(value) && value.every((one) => typeof one === 'object' && one !== null && isOne(one));

/** A multipart upload has no more parts (S3). */
const PARTS_LIMIT = 10_000;

const isState = ({ state, objects }: Partial<State>): boolean =>
  typeof state === 'string' &&
  objects?.length === 1 &&
  isListOf(
    objects,
    ({ partBytes, parts, arrived }) =>
      partBytes > 0 && parts > 0 && parts <= PARTS_LIMIT && isListOf(arrived, () => true),
  );
