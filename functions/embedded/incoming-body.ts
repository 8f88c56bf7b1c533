import type { IncomingMessage, ServerResponse } from 'node:http';
import { PacsError } from '#core/errors.ts';
import { lend } from '#core/lent-bytes.ts';

/** What may wait for its reader before the connection is asked to stand still (bytes). */
const WAITING_BYTES = 128 * 1024;

/**
 * The request's body, once; counts what was read. An early end of the loop leaves the connection usable for the answer; another loop goes
 * on there. A client that waits to be asked for its body (Expect: 100-continue) is asked when somebody reads it: whoever is refused need not send it.
 *
 * Chunks are taken as the parser has them. Node's own iterator waits for a turn of its own for each, and copies two that have met into one.
 */
export class IncomingBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  readonly #incoming: IncomingMessage;
  readonly #outgoing: ServerResponse;
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  /** resolves when a chunk has come, or none will any more */
  #arrival: PromiseWithResolvers<void> | undefined;
  #begun = false;
  #over = false;
  #failure: unknown;
  received = 0;

  constructor(incoming: IncomingMessage, outgoing: ServerResponse) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    if (!this.#begun) this.#begin();
    for (;;) {
      const chunk = this.#waiting.shift();
      if (chunk !== undefined) {
        this.received += chunk.byteLength;
        this.#waitingBytes -= chunk.byteLength;
        return { done: false, value: chunk };
      }
      if (this.#over) break;
      if (this.#incoming.isPaused()) this.#incoming.resume();
      this.#arrival ??= Promise.withResolvers();
      await this.#arrival.promise;
    }
    // A request without a body has none before the parser says that it is complete.
    if (!this.#incoming.complete) await new Promise(setImmediate);
    if (!this.#incoming.complete || this.#failure !== undefined) throw brokenOff(this.#failure);
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    this.#incoming.pause();
    return { done: true, value: undefined };
  }

  #begin(): void {
    this.#begun = true;
    const incoming = this.#incoming;
    // When it is our turn on the connection (http-host.ts): behind a request whose answer is not whole yet, node would put it between the
    // header and the body of our own answer, and whoever reads the connection would lose step.
    const outgoing = this.#outgoing;
    if (incoming.headers.expect !== undefined && !outgoing.headersSent && !incoming.complete) outgoing.writeContinue();
    if (incoming.destroyed || incoming.readableEnded) {
      this.#over = true;
      return;
    }
    const end = (): void => {
      this.#over = true;
      this.#arrived();
    };
    incoming.on('data', (chunk: Uint8Array) => {
      this.#waiting.push(lent(chunk));
      this.#waitingBytes += chunk.byteLength;
      if (this.#waitingBytes >= WAITING_BYTES) incoming.pause();
      this.#arrived();
    });
    incoming.on('end', end);
    incoming.on('close', end);
    incoming.on('error', (error) => {
      this.#failure = error;
      end();
    });
  }

  #arrived(): void {
    this.#arrival?.resolve();
    this.#arrival = undefined;
  }
}

/**
 * Who has copied a chunk may give it back (#core/lent-bytes.ts): its memory is let go of at once then, and the next chunk has it while it is
 * still in the processor's caches. What the collector finds later is half a megabyte further on for every slice.
 */
function lent(chunk: Uint8Array): Uint8Array {
  const memory = chunk.buffer as ArrayBuffer;
  // What shares its memory with others is not its own to let go.
  return chunk.byteLength === memory.byteLength ? lend(chunk, () => memory.transfer(0)) : chunk;
}

/** No defect of ours, though nobody is left to be told. */
const brokenOff = (cause?: unknown): PacsError =>
  new PacsError('BAD_REQUEST', 'the client broke off within the body', cause === undefined ? {} : { cause });
