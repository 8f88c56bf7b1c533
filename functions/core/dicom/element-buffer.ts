import { swapped } from './byte-order.ts';
import { headerBytes, writtenAs } from './element-header.ts';
import { vrNamed } from './vr.ts';

const EMPTY = Buffer.alloc(0);
const NUL = Uint8Array.of(0);
const SPACE = Uint8Array.of(0x20);

/** Elements as they are encoded (PS3.5 §7), one behind the other in memory that grows: headers, values, items. */
export class ElementBuffer {
  /** byte order of what is written from now on */
  little = true;
  #buffer: Buffer = EMPTY;
  #used = 0;

  /** bytes that have been written and not yet taken */
  get heldBytes(): number {
    return this.#used;
  }

  /** What has been written and not yet taken. */
  take(): Uint8Array {
    const bytes = this.#buffer.subarray(0, this.#used);
    this.#buffer = EMPTY;
    this.#used = 0;
    return bytes;
  }

  /** An element whose value is held. */
  value(tag: string, vr: string, value: Uint8Array, implicit: boolean): void {
    this.header(tag, vr, value.length + (value.length & 1), implicit);
    const word = this.wordBytes(vr, value.length);
    this.bytes(word === 1 ? value : swapped(value, word));
    if (value.length % 2 === 1) this.pad(vr);
  }

  /** `length`: of the value that follows (bytes), or UNDEFINED_LENGTH where a delimiter ends it. */
  header(tag: string, vr: string, length: number, implicit: boolean): void {
    this.#uint16(Number.parseInt(tag.slice(0, 4), 16));
    this.#uint16(Number.parseInt(tag.slice(4), 16));
    if (implicit) {
      this.uint32(length);
      return;
    }
    this.#room(2);
    this.#used += this.#buffer.write(writtenAs(vr, length), this.#used, 'latin1');
    if (headerBytes(vr, length, false) === 8) this.#uint16(length);
    else {
      this.#uint16(0);
      this.uint32(length);
    }
  }

  /** Bytes of the words that are reversed in a value of so many bytes; UN is never swapped (PS3.5 §6.2.2). */
  wordBytes(vr: string, length: number): number {
    return this.little ? 1 : vrNamed(writtenAs(vr, length))!.width;
  }

  /** Of an item or a delimiter (PS3.5 §7.5). */
  item(tag: number, length: number): void {
    this.#uint16(tag >>> 16);
    this.#uint16(tag & 0xffff);
    this.uint32(length);
  }

  /** The byte that makes a value of this VR one of even length (PS3.5 §6.2). */
  pad(vr: string): void {
    this.bytes(isText(vr) ? SPACE : NUL);
  }

  #uint16(value: number): void {
    this.#room(2);
    const b = this.#buffer;
    this.#used = this.little ? b.writeUInt16LE(value, this.#used) : b.writeUInt16BE(value, this.#used);
  }

  uint32(value: number): void {
    this.#room(4);
    const b = this.#buffer;
    this.#used = this.little ? b.writeUInt32LE(value, this.#used) : b.writeUInt32BE(value, this.#used);
  }

  bytes(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#buffer.set(bytes, this.#used);
    this.#used += bytes.length;
  }

  #room(bytes: number): void {
    if (this.#used + bytes <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(2048, this.#buffer.length * 2, this.#used + bytes));
    this.#buffer.copy(grown, 0, 0, this.#used);
    this.#buffer = grown;
  }
}

function isText(name: string): boolean {
  const vr = vrNamed(name);
  return vr !== undefined && vr.kind !== 'octets' && vr.kind !== 'numbers' && vr.kind !== 'tags' && name !== 'UI';
}
