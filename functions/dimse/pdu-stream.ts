import { ABORT_REASON, PDU, PDU_HEADER_BYTES, PDV_HEADER_BYTES } from './pdu.ts';
import { PduError } from './pdu-items.ts';

/** The most a PDU other than P-DATA-TF may hold: 128 presentation contexts with all transfer syntaxes are 300 KB. */
const CONTROL_PDU_BYTES = 1024 * 1024;

export interface PduSink {
  /** A whole PDU other than P-DATA-TF. */
  control(type: number, body: Buffer): void;
  /**
   * A piece of a presentation data value; `ends`: its last one. `bytes` is a view of what was read from the connection.
   * `control`: bit 0 command, bit 1 last fragment of the message's part.
   */
  data(contextId: number, control: number, bytes: Buffer, ends: boolean): void;
}

/**
 * Cuts what arrives into PDUs, whatever its boundaries are. Presentation data values are handed on as they arrive and never
 * gathered, so a PDU of any length costs no memory.
 */
export class PduStream {
  readonly #sink: PduSink;
  /** the part of a header, or of a PDU other than P-DATA-TF, that is here */
  #held: Buffer = Buffer.alloc(0);
  #type = 0;
  /** bytes of the PDU's body that are still to come; undefined: a PDU header is next */
  #bodyLeft: number | undefined;
  /** bytes of the value that are still to come; undefined: its header is next */
  #valueLeft: number | undefined;
  #contextId = 0;
  #control = 0;

  constructor(sink: PduSink) {
    this.#sink = sink;
  }

  /** True between two PDUs. */
  get atBoundary(): boolean {
    return this.#bodyLeft === undefined && this.#held.length === 0;
  }

  /** @throws PduError; nothing may be pushed after that */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#valueLeft !== undefined) {
        at += this.#passValue(chunk, at);
        continue;
      }
      const need = this.#wanted();
      const missing = need - this.#held.length;
      if (chunk.length - at < missing) {
        this.#held = Buffer.concat([this.#held, chunk.subarray(at)]);
        return;
      }
      const unit =
        this.#held.length === 0
          ? chunk.subarray(at, at + need)
          : Buffer.concat([this.#held, chunk.subarray(at, at + missing)]);
      this.#held = EMPTY;
      at += missing;
      this.#take(unit);
    }
  }

  #wanted(): number {
    if (this.#bodyLeft === undefined) return PDU_HEADER_BYTES;
    return this.#type === PDU.data ? PDV_HEADER_BYTES : this.#bodyLeft;
  }

  #take(unit: Buffer): void {
    if (this.#bodyLeft === undefined) this.#beginPdu(unit);
    else if (this.#type === PDU.data) this.#beginValue(unit);
    else {
      this.#bodyLeft = undefined;
      this.#sink.control(this.#type, unit);
    }
  }

  #beginPdu(header: Buffer): void {
    this.#type = header[0]!;
    const length = header.readUInt32BE(2);
    if (this.#type < PDU.associateRequest || this.#type > PDU.abort)
      throw new PduError(ABORT_REASON.unrecognizedPdu, 'a PDU of an unknown type');
    if (this.#type === PDU.data) {
      if (length < PDV_HEADER_BYTES) throw new PduError(ABORT_REASON.invalidParameter, 'a P-DATA-TF PDU is empty');
    } else if (length < 4 || length > CONTROL_PDU_BYTES)
      throw new PduError(ABORT_REASON.invalidParameter, 'a PDU has an impossible length');
    this.#bodyLeft = length;
  }

  #beginValue(header: Buffer): void {
    const length = header.readUInt32BE(0);
    if (length < 2 || length + 4 > this.#bodyLeft!)
      throw new PduError(ABORT_REASON.invalidParameter, 'a presentation data value has an impossible length');
    this.#bodyLeft! -= length + 4;
    if (this.#bodyLeft! > 0 && this.#bodyLeft! < PDV_HEADER_BYTES)
      throw new PduError(ABORT_REASON.invalidParameter, 'a P-DATA-TF PDU ends within a value');
    this.#contextId = header[4]!;
    this.#control = header[5]!;
    if (length > 2) this.#valueLeft = length - 2;
    else this.#endValue(EMPTY);
  }

  #passValue(chunk: Buffer, at: number): number {
    const count = Math.min(this.#valueLeft!, chunk.length - at);
    const piece = at === 0 && count === chunk.length ? chunk : chunk.subarray(at, at + count);
    this.#valueLeft! -= count;
    if (this.#valueLeft === 0) this.#endValue(piece);
    else this.#sink.data(this.#contextId, this.#control, piece, false);
    return count;
  }

  #endValue(piece: Buffer): void {
    this.#valueLeft = undefined;
    if (this.#bodyLeft === 0) this.#bodyLeft = undefined;
    this.#sink.data(this.#contextId, this.#control, piece, true);
  }
}

const EMPTY = Buffer.alloc(0);
