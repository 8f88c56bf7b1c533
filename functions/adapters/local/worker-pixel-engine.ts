import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type ErrorCode, PacsError } from '#core/errors.ts';
import type { Limits } from '#core/limits.ts';
import type {
  AnimationJob,
  DecodedFrame,
  EncodedFrame,
  EncodeJob,
  EncodeTarget,
  PixelEngine,
  Presentation,
  RenderedImage,
} from '#core/ports/pixel-engine.ts';
import { codecModule } from './codec-module.ts';

export interface WorkerPixelEngineOptions {
  readonly limits: Pick<Limits, 'decodedFrameBytes'>;
  /** threads; they start when there is work for them (one less than the processors, 1 to 8) */
  readonly threads?: number;
  /** jobs that may wait for a thread; further ones are BUSY (256) */
  readonly waitingLimit?: number;
  /** a job that takes longer loses its thread (30,000); the time that a new thread needs to begin is not the job's */
  readonly jobTimeoutMs?: number;
  /** a thread that needs longer to begin is given up, and its job is BUSY (120,000) */
  readonly startTimeoutMs?: number;
}

export type PixelMethod = 'decode' | 'encode' | 'transcode' | 'render' | 'animate';

export interface PixelWorkerData {
  readonly module: WebAssembly.Module;
  readonly decodedFrameBytes: number;
}

export interface PixelRequest {
  readonly id: number;
  readonly method: PixelMethod;
  readonly job: unknown;
}

export type PixelReply =
  /** what a thread says first: it takes jobs */
  | { readonly ready: true }
  | { readonly id: number; readonly result: unknown }
  | {
      readonly id: number;
      readonly error: {
        readonly code: ErrorCode;
        readonly message: string;
        readonly details: Readonly<Record<string, unknown>>;
        readonly cause: string | undefined;
      };
    };

interface Waiting {
  readonly request: PixelRequest;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: PacsError) => void;
}

interface Thread {
  readonly worker: Worker;
  isReady: boolean;
  current: Waiting | undefined;
  timer: NodeJS.Timeout | undefined;
}

/**
 * The PixelEngine on a pool of threads, so that codecs never hold up the event loop. A codestream that makes a codec loop or
 * the thread die costs its own job: the thread is ended and another takes its place with the next job.
 */
export class WorkerPixelEngine implements PixelEngine {
  readonly #options: Required<Omit<WorkerPixelEngineOptions, 'limits'>>;
  readonly #decodedFrameBytes: number;
  readonly #threads = new Set<Thread>();
  readonly #waiting: Waiting[] = [];
  #lastId = 0;
  #closed = false;

  constructor({ limits, threads, waitingLimit, jobTimeoutMs, startTimeoutMs }: WorkerPixelEngineOptions) {
    this.#decodedFrameBytes = limits.decodedFrameBytes;
    this.#options = {
      threads: threads ?? Math.max(1, Math.min(8, availableParallelism() - 1)),
      waitingLimit: waitingLimit ?? 256,
      jobTimeoutMs: jobTimeoutMs ?? 30_000,
      startTimeoutMs: startTimeoutMs ?? 120_000,
    };
  }

  decode(job: EncodedFrame): Promise<DecodedFrame> {
    return this.#submit<DecodedFrame>('decode', job);
  }

  encode(job: EncodeJob): Promise<EncodedFrame> {
    return this.#submit<EncodedFrame>('encode', job);
  }

  transcode(job: EncodedFrame & { readonly target: EncodeTarget }): Promise<EncodedFrame> {
    return this.#submit<EncodedFrame>('transcode', job);
  }

  render(job: EncodedFrame & { readonly presentation: Presentation }): Promise<RenderedImage> {
    return this.#submit<RenderedImage>('render', job);
  }

  animate(job: AnimationJob): Promise<RenderedImage> {
    return this.#submit<RenderedImage>('animate', job);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(closing());
    const threads = [...this.#threads];
    for (const thread of threads) this.#lose(thread, closing());
    await Promise.all(threads.map((thread) => thread.worker.terminate()));
  }

  #submit<R>(method: PixelMethod, job: unknown): Promise<R> {
    if (this.#closed) return Promise.reject(closing());
    return new Promise<R>((resolve, reject) => {
      const request = { id: ++this.#lastId, method, job };
      const waiting: Waiting = { request, resolve: resolve as (result: unknown) => void, reject };
      const idle = this.#idleThread();
      if (idle !== undefined) this.#start(idle, waiting);
      else if (this.#waiting.length >= this.#options.waitingLimit) {
        reject(
          new PacsError('BUSY', 'too many images are being worked on', { details: { waiting: this.#waiting.length } }),
        );
      } else this.#waiting.push(waiting);
    });
  }

  #idleThread(): Thread | undefined {
    for (const thread of this.#threads) if (thread.current === undefined) return thread;
    return this.#threads.size < this.#options.threads ? this.#spawn() : undefined;
  }

  #spawn(): Thread {
    const workerData: PixelWorkerData = { module: codecModule(), decodedFrameBytes: this.#decodedFrameBytes };
    const worker = new Worker(new URL('./pixel-worker.ts', import.meta.url), { workerData, name: 'pixels' });
    const thread: Thread = { worker, isReady: false, current: undefined, timer: undefined };
    worker.on('message', (reply: PixelReply) => this.#hear(thread, reply));
    worker.on('error', (cause) =>
      this.#lose(thread, failed('the image could not be processed: the codec died', cause)),
    );
    worker.on('messageerror', (cause) =>
      this.#lose(thread, failed('the image could not be processed: the codec died', cause)),
    );
    worker.on('exit', () => this.#lose(thread, failed('the image could not be processed: the codec died')));
    // an idle pool must not keep the process alive
    worker.unref();
    this.#threads.add(thread);
    return thread;
  }

  #start(thread: Thread, waiting: Waiting): void {
    thread.current = waiting;
    thread.worker.ref();
    this.#limitTime(thread);
    try {
      thread.worker.postMessage(waiting.request);
    } catch (cause) {
      this.#lose(thread, new PacsError('INTERNAL', 'the job cannot be handed to a thread', { cause }));
    }
  }

  /** For the thread to begin, and then for its job. */
  #limitTime(thread: Thread): void {
    clearTimeout(thread.timer);
    const { jobTimeoutMs, startTimeoutMs } = this.#options;
    thread.timer = thread.isReady
      ? setTimeout(() => this.#lose(thread, failed('the image could not be processed in time')), jobTimeoutMs)
      : setTimeout(
          () => this.#lose(thread, new PacsError('BUSY', 'no thread began to work on the image in time')),
          startTimeoutMs,
        );
  }

  #hear(thread: Thread, reply: PixelReply): void {
    if ('ready' in reply) {
      thread.isReady = true;
      if (thread.current !== undefined) this.#limitTime(thread);
      return;
    }
    const { current } = thread;
    if (current === undefined || current.request.id !== reply.id) return;
    clearTimeout(thread.timer);
    thread.current = undefined;
    thread.worker.unref();
    if ('result' in reply) current.resolve(reply.result);
    else {
      const { code, message, details, cause } = reply.error;
      current.reject(new PacsError(code, message, { cause, details: { ...details } }));
    }
    const next = this.#waiting.shift();
    if (next !== undefined) this.#start(thread, next);
  }

  /** The thread is given up, with its job; what waits goes on elsewhere. */
  #lose(thread: Thread, error: PacsError): void {
    if (!this.#threads.delete(thread)) return;
    clearTimeout(thread.timer);
    const { current } = thread;
    thread.current = undefined;
    void thread.worker.terminate();
    current?.reject(error);
    const next = this.#waiting.shift();
    if (next === undefined) return;
    const idle = this.#idleThread();
    if (idle !== undefined) this.#start(idle, next);
    else this.#waiting.unshift(next);
  }
}

const closing = (): PacsError => new PacsError('BUSY', 'the archive is shutting down');
const failed = (message: string, cause?: unknown): PacsError => new PacsError('UNREADABLE_DATASET', message, { cause });
