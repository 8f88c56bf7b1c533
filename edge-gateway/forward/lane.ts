import { backoffMs } from '#core/backoff.ts';
import { describeError, PacsError } from '#core/errors.ts';
import type { EdgeContext } from '../context.ts';
import { NotBefore } from '../not-before.ts';
import type { Upstream } from '../upstream.ts';
import { BandwidthLimiter } from './bandwidth.ts';
import { Capabilities } from './capabilities.ts';
import { type Delivered, Delivery } from './delivery.ts';
import { DestinationQueue, type FailureClass, type Waiting } from './queue.ts';
import { STAT_PREFIX } from './records.ts';
import { switchesOf } from './switches.ts';

/** Looks at the queue at least this often (ms). */
const LOOK_MS = 1_000;
/** What is being sent may finish when the gateway stops, for this long (ms). */
const FINISH_MS = 5_000;

/** Since the gateway started. */
export interface LaneCounts {
  readonly sentInstances: number;
  readonly sentBytes: number;
  /** requests that failed because of the line, or of the upstream as a whole */
  readonly blocked: number;
  /** attempts of instances that failed, by class */
  readonly failures: Readonly<Record<FailureClass, number>>;
}

/** The forwarding to one destination: takes from its queue, several requests at a time, at the pace that line and upstream allow. */
export class Lane {
  readonly queue: DestinationQueue;
  readonly #context: EdgeContext;
  readonly #limiter: BandwidthLimiter;
  readonly #taken = new Set<string>();
  readonly #running = new Set<Promise<void>>();
  /** places in the queue that are sent one by one */
  readonly #alone = new Set<string>();
  #capabilities: Capabilities | undefined;
  #upstream: Upstream | undefined;
  #failures = 0;
  readonly #paused = new NotBefore();
  #problem: string | undefined;
  #woken = Promise.withResolvers<void>();
  #counts = { sentInstances: 0, sentBytes: 0, blocked: 0 };

  constructor(context: EdgeContext, destination: string) {
    this.#context = context;
    this.queue = new DestinationQueue(context.services, context.tenant, destination);
    const switches = switchesOf(context);
    this.#limiter = new BandwidthLimiter(
      () => (switches.isSendingNow(destination) ? [] : (context.upstream(destination)?.config.bandwidth ?? [])),
      context.clock,
    );
  }

  get destination(): string {
    return this.queue.destination;
  }

  get counts(): LaneCounts {
    return { ...this.#counts, failures: this.queue.failures };
  }

  /** instances in requests under way */
  get sending(): number {
    return this.#taken.size;
  }

  /** Why nothing goes out, since when that is so, and when it is tried again (ms since 1970). */
  get pause(): { readonly reason: string; readonly until: number } | undefined {
    return this.#problem === undefined ? undefined : { reason: this.#problem, until: this.#paused.at };
  }

  get bytesPerSecond(): number | undefined {
    return this.#limiter.bytesPerSecond;
  }

  /** There is something to do, or a reason to try at once. */
  wake(): void {
    this.#woken.resolve();
  }

  /** A person has put right what was wrong: tries at once. */
  retryNow(): void {
    this.#paused.clear();
    this.wake();
  }

  async run(signal: AbortSignal): Promise<void> {
    const giveUp = new AbortController();
    const onAbort = (): void => this.wake();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        this.#woken = Promise.withResolvers<void>();
        const waitMs = await this.#tryStep(giveUp.signal);
        if (waitMs > 0 && !signal.aborted)
          await Promise.race([this.#context.clock.sleep(Math.min(waitMs, LOOK_MS)), this.#woken.promise]);
      }
      const timer = setTimeout(() => giveUp.abort(), FINISH_MS);
      await Promise.all(this.#running);
      clearTimeout(timer);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #tryStep(signal: AbortSignal): Promise<number> {
    try {
      return await this.#step(signal);
    } catch (error) {
      // The index could not be written, as a rule: the disk is full.
      this.#context.log.error('forward-failed', { destination: this.destination, ...describeError(error) });
      return LOOK_MS;
    }
  }

  /** Starts what can be started. @returns how long there is nothing to do (ms) */
  async #step(signal: AbortSignal): Promise<number> {
    const { clock } = this.#context;
    const upstream = this.#context.upstream(this.destination);
    if (upstream === undefined) return LOOK_MS;
    // Looked up before anything is sent: what a person has paused stays so after a restart.
    if ((await switchesOf(this.#context).of(this.destination)).paused) return LOOK_MS;
    if (upstream !== this.#upstream) {
      this.#upstream = upstream;
      this.#capabilities = new Capabilities(upstream, () => clock.now());
      this.#paused.clear();
    }
    const pauseMs = this.#paused.left(clock.now());
    if (pauseMs > 0) return pauseMs;
    // After a failure one request tries the line.
    const slots = (this.#problem === undefined ? upstream.config.parallel : 1) - this.#running.size;
    if (slots <= 0) return LOOK_MS;
    const nextDue = await this.queue.wakeLater(upstream.config.retry.mostMs);
    const batch = await this.#next(upstream, this.#capabilities!);
    if (batch.length === 0) return nextDue === undefined ? LOOK_MS : Math.max(1, nextDue - clock.now());
    this.#start(batch, upstream, signal);
    return 0;
  }

  /** The head of the queue, as much as one request may hold; never two priorities in one. */
  async #next({ config }: Upstream, capabilities: Capabilities): Promise<Waiting[]> {
    const instances = Math.min(config.batch.instances, capabilities.requestInstances);
    const bytes = Math.min(config.batch.bytes, capabilities.requestBytes);
    const prefix = this.#limiter.bytesPerSecond === 0 ? STAT_PREFIX : '';
    const batch: Waiting[] = [];
    let size = 0;
    for (const one of await this.queue.first(instances, this.#taken, prefix)) {
      const fits = size + one.sizeBytes <= bytes && one.queueKey[0] === batch[0]?.queueKey[0];
      if (batch.length > 0 && (!fits || this.#alone.has(one.queueKey))) break;
      batch.push(one);
      size += one.sizeBytes;
      if (this.#alone.has(one.queueKey)) break;
    }
    return batch;
  }

  #start(batch: readonly Waiting[], upstream: Upstream, signal: AbortSignal): void {
    for (const { queueKey } of batch) this.#taken.add(queueKey);
    const running: Promise<void> = this.#deliver(batch, upstream, signal).finally(() => {
      for (const { queueKey } of batch) this.#taken.delete(queueKey);
      this.#running.delete(running);
      this.wake();
    });
    this.#running.add(running);
  }

  async #deliver(batch: readonly Waiting[], upstream: Upstream, signal: AbortSignal): Promise<void> {
    const { context, queue, limiter } = { context: this.#context, queue: this.queue, limiter: this.#limiter };
    const capabilities = this.#capabilities!;
    let delivered: Delivered;
    try {
      await capabilities.ask(signal);
      delivered = await new Delivery({ context, upstream, queue, limiter, capabilities, signal }).run(batch);
    } catch (error) {
      // A PacsError is the line's; anything else a defect, which must not spin.
      if (!(error instanceof PacsError))
        context.log.error('forward-failed', { destination: this.destination, ...describeError(error) });
      delivered = { kind: 'blocked', reason: error instanceof PacsError ? error.message : 'internal error' };
    }
    this.#learn(delivered, batch, upstream);
  }

  #learn(delivered: Delivered, batch: readonly Waiting[], upstream: Upstream): void {
    const { clock, log } = this.#context;
    switch (delivered.kind) {
      case 'done':
        this.#counts.sentInstances += delivered.instances;
        this.#counts.sentBytes += delivered.bytes;
        for (const { queueKey } of batch) this.#alone.delete(queueKey);
        // Another request has failed while this one was under way: what it was told of holds, and is said, until its time is over.
        if (this.#paused.left(clock.now()) > 0) return;
        if (this.#problem !== undefined) log.info('forwarding', { destination: this.destination });
        this.#failures = 0;
        this.#problem = undefined;
        return;
      case 'apart':
        for (const { queueKey } of batch) this.#alone.add(queueKey);
        return;
      case 'tooLarge':
        this.#capabilities!.tooLarge(delivered.bytes);
        return;
      case 'blocked': {
        const { retryAfterMs = 0, reason, apart = false } = delivered;
        if (apart) for (const { queueKey } of batch) this.#alone.add(queueKey);
        this.#counts.blocked++;
        const pauseMs = Math.max(retryAfterMs, backoffMs(clock, ++this.#failures, upstream.config.retry));
        const now = clock.now();
        this.#paused.set(now, now + Math.max(this.#paused.left(now), pauseMs));
        if (this.#problem !== reason) log.info('forwarding-paused', { destination: this.destination, reason });
        this.#problem = reason;
      }
    }
  }
}
