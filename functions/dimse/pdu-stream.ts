import { ABORT_REASON, PDU, PDU_HEADER_BYTES, PDV_HEADER_BYTES } from './pdu.ts';
import { PduError } from './pdu-items.ts';

/** The most a PDU other than P-DATA-TF may hold: 128 presentation contexts with all transfer syntaxes are 300 KB. */
const CONTROL_PDU_BYTES = 1024 * 1024;

const EMPTY = Buffer.alloc(0);

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
  /** the part of a header, or of a PDU other than P-DATA-TF, that is here: the first bytes of a buffer that grows with it */
  #held: Buffer = EMPTY;
  #heldBytes = 0;
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

  /** @throws PduError; nothing may be pushed after that */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#valueLeft !== undefined) {
        at += this.#passValue(chunk, at);
        continue;
      }
      const need = this.#wanted();
      const missing = need - this.#heldBytes;
      if (chunk.length - at < missing) {
        this.#hold(chunk, at, chunk.length, need);
        return;
      }
      let unit = chunk.subarray(at, at + need);
      if (this.#heldBytes > 0) {
        this.#hold(chunk, at, at + missing, need);
        unit = this.#held.subarray(0, need);
        this.#held = EMPTY;
        this.#heldBytes = 0;
      }
      at += missing;
      this.#take(unit);
    }
  }

  /** Room is made for what is here, not for what a length promises; and not anew for every byte. */
  #hold(chunk: Buffer, start: number, end: number, need: number): void {
    const bytes = this.#heldBytes + end - start;
    if (bytes > this.#held.length) {
      const grown = Buffer.allocUnsafe(Math.min(need, Math.max(256, 2 * bytes)));
      this.#held.copy(grown, 0, 0, this.#heldBytes);
      this.#held = grown;
    }
    chunk.copy(this.#held, this.#heldBytes, start, end);
    this.#heldBytes = bytes;
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
