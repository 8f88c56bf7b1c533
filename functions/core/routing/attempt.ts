import type { InstanceRecord, Tenant } from '../archive/records.ts';
import { retryAfterMs } from '../backoff.ts';
import { asPacsError, PacsError } from '../errors.ts';
import type { SendAnswer, SentObject } from '../ports/object-sender.ts';
import type { Services } from '../services.ts';
import type { DestinationRecord, FailureClass } from './records.ts';
import { isForNow, refusalInWords, verdictsIn } from './verdicts.ts';
import type { Outcome, Waiting } from './waiting.ts';

/** Why nothing can be sent to a destination now; no instance's fault. */
export interface Failure {
  readonly class: FailureClass;
  readonly reason: string;
  readonly retryAfterMs?: number | undefined;
  /** it may be what was sent that the destination chokes on */
  readonly mayBeOwn?: boolean;
  readonly cause?: unknown;
}

export interface Attempted {
  readonly outcomes: readonly Outcome[];
  readonly failure?: Failure | undefined;
  /** refused as a whole, for what may be one instance's: try them one by one */
  readonly apart?: boolean;
}

/** the request as a whole is at fault: too large, or not to its taste */
const OF_THE_REQUEST = new Set([400, 406, 409, 411, 413, 415, 422]);
const OF_CREDENTIALS = new Set([401, 403, 407]);
const BUSY = new Set([408, 425, 429, 503]);

/** Posts waiting instances to a destination, once, and says what the answer means for each of them. */
export class Attempt {
  readonly #services: Services;
  readonly #destination: DestinationRecord;
  readonly #tenant: Tenant;
  readonly #identity: string;
  readonly #onProgress: () => Promise<void>;
  /** by which the destination says that other archives know it */
  archive: string | undefined;

  /** @param onProgress called with each chunk that leaves: what it throws ends the attempt */
  constructor(
    services: Services,
    destination: DestinationRecord,
    tenant: Tenant,
    identity: string,
    onProgress: () => Promise<void>,
  ) {
    this.#services = services;
    this.#destination = destination;
    this.#tenant = tenant;
    this.#identity = identity;
    this.#onProgress = onProgress;
  }

  async send(batch: readonly Waiting[]): Promise<Attempted> {
    const { sender } = this.#services;
    if (sender === undefined) throw new PacsError('INTERNAL', 'this program cannot send objects elsewhere');
    const gone = batch
      .filter(({ instance }) => instance === undefined)
      .map(({ delivered }): Outcome => ({ SOPInstanceUID: delivered.SOPInstanceUID, kind: 'gone' }));
    const instances = batch.flatMap(({ instance }) => instance ?? []);
    const [first] = instances;
    if (first === undefined) return { outcomes: gone };
    const own: { error?: unknown } = {};
    try {
      const { url, authentication, timeoutMs } = this.#destination;
      const answer = await sender.send({
        tenant: this.#tenant,
        url,
        authentication,
        timeoutMs,
        route: [...(first.route ?? []), this.#identity],
        objects: instances.map((instance) => this.#object(instance, own)),
      });
      this.archive = answer.archive ?? this.archive;
      const judged = this.#judge(instances, answer);
      return { ...judged, outcomes: [...gone, ...judged.outcomes] };
    } catch (error) {
      return { ...this.#failed(instances, error, own.error), outcomes: gone };
    }
  }

  #object({ blobKey, sizeBytes, sha256 }: InstanceRecord, own: { error?: unknown }): SentObject {
    const { blobs } = this.#services;
    const onProgress = this.#onProgress;
    return {
      sizeBytes,
      sha256,
      async *read() {
        try {
          for await (const chunk of blobs.read(blobKey)) {
            await onProgress();
            yield chunk;
          }
        } catch (error) {
          own.error = error;
          throw error;
        }
      },
    };
  }

  #judge(instances: readonly InstanceRecord[], { status, retryAfter, text }: SendAnswer): Attempted {
    const reason = `it answered ${status}`;
    const verdicts = status === 200 || status === 202 || status === 409 ? verdictsIn(text) : undefined;
    if (verdicts !== undefined) return { outcomes: instances.map((instance) => outcomeOf(instance, verdicts)) };
    if (status >= 200 && status < 300)
      return { outcomes: [], failure: { class: 'noAnswer', reason: 'its answer cannot be read' } };
    if (OF_THE_REQUEST.has(status)) return this.#refused(instances, reason);
    if (OF_CREDENTIALS.has(status)) return { outcomes: [], failure: { class: 'credentials', reason } };
    const asked = retryAfterMs(retryAfter, this.#services.clock.now());
    if (BUSY.has(status)) return { outcomes: [], failure: { class: 'busy', reason, retryAfterMs: asked } };
    const isServer = status >= 500;
    return {
      outcomes: [],
      failure: { class: isServer ? 'server' : 'address', reason, retryAfterMs: asked, mayBeOwn: status === 500 },
    };
  }

  #refused(instances: readonly InstanceRecord[], reason: string): Attempted {
    if (instances.length > 1) return { outcomes: [], apart: true };
    return { outcomes: instances.map(({ SOPInstanceUID }) => ({ SOPInstanceUID, kind: 'refused', reason })) };
  }

  #failed(instances: readonly InstanceRecord[], thrown: unknown, own: unknown): Attempted {
    if (own !== undefined) {
      const { code, message } = asPacsError(own);
      if (code !== 'NOT_FOUND' && code !== 'RANGE_NOT_SATISFIABLE')
        return { outcomes: [], failure: { class: 'local', reason: `it cannot be read here: ${message}`, cause: own } };
      if (instances.length > 1) return { outcomes: [], apart: true };
      const reason = 'its bytes cannot be read here';
      return { outcomes: instances.map(({ SOPInstanceUID }) => ({ SOPInstanceUID, kind: 'hold', reason })) };
    }
    if (!(thrown instanceof PacsError)) throw thrown;
    const { code, message: reason, details } = thrown;
    const asked = typeof details.retryAfterMs === 'number' ? details.retryAfterMs : undefined;
    switch (code) {
      case 'BUSY':
        return { outcomes: [], failure: { class: 'unreachable', reason, retryAfterMs: asked } };
      case 'OUTCOME_UNKNOWN':
        return { outcomes: [], failure: { class: 'noAnswer', reason, mayBeOwn: true } };
      case 'UNAUTHENTICATED':
        return { outcomes: [], failure: { class: 'credentials', reason } };
      case 'FORBIDDEN':
      case 'BAD_REQUEST':
        return { outcomes: [], failure: { class: 'configuration', reason } };
      default:
        throw thrown;
    }
  }
}

function outcomeOf(
  { SOPInstanceUID, sha256 }: InstanceRecord,
  verdicts: NonNullable<ReturnType<typeof verdictsIn>>,
): Outcome {
  const verdict = verdicts.get(SOPInstanceUID);
  if (verdict === undefined) return { SOPInstanceUID, kind: 'refused', reason: 'its answer does not speak of it' };
  if (verdict.kind === 'stored') {
    if (verdict.sha256 === undefined || verdict.sha256 === sha256) return { SOPInstanceUID, kind: 'sent' };
    return { SOPInstanceUID, kind: 'refused', reason: 'it keeps other bytes under this SOP Instance UID' };
  }
  return {
    SOPInstanceUID,
    kind: isForNow(verdict.failureReason) ? 'later' : 'refused',
    reason: refusalInWords(verdict),
  };
}
