/** What a peer sent is no PDU: `reason` is that of the A-ABORT it gets (PS3.8 Table 9-26). */
export class PduError extends Error {
  readonly reason: number;
  constructor(reason: number, message: string) {
    super(message);
    this.name = 'PduError';
    this.reason = reason;
  }
}

const INVALID_PARAMETER = 6;
const UID_CHARACTERS = 64;

const tooShort = (): never => {
  throw new PduError(INVALID_PARAMETER, 'an item is longer than what encloses it');
};

/** Big endian fields of one item, never beyond its end. @throws PduError */
export class PduReader {
  readonly #bytes: Buffer;
  #at: number;
  readonly #end: number;

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  skip(bytes: number): number {
    const at = this.#at;
    if (bytes > this.left) tooShort();
    this.#at += bytes;
    return at;
  }

  uint8(): number {
    return this.#bytes[this.skip(1)]!;
  }

  uint16(): number {
    return this.#bytes.readUInt16BE(this.skip(2));
  }

  uint32(): number {
    return this.#bytes.readUInt32BE(this.skip(4));
  }

  /** A copy, as the bytes belong to the connection. */
  bytes(count: number): Buffer {
    const at = this.skip(count);
    return Buffer.from(this.#bytes.subarray(at, at + count));
  }

  /** Without the spaces and NULs around it. */
  text(count: number): string {
    const at = this.skip(count);
    return this.#bytes.toString('latin1', at, at + count).replace(/^[ \0]+|[ \0]+$/g, '');
  }

  uid(count: number): string {
    const uid = this.text(count);
    if (uid.length > UID_CHARACTERS || /[^0-9.]/.test(uid))
      throw new PduError(INVALID_PARAMETER, 'a UID in an association item is none');
    return uid;
  }

  inner(count: number): PduReader {
    const at = this.skip(count);
    return new PduReader(this.#bytes, at, at + count);
  }
}

export const readerOf = (bytes: Buffer): PduReader => new PduReader(bytes, 0, bytes.length);

/** The items up to the end of the reader: type, reserved, 16-bit length, content. */
export function* itemsOf(reader: PduReader): Generator<{ type: number; content: PduReader }> {
  while (reader.left > 0) {
    const type = reader.uint8();
    reader.skip(1);
    yield { type, content: reader.inner(reader.uint16()) };
  }
}

export function uint16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function wrapped(type: number, parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.of(type, 0), uint16(content.length), content]);
}

export const uidItem = (type: number, uid: string): Buffer => wrapped(type, [Buffer.from(uid, 'latin1')]);

/** Length, then content: fields within an item. */
export const counted = (content: string | Uint8Array): Buffer => {
  const bytes = typeof content === 'string' ? Buffer.from(content, 'latin1') : content;
  return Buffer.concat([uint16(bytes.length), bytes]);
};
