/**
 * The codecs of Kafka's producers. kafkajs supports only gzip; the output is bounded, since a
 * single record may be a decompression bomb.
 */
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { Cursor } from "./cursor.ts";

/**
 * The records of a batch that was compressed with that codec (1 to 4, as Kafka counts). Throws when
 * they are invalid, or would be longer than `limit` bytes.
 */
export function decompress(codec: number, bytes: Buffer, limit: number): Buffer {
  switch (codec) {
    case 1:
      return gunzipSync(bytes, { maxOutputLength: limit });
    case 2:
      return unsnappy(bytes, limit);
    case 3:
      return unlz4(bytes, limit);
    case 4:
      return zstdDecompressSync(bytes, { maxOutputLength: limit });
    default:
      throw new Error(`there is no codec ${codec}`);
  }
}

/** The decompressed output, which supports back references. */
class Output {
  #bytes = Buffer.allocUnsafe(64 * 1024);
  #length = 0;
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(bytes: Buffer): void {
    this.#grow(bytes.length);
    bytes.copy(this.#bytes, this.#length - bytes.length);
  }

  /** Copies `count` bytes from `distance` before the end; they may overlap the copied bytes. */
  repeat(distance: number, count: number): void {
    const from = this.#length - distance;
    if (distance === 0 || from < 0) throw new Error("it refers to what lies before its start");
    this.#grow(count);
    for (let n = 0, to = from + distance; n < count; n += 1) {
      this.#bytes[to + n] = this.#bytes[from + n] as number;
    }
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  #grow(by: number): void {
    this.#length += by;
    if (this.#length > this.#limit) throw new Error(`it is longer than ${this.#limit} bytes`);
    if (this.#length <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.min(this.#limit, this.#length * 2));
    this.#bytes.copy(grown);
    this.#bytes = grown;
  }
}

/**
 * The magic of the framing that Java clients put around Snappy blocks; others write a single block
 * without framing.
 */
const XERIAL = Buffer.from("\x82SNAPPY\0", "latin1");

function unsnappy(bytes: Buffer, limit: number): Buffer {
  const output = new Output(limit);
  if (!bytes.subarray(0, XERIAL.length).equals(XERIAL)) {
    unsnappyBlock(bytes, output);
    return output.bytes;
  }
  // The magic is followed by two version numbers.
  const cursor = new Cursor(bytes, XERIAL.length + 8);
  while (cursor.left > 0) unsnappyBlock(cursor.bytes(cursor.int32()), output);
  return output.bytes;
}

function unsnappyBlock(bytes: Buffer, output: Output): void {
  const cursor = new Cursor(bytes);
  const end = output.bytes.length + cursor.unsignedVarint();
  while (cursor.left > 0) {
    const tag = cursor.uint8();
    const length = (tag >> 2) + 1;
    switch (tag & 3) {
      case 0:
        // Values above 60 give the number of bytes of the length.
        output.add(cursor.bytes(length <= 60 ? length : cursor.uintLE(length - 60) + 1));
        break;
      case 1:
        output.repeat(((tag >> 5) << 8) | cursor.uint8(), ((tag >> 2) & 7) + 4);
        break;
      case 2:
        output.repeat(cursor.uintLE(2), length);
        break;
      case 3:
        output.repeat(cursor.uintLE(4), length);
        break;
    }
  }
  if (output.bytes.length !== end) throw new Error("a block isn't as long as it says");
}

/** A frame of LZ4. Its checksums are not verified: the batch around it has one. */
function unlz4(bytes: Buffer, limit: number): Buffer {
  const cursor = new Cursor(bytes);
  if (cursor.uintLE(4) !== 0x184d2204) throw new Error("it is no frame of LZ4");
  const flags = cursor.uint8();
  const blockChecksum = flags & 0x10 ? 4 : 0;
  const contentSize = flags & 0x08 ? 8 : 0;
  const dictionary = flags & 0x01 ? 4 : 0;
  // The maximum block size comes before these fields, a header checksum after them.
  cursor.bytes(1 + contentSize + dictionary + 1);
  const output = new Output(limit);
  for (;;) {
    const size = cursor.uintLE(4);
    if (size === 0) return output.bytes;
    const block = cursor.bytes(size & 0x7fff_ffff);
    if (size >= 0x8000_0000) output.add(block);
    else unlz4Block(block, output);
    cursor.bytes(blockChecksum);
  }
}

function unlz4Block(bytes: Buffer, output: Output): void {
  const cursor = new Cursor(bytes);
  const length = (nibble: number) => {
    let sum = nibble;
    if (nibble < 15) return sum;
    for (let more = 255; more === 255; sum += more) more = cursor.uint8();
    return sum;
  };
  while (cursor.left > 0) {
    const token = cursor.uint8();
    output.add(cursor.bytes(length(token >> 4)));
    // The last sequence has only literals.
    if (cursor.left === 0) return;
    const distance = cursor.uintLE(2);
    output.repeat(distance, length(token & 15) + 4);
  }
}
