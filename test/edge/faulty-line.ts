import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePort } from '#test/fixtures/free-port.ts';

/** What the line does to what passes. */
export type Fault =
  | { readonly kind: 'none' }
  /** nobody listens */
  | { readonly kind: 'refused' }
  /** connections are taken, and nothing ever comes back */
  | { readonly kind: 'hanging' }
  /** both ways */
  | { readonly kind: 'slow'; readonly bytesPerSecond: number }
  /** one byte in about so many, on the way up */
  | { readonly kind: 'corrupting'; readonly oneIn: number }
  /** each connection breaks when so many bytes have gone up */
  | { readonly kind: 'cutting'; readonly afterBytes: number }
  /** a proxy in between answers instead of the archive */
  | { readonly kind: 'answering'; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  /** requests arrive; the answers to those by which objects are stored are lost */
  | { readonly kind: 'losingAnswers' };

/** A slow line passes on so much at a time (ms). */
const PIECE_MS = 50;

/** TCP between the gateway and the archive, which a test can spoil in every way that a WAN knows. */
export class FaultyLine {
  readonly #target: () => number;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #fault: Fault = { kind: 'none' };
  #passed = 0;
  port = 0;
  /** request lines that went up: `POST /dicomweb/studies` */
  readonly requests: string[] = [];

  constructor(target: () => number) {
    this.#target = target;
  }

  static async open(target: () => number): Promise<FaultyLine> {
    const line = new FaultyLine(target);
    // not one that the system may give away while the line is cut
    line.port = await freePort();
    await line.#listen();
    return line;
  }

  /** What is under way breaks; what comes from now on meets the fault. */
  async set(fault: Fault): Promise<void> {
    this.#fault = fault;
    for (const socket of this.#sockets) socket.destroy();
    if (fault.kind === 'refused') {
      this.#server?.close();
      this.#server = undefined;
    } else if (this.#server === undefined) await this.#listen();
  }

  async close(): Promise<void> {
    await this.set({ kind: 'refused' });
  }

  async #listen(): Promise<void> {
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  #serve(near: Socket): void {
    this.#keep(near);
    const fault = this.#fault;
    if (fault.kind === 'hanging') {
      near.resume();
      return;
    }
    if (fault.kind === 'answering') {
      near.once('data', (chunk) => {
        this.#note(chunk);
        const lines = Object.entries({ 'content-length': '0', connection: 'close', ...fault.headers });
        near.resume();
        near.write(
          `HTTP/1.1 ${fault.status} No\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
        );
      });
      return;
    }
    const far = connect(this.#target(), '127.0.0.1');
    this.#keep(far);
    let stores = false;
    let up = 0;
    const pass = (from: Socket, to: Socket, change: (chunk: Buffer) => Buffer | undefined): void => {
      from.on('data', async (chunk: Buffer) => {
        const changed = change(chunk);
        if (changed === undefined) {
          near.destroy();
          far.destroy();
          return;
        }
        if (fault.kind === 'slow') {
          // In small pieces, as on a real line: the first bytes of an answer come at once, however long the rest takes.
          from.pause();
          const pieceBytes = Math.ceil((fault.bytesPerSecond * PIECE_MS) / 1000);
          for (let at = 0; at < changed.length && !to.destroyed; at += pieceBytes) {
            const piece = changed.subarray(at, at + pieceBytes);
            await new Promise((resolve) => setTimeout(resolve, (piece.length * 1000) / fault.bytesPerSecond));
            to.write(piece);
          }
          from.resume();
          return;
        }
        if (!to.write(changed)) {
          from.pause();
          to.once('drain', () => from.resume());
        }
      });
      from.on('end', () => to.end());
      from.on('close', () => to.destroy());
    };
    pass(near, far, (chunk) => {
      const line = this.#note(chunk);
      if (line !== undefined) stores = line.startsWith('POST ');
      up += chunk.length;
      if (fault.kind === 'cutting' && up > fault.afterBytes) return undefined;
      return fault.kind === 'corrupting' ? this.#corrupted(chunk, fault.oneIn) : chunk;
    });
    pass(far, near, (chunk) => (fault.kind === 'losingAnswers' && stores ? undefined : chunk));
  }

  #note(chunk: Buffer): string | undefined {
    const line = /^([A-Z]+ [^ ]+) HTTP\/1\.1\r\n/.exec(chunk.toString('latin1', 0, 400))?.[1];
    if (line !== undefined) this.requests.push(line);
    return line;
  }

  #corrupted(chunk: Buffer, oneIn: number): Buffer {
    const copy = Buffer.from(chunk);
    for (let at = oneIn - (this.#passed % oneIn); at < copy.length; at += oneIn) copy[at]! ^= 0x20;
    this.#passed += chunk.length;
    return copy;
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }
}
