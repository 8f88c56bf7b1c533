import { AssociationError } from './association.ts';
import { type Command, DATA_SET, decodeCommand, encodeCommand, NO_DATA_SET, RESPONSE } from './command-set.ts';
import { passed } from './passing-memory.ts';
import { ABORT_REASON, dataHeader, PDV_HEADER_BYTES } from './pdu.ts';
import { PduError } from './pdu-items.ts';

/** A DIMSE message (PS3.7 §6.3.1): a command, and perhaps a data set whose bytes follow while it is being read. */
export interface Message {
  readonly contextId: number;
  readonly command: Command;
  readonly dataSet: IncomingDataSet | undefined;
}

/** bytes of a data set that wait for their reader before the connection is paused; it goes on at half of them */
const HELD_BYTES = 512 * 1024;
/** What a data set has brought beyond this is counted: smaller ones are gathered in buffers that are used again. */
const LARGE_BYTES = 2 * 1024 * 1024;
/** messages that wait before the connection is paused */
const WAITING_MESSAGES = 32;
/** what a piece costs beside its bytes, so that a sender of single bytes cannot fill the memory with pieces */
const PIECE_BYTES = 128;
const COMMAND_BYTES = 64 * 1024;
const LAST_FRAGMENT = 2;
const IS_COMMAND = 1;

/** Stops and starts what comes in. */
export interface Flow {
  pause(): void;
  resume(): void;
}

/** Stands still while anybody wants it to: messages that wait pause it, and so does the data set that comes behind them. */
class SharedFlow implements Flow {
  readonly #flow: Flow;
  #pauses = 0;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  pause(): void {
    if (this.#pauses++ === 0) this.#flow.pause();
  }

  resume(): void {
    if (--this.#pauses === 0) this.#flow.resume();
  }
}

/**
 * The bytes of a data set, once, as they lay in the presentation data values. While nobody reads, the connection is paused:
 * back-pressure reaches the sender. Throws AssociationError when the association ends before the data set does.
 */
export class IncomingDataSet implements AsyncIterable<Uint8Array> {
  readonly #flow: Flow;
  #chunks: Buffer[] = [];
  #heldBytes = 0;
  #paused = false;
  #complete = false;
  #error: AssociationError | undefined;
  #wake: (() => void) | undefined;
  #discarding = false;
  /** bytes so far */
  received = 0;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  get complete(): boolean {
    return this.#complete;
  }

  push(bytes: Buffer): void {
    this.received += bytes.length;
    if (this.#discarding || bytes.length === 0) return;
    this.#chunks.push(bytes);
    this.#heldBytes += bytes.length + PIECE_BYTES;
    if (this.#heldBytes > HELD_BYTES && !this.#paused) {
      this.#paused = true;
      this.#flow.pause();
    }
    this.#stir();
  }

  end(): void {
    this.#complete = true;
    this.#stir();
  }

  fail(error: AssociationError): void {
    this.#error ??= error;
    this.#stir();
  }

  /** What nobody will read is let pass. */
  discard(): void {
    this.#discarding = true;
    this.#chunks = [];
    this.#heldBytes = 0;
    this.#goOn();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#heldBytes -= chunk.length + PIECE_BYTES;
        if (this.#paused && this.#heldBytes <= HELD_BYTES / 2) this.#goOn();
        if (this.received > LARGE_BYTES) passed(chunk.length);
        yield chunk;
      } else if (this.#complete) return;
      else if (this.#error !== undefined) throw this.#error;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }

  /** The whole data set. @throws PduError beyond `limitBytes`: identifiers and action information are small */
  async gather(limitBytes = 16 * 1024 * 1024): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of this) {
      size += chunk.length;
      if (size > limitBytes) {
        this.discard();
        throw new PduError(ABORT_REASON.notSpecified, 'an identifier is too large');
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks, size);
  }

  #stir(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  #goOn(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#flow.resume();
  }
}

/** Puts messages together from presentation data values; hands each on as soon as its command is complete. */
export class MessageReader {
  readonly #flow: Flow;
  readonly #isAccepted: (contextId: number) => boolean;
  #command: Buffer[] = [];
  #commandBytes = 0;
  /** the context of the message under way */
  #contextId = 0;
  #dataSet: IncomingDataSet | undefined;
  #waiting: Message[] = [];
  #paused = false;
  #done = false;
  #wake: (() => void) | undefined;

  constructor(flow: Flow, isAccepted: (contextId: number) => boolean) {
    this.#flow = new SharedFlow(flow);
    this.#isAccepted = isAccepted;
  }

  /** A message has begun and not ended. */
  get underWay(): boolean {
    return this.#dataSet !== undefined || this.#commandBytes > 0;
  }

  /** @throws PduError when fragments do not make messages */
  data(contextId: number, control: number, bytes: Buffer, ends: boolean): void {
    const isLast = ends && (control & LAST_FRAGMENT) !== 0;
    if ((control & IS_COMMAND) !== 0) this.#commandPiece(contextId, bytes, isLast);
    else {
      const dataSet = this.#dataSet;
      if (dataSet === undefined || contextId !== this.#contextId)
        throw new PduError(ABORT_REASON.unexpectedParameter, 'a data set without its command');
      dataSet.push(bytes);
      if (isLast) {
        this.#dataSet = undefined;
        dataSet.end();
      }
    }
  }

  #commandPiece(contextId: number, bytes: Buffer, isLast: boolean): void {
    if (this.#dataSet !== undefined || (this.#commandBytes > 0 && contextId !== this.#contextId))
      throw new PduError(ABORT_REASON.unexpectedParameter, 'a command within another message');
    if (!this.#isAccepted(contextId))
      throw new PduError(ABORT_REASON.invalidParameter, 'a presentation context that was not accepted');
    this.#contextId = contextId;
    this.#commandBytes += bytes.length;
    if (this.#commandBytes > COMMAND_BYTES) throw new PduError(ABORT_REASON.invalidParameter, 'a command is too long');
    // A piece of a chunk would keep the whole chunk, and a sender of single bytes many of them.
    if (bytes.length > 0) this.#command.push(isLast && this.#command.length === 0 ? bytes : Buffer.from(bytes));
    if (!isLast) return;
    const command = decodeCommand(this.#command.length === 1 ? this.#command[0]! : Buffer.concat(this.#command));
    this.#command = [];
    this.#commandBytes = 0;
    if (command.CommandDataSetType !== NO_DATA_SET) this.#dataSet = new IncomingDataSet(this.#flow);
    this.#waiting.push({ contextId, command, dataSet: this.#dataSet });
    if (this.#waiting.length > WAITING_MESSAGES && !this.#paused) {
      this.#paused = true;
      this.#flow.pause();
    }
    this.#stir();
  }

  /** The next message; undefined when no more will come. */
  async next(): Promise<Message | undefined> {
    for (;;) {
      const message = this.#waiting.shift();
      if (message !== undefined) {
        if (this.#paused) {
          this.#paused = false;
          this.#flow.resume();
        }
        return message;
      }
      if (this.#done) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Responses that have arrived and were not taken yet. */
  takeResponses(): Message[] {
    const isResponse = ({ command }: Message): boolean => (command.CommandField & RESPONSE) !== 0;
    const responses = this.#waiting.filter(isResponse);
    this.#waiting = this.#waiting.filter((message) => !isResponse(message));
    return responses;
  }

  /** Nothing more comes; what is under way never gets complete. */
  end(error: AssociationError | undefined): void {
    this.#done = true;
    this.#dataSet?.fail(error ?? new AssociationError('closed', 'the association ended within a message'));
    this.#stir();
  }

  #stir(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

/** Where P-DATA-TF PDUs go; see Association.send. */
export interface DataSink {
  send(buffers: readonly Uint8Array[]): Promise<void> | undefined;
}

export type OutgoingDataSet = Uint8Array | AsyncIterable<Uint8Array>;

/** PDUs of one write; more would hold the event loop for little. */
const WRITE_BYTES = 256 * 1024;

/** Writes messages, one after the other, in fragments that the peer takes. */
export class MessageWriter {
  readonly #sink: DataSink;
  readonly #fragmentBytes: number;
  #turn: Promise<unknown> = Promise.resolve();

  /** @param maxPduBytes of the PDU's variable field, as the peer said */
  constructor(sink: DataSink, maxPduBytes: number) {
    this.#sink = sink;
    this.#fragmentBytes = Math.max(2, (maxPduBytes - PDV_HEADER_BYTES) & ~1);
  }

  /** Resolves when all is handed to the connection. @throws AssociationError; and what the data set's source throws */
  write(contextId: number, command: Command, dataSet?: OutgoingDataSet): Promise<void> {
    const written = this.#turn.then(() => this.#write(contextId, command, dataSet));
    this.#turn = written.catch(() => {});
    return written;
  }

  async #write(contextId: number, command: Command, dataSet: OutgoingDataSet | undefined): Promise<void> {
    const CommandDataSetType = dataSet === undefined ? NO_DATA_SET : DATA_SET;
    const buffers: Uint8Array[] = [];
    this.#fragments(buffers, contextId, true, encodeCommand({ ...command, CommandDataSetType }), true);
    if (dataSet instanceof Uint8Array) this.#fragments(buffers, contextId, false, dataSet, true);
    if (dataSet === undefined || dataSet instanceof Uint8Array) {
      await this.#sink.send(buffers);
      return;
    }
    // The last fragment is marked, so one chunk is always kept back until the next is there.
    let held: Uint8Array | undefined;
    for await (const next of dataSet) {
      if (next.length === 0) continue;
      let chunk = next;
      if (held !== undefined) {
        if (held.length % 2 === 1) {
          // Fragments are of even length.
          chunk = Buffer.concat([held.subarray(-1), next]);
          held = held.subarray(0, -1);
        }
        for (let at = 0; at < held.length; at += WRITE_BYTES) {
          this.#fragments(buffers, contextId, false, held.subarray(at, at + WRITE_BYTES), false);
          const full = this.#sink.send(buffers.splice(0));
          if (full !== undefined) await full;
        }
      }
      held = chunk;
    }
    this.#fragments(buffers, contextId, false, held ?? Buffer.alloc(0), true);
    await this.#sink.send(buffers);
  }

  #fragments(buffers: Uint8Array[], contextId: number, isCommand: boolean, bytes: Uint8Array, isEnd: boolean): void {
    const size = this.#fragmentBytes;
    let at = 0;
    do {
      const piece = bytes.length <= size ? bytes : bytes.subarray(at, at + size);
      at += size;
      const header = dataHeader(contextId, isCommand, isEnd && at >= bytes.length, piece.length);
      // A short fragment goes in one buffer: a system call's vector entry costs more than copying it.
      if (piece.length <= 1024) buffers.push(Buffer.concat([header, piece]));
      else buffers.push(header, piece);
    } while (at < bytes.length);
  }
}
