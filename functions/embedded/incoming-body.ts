import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { PacsError } from '#core/errors.ts';

/** How often it is looked whether the answers before ours have been given (ms). */
const TURN_MS = 5;

/**
 * The request's body, once; counts what came. An early end of the loop leaves the connection usable for the answer. A client that waits to
 * be asked for its body (Expect: 100-continue) is asked when somebody reads it: whoever is refused need not send it.
 */
export class IncomingBody implements AsyncIterable<Uint8Array> {
  readonly #incoming: IncomingMessage;
  readonly #outgoing: ServerResponse;
  received = 0;

  constructor(incoming: IncomingMessage, outgoing: ServerResponse) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    if (this.#incoming.headers.expect !== undefined) await this.#ask();
    const chunks = this.#incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
    try {
      for await (const chunk of chunks) {
        this.received += chunk.byteLength;
        yield chunk;
      }
    } catch (cause) {
      throw brokenOff(cause);
    }
    if (!this.#incoming.complete) throw brokenOff();
  }

  /**
   * Says "100 Continue" when it is our turn on the connection. Said before, behind a request whose answer is not whole yet, node puts it between
   * the header and the body of our own answer, and whoever reads the connection loses step.
   */
  async #ask(): Promise<void> {
    const outgoing = this.#outgoing;
    while (outgoing.socket === null && !outgoing.destroyed && !this.#incoming.destroyed) await sleep(TURN_MS);
    if (outgoing.socket !== null && !outgoing.headersSent && !this.#incoming.complete) outgoing.writeContinue();
  }
}

/** No defect of ours, though nobody is left to be told. */
const brokenOff = (cause?: unknown): PacsError =>
  new PacsError('BAD_REQUEST', 'the client broke off within the body', cause === undefined ? {} : { cause });
