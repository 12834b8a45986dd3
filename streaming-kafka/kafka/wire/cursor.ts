/** Reads bytes from front to back. Every reader throws a RangeError where there are too few. */
export class Cursor {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  bytes(count: number): Buffer {
    const at = this.#pass(count);
    return this.#bytes.subarray(at, at + count);
  }

  uint8(): number {
    return this.#bytes[this.#pass(1)] as number;
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.#pass(2));
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#pass(4));
  }

  uint32(): number {
    return this.#bytes.readUInt32BE(this.#pass(4));
  }

  /** Exact up to 2^53, which no offset, timestamp or producer id reaches. */
  int64(): number {
    return Number(this.#bytes.readBigInt64BE(this.#pass(8)));
  }

  /** Of one to four bytes, the lowest first. */
  uintLE(count: number): number {
    return this.#bytes.readUIntLE(this.#pass(count), count);
  }

  unsignedVarint(): number {
    let value = 0;
    for (let unit = 1; unit < 2 ** 63; unit *= 128) {
      const byte = this.uint8();
      value += (byte & 0x7f) * unit;
      if (byte < 0x80) return value;
    }
    throw new RangeError("a number is too long");
  }

  /** Zigzag encoding, as in Kafka's records. */
  varint(): number {
    const value = this.unsignedVarint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  /** A length-prefixed string. */
  string(): string {
    return this.bytes(this.int16()).toString();
  }

  /** Length-prefixed bytes; null where the length is negative. */
  varBytes(): Buffer | null {
    const length = this.varint();
    return length < 0 ? null : this.bytes(length);
  }

  #pass(count: number): number {
    const at = this.#at;
    if (!(count >= 0 && count <= this.left)) {
      throw new RangeError(`${count} bytes are wanted, and ${this.left} are left`);
    }
    this.#at += count;
    return at;
  }
}
