import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Answers in the archive's place; undefined or false: not this one, it goes on to the archive. */
export type Interference = (request: IncomingMessage, response: ServerResponse) => unknown;

/** An HTTP proxy, firewall, portal or balancer between gateway and archive, that says what it likes. */
export class GoBetween {
  readonly #server: Server;
  readonly #target: () => number;
  interfere: Interference | undefined;
  /** how often it did */
  interfered = 0;

  private constructor(target: () => number) {
    this.#target = target;
    this.#server = createServer((request, response) => this.#serve(request, response));
  }

  static async open(target: () => number): Promise<GoBetween> {
    const between = new GoBetween(target);
    between.#server.listen(0, '127.0.0.1');
    await once(between.#server, 'listening');
    return between;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    response.on('error', () => {});
    request.on('error', () => {});
    if (this.interfere !== undefined && this.interfere(request, response) !== false) {
      this.interfered++;
      request.resume();
      return;
    }
    const { method, url, headers } = request;
    const passed = send({ host: '127.0.0.1', port: this.#target(), method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    passed.on('error', () => response.destroy());
    // Who has gone away wants nothing stored of which half has come.
    response.on('close', () => {
      if (!response.writableFinished) passed.destroy();
    });
    request.pipe(passed);
  }
}
