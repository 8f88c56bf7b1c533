import {
  ChangeMessageVisibilityCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
  type SQSClient,
} from '@aws-sdk/client-sqs';
import { PacsError } from '#core/errors.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Item } from '#core/ports/index-table.ts';
import type { Job, JobQueue } from '#core/ports/job-queue.ts';
import { type RetryPolicy, retrying } from './retry.ts';
import { SQS_DELAY_LIMIT_SECONDS, SQS_VISIBILITY_LIMIT_SECONDS } from './schema.ts';
import { encodeMessage, parseMessage, type QueueMessage } from './sqs-message.ts';

export interface SqsOptions {
  readonly client: SQSClient;
  readonly clock: Clock;
  /** URLs of the queue of a kind of work, and of its dead letters, which only those need who look after them */
  readonly queueUrl: (kind: string) => string;
  readonly deadLetterUrl: (kind: string) => string;
  /** how long `receive` waits for the first message (0); 20 at most */
  readonly waitSeconds?: number;
  readonly retry?: RetryPolicy;
}

const BATCH = 10;
const LOOK_MS = 30_000;

interface Received {
  readonly receipt: string;
  readonly body: string;
  readonly maxAttempts: number | undefined;
}

/**
 * JobQueue on SQS standard queues, one for each kind of work, with a queue of dead letters each.
 *
 * What SQS does differently, and why it is harmless: times are whole seconds, rounded up; `depth` is approximate; a message is received again
 * at times though it was completed (jobs may run twice by contract). A receipt that has run out may or may not still delete its
 * message. The queue's own redrive policy moves dead letters too: of jobs whose worker died without a word.
 *
 * A delay over SQS's 15 minutes is kept in the message: received too early, it is sent again with what is left. Messages sent again
 * after a lost answer are there twice.
 */
export class SqsJobQueue implements JobQueue {
  readonly #options: SqsOptions;
  readonly #received = new WeakMap<Job, Received>();

  constructor(options: SqsOptions) {
    this.#options = options;
  }

  async enqueue(queue: string, payload: Item, { delayMs = 0 }: { readonly delayMs?: number } = {}): Promise<void> {
    const delaySeconds = Math.ceil(delayMs / 1000);
    const notBefore = delaySeconds > SQS_DELAY_LIMIT_SECONDS ? this.#options.clock.now() + delayMs : undefined;
    await this.#send(this.#options.queueUrl(queue), encodeMessage({ payload, notBefore }), delaySeconds);
  }

  async receive(
    queue: string,
    {
      max,
      visibilityMs,
      maxAttempts,
    }: { readonly max: number; readonly visibilityMs: number; readonly maxAttempts?: number },
  ): Promise<Job[]> {
    const url = this.#options.queueUrl(queue);
    const jobs: Job[] = [];
    while (jobs.length < max) {
      const messages = await this.#receive(url, Math.min(BATCH, max - jobs.length), visibilityMs, jobs.length === 0);
      if (messages.length === 0) break;
      for (const message of messages) {
        const job = await this.#take(queue, message, maxAttempts);
        if (job) jobs.push(job);
      }
    }
    return jobs;
  }

  /** The job of a message, unless its time has not come, or it has had its attempts. */
  async #take(queue: string, message: Message, maxAttempts: number | undefined): Promise<Job | undefined> {
    const body = message.Body ?? '';
    const receipt = message.ReceiptHandle ?? '';
    if (await this.postpone(queue, body)) {
      await this.#delete(this.#options.queueUrl(queue), receipt);
      return undefined;
    }
    const attempt = Number(message.Attributes?.ApproximateReceiveCount ?? 1);
    if (maxAttempts !== undefined && attempt > maxAttempts) {
      await this.#bury(queue, receipt, body, { id: message.MessageId, attempt: maxAttempts });
      return undefined;
    }
    const job: Job = { id: message.MessageId ?? '', payload: parseMessage(body).payload, attempt };
    this.#received.set(job, { receipt, body, maxAttempts });
    return job;
  }

  /**
   * Sends a message that came before its time again, for what is left of its delay; true when it did. Then the message in hand is done: for
   * event source mappings, which receive by themselves.
   */
  async postpone(queue: string, body: string): Promise<boolean> {
    const { notBefore } = parseMessage(body);
    const leftMs = notBefore === undefined ? 0 : notBefore - this.#options.clock.now();
    if (leftMs <= 0) return false;
    await this.#send(this.#options.queueUrl(queue), body, Math.ceil(leftMs / 1000));
    return true;
  }

  async complete(queue: string, job: Job): Promise<void> {
    await this.#delete(this.#options.queueUrl(queue), this.#of(job).receipt);
  }

  async release(queue: string, job: Job, delayMs: number): Promise<void> {
    const received = this.#of(job);
    if (received.maxAttempts !== undefined && job.attempt >= received.maxAttempts) {
      await this.#bury(queue, received.receipt, received.body, { id: job.id, attempt: job.attempt });
      return;
    }
    await this.#hide(this.#options.queueUrl(queue), received.receipt, Math.ceil(delayMs / 1000));
  }

  /** Dead letters, looked at: they are hidden from others who look for that moment. */
  async deadLetters(queue: string, limit: number): Promise<Job[]> {
    const url = this.#options.deadLetterUrl(queue);
    const jobs: Job[] = [];
    const receipts: string[] = [];
    while (jobs.length < limit) {
      const messages = await this.#receive(url, Math.min(BATCH, limit - jobs.length), LOOK_MS, false);
      if (messages.length === 0) break;
      for (const { MessageId = '', Body = '', ReceiptHandle = '', Attributes } of messages) {
        const { payload, id, attempt } = ownMessage(Body) ?? { payload: { body: Body } };
        receipts.push(ReceiptHandle);
        const attempts = attempt ?? Number(Attributes?.ApproximateReceiveCount ?? 1);
        jobs.push({ id: id ?? MessageId, payload, attempt: attempts });
      }
    }
    await Promise.all(receipts.map((receipt) => this.#hide(url, receipt, 0)));
    return jobs;
  }

  /** What others sent, as S3 does of objects that land, goes back as it came. To the queue first: a crash in between leaves it in both. */
  async redrive(queue: string): Promise<number> {
    const dead = this.#options.deadLetterUrl(queue);
    let moved = 0;
    for (;;) {
      const messages = await this.#receive(dead, BATCH, 60_000, true);
      if (messages.length === 0) return moved;
      for (const { Body = '', ReceiptHandle = '' } of messages) {
        const own = ownMessage(Body);
        await this.#send(this.#options.queueUrl(queue), own ? encodeMessage({ payload: own.payload }) : Body, 0);
        await this.#delete(dead, ReceiptHandle);
        moved++;
      }
    }
  }

  async depth(queue: string): Promise<{ readonly waiting: number; readonly inFlight: number; readonly dead: number }> {
    const [own, dead] = await Promise.all([
      this.#counts(this.#options.queueUrl(queue)),
      this.#counts(this.#options.deadLetterUrl(queue)),
    ]);
    return { waiting: own.waiting, inFlight: own.inFlight, dead: dead.waiting + dead.inFlight };
  }

  async #counts(url: string): Promise<{ waiting: number; inFlight: number }> {
    const command = new GetQueueAttributesCommand({
      QueueUrl: url,
      AttributeNames: [
        'ApproximateNumberOfMessages',
        'ApproximateNumberOfMessagesDelayed',
        'ApproximateNumberOfMessagesNotVisible',
      ],
    });
    const { Attributes = {} } = await this.#call(() => this.#options.client.send(command));
    const number = (name: keyof typeof Attributes): number => Number(Attributes[name] ?? 0);
    return {
      waiting: number('ApproximateNumberOfMessages') + number('ApproximateNumberOfMessagesDelayed'),
      inFlight: number('ApproximateNumberOfMessagesNotVisible'),
    };
  }

  /** To the dead letters first: a crash in between leaves it in both. */
  async #bury(
    queue: string,
    receipt: string,
    body: string,
    died: { readonly id: string | undefined; readonly attempt: number },
  ): Promise<void> {
    const { payload } = parseMessage(body);
    await this.#send(this.#options.deadLetterUrl(queue), encodeMessage({ payload, ...died }), 0);
    await this.#delete(this.#options.queueUrl(queue), receipt);
  }

  #of(job: Job): Received {
    const received = this.#received.get(job);
    if (!received) throw new PacsError('BAD_REQUEST', 'the job was not received from this queue');
    return received;
  }

  async #send(url: string, body: string, delaySeconds: number): Promise<void> {
    const DelaySeconds = Math.min(SQS_DELAY_LIMIT_SECONDS, Math.max(0, delaySeconds));
    const command = new SendMessageCommand({ QueueUrl: url, MessageBody: body, DelaySeconds });
    await this.#call(() => this.#options.client.send(command));
  }

  async #receive(url: string, max: number, visibilityMs: number, wait: boolean): Promise<Message[]> {
    const command = new ReceiveMessageCommand({
      QueueUrl: url,
      MaxNumberOfMessages: max,
      VisibilityTimeout: Math.min(SQS_VISIBILITY_LIMIT_SECONDS, Math.ceil(visibilityMs / 1000)),
      WaitTimeSeconds: wait ? (this.#options.waitSeconds ?? 0) : 0,
      MessageSystemAttributeNames: ['ApproximateReceiveCount'],
    });
    return (await this.#call(() => this.#options.client.send(command))).Messages ?? [];
  }

  async #hide(url: string, receipt: string, seconds: number): Promise<void> {
    const command = new ChangeMessageVisibilityCommand({
      QueueUrl: url,
      ReceiptHandle: receipt,
      VisibilityTimeout: Math.min(SQS_VISIBILITY_LIMIT_SECONDS, seconds),
    });
    await this.#call(() => this.#options.client.send(command).catch(unlessGone));
  }

  async #delete(url: string, receipt: string): Promise<void> {
    const command = new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: receipt });
    await this.#call(() => this.#options.client.send(command).catch(unlessGone));
  }

  /** Every call may be repeated: at worst a message is there twice, or hidden until its time is up. */
  #call<T>(call: () => Promise<T>): Promise<T> {
    const { clock, retry } = this.#options;
    return retrying({ clock, policy: retry, changes: false }, call);
  }
}

/** Undefined for what is no message of ours. */
function ownMessage(body: string): QueueMessage | undefined {
  try {
    return parseMessage(body);
  } catch (error) {
    if (error instanceof PacsError && error.code === 'BAD_REQUEST') return undefined;
    throw error;
  }
}

/** The message is done already, or its time had run out: it is visible again, or another worker's. */
function unlessGone(error: unknown): void {
  if (!/MessageNotInflight|ReceiptHandleIsInvalid|InvalidParameterValue/.test((error as Error).name)) throw error;
}
