import type { IncomingMessage, ServerResponse } from 'node:http';
import { PacsError } from '#core/errors.ts';

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
    // When it is our turn on the connection (http-host.ts): behind a request whose answer is not whole yet, node would put it between the
    // header and the body of our own answer, and whoever reads the connection would lose step.
    const outgoing = this.#outgoing;
    if (this.#incoming.headers.expect !== undefined && !outgoing.headersSent && !this.#incoming.complete)
      outgoing.writeContinue();
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
}

/** No defect of ours, though nobody is left to be told. */
const brokenOff = (cause?: unknown): PacsError =>
  new PacsError('BAD_REQUEST', 'the client broke off within the body', cause === undefined ? {} : { cause });
