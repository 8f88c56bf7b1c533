import { once } from 'node:events';
import type { Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';

/** Of nothing that a test does. */
const LIMIT_MS = 60_000;

/**
 * What a host is still answering: one whose connections are broken goes on for a while, and its archive, and the folder of that, must be
 * there until it has come to an end.
 */
export class UnderWay {
  #count = 0;

  /** For `onDone` of the host. */
  readonly done = (): void => {
    this.#count--;
  };

  /** Before the host listens. */
  watch(server: Server | TlsServer): void {
    for (const event of ['request', 'checkContinue'])
      server.on(event, () => {
        this.#count++;
      });
  }

  /** Takes no more, breaks what there is, and resolves when nothing is being answered any more. */
  async close(server: Server | TlsServer): Promise<void> {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
    const deadline = performance.now() + LIMIT_MS;
    while (this.#count > 0) {
      if (performance.now() > deadline) throw new Error(`${this.#count} requests do not come to an end`);
      await sleep(5);
    }
  }
}
