import { expect, test } from "bun:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import crc32C from "kafkajs/src/protocol/recordBatch/crc32C/index.js";
import { decompress } from "./compression.ts";
import { readRecords } from "./records.ts";

/** Batches of two records as Java's producer wrote them to a log, with each of its codecs. */
const FROM_JAVA = {
  zstd: "AAAAAAAAAAAAAABgAAAAAAJHT+o/AAQAAAABAAABohWC1hcAAAGiFYLWiwAAAAAAAAAFAAAAAAAAAAAAAii1L/0AWBwBANguAAAABGsxHm9uZSAAOADoAQIEazImdHdvIAACAKCrDZcEAQAA",
  snappy:
    "AAAAAAAAAAAAAABpAAAAAALwEUcLAAIAAAABAAABohWC79MAAAGiFYLwugAAAAAAAAAGAAAAAAAAAAAAAoJTTkFQUFkAAAAAAQAAAAEAAAAkNSwuAAAABGsxHm9uZSAdBDQAOADOAwIEazImdHdvIDoEAAAA",
  lz4: "AAAAAAAAAAAAAABmAAAAAAKqRMeuAAMAAAABAAABohWDBxkAAAGiFYMIrgAAAAAAAAAHAAAAAAAAAAAAAgQiTRhgQIImAAAAxy4AAAAEazEeb25lIAQA5wA4AKoGAgRrMiZ0d28gBABQIHR3bwAAAAAA",
  gzip: "AAAAAAAAAAAAAABiAAAAAAJpe5PxAAEAAAABAAABohWDKhQAAAGiFYMqPgAAAAAAAAAIAAAAAAAAAAAAAh+LCAAAAAAAAP/TY2BgYMk2lMvPS1VAwgxmDCFMLNlGaiXl+QpomAEAgjK0YDQAAAA=",
};

test.each(Object.entries(FROM_JAVA))(
  "what Java's producer compressed with %s is read",
  (_, bytes) => {
    const { messages, stall } = readRecords(Buffer.from(bytes, "base64"), 0, []);
    expect(stall).toBeUndefined();
    expect(
      messages.map(({ key, offset, value }) => `${offset} ${String(key)}: ${String(value)}`),
    ).toEqual(["0 k1: one one one one", "1 k2: two two two two two"]);
  },
);

/** A zigzag varint, as in records. */
function varint(value: number): Buffer {
  const bytes = [];
  let rest = value < 0 ? -2 * value - 1 : 2 * value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Buffer.from([...bytes, rest]);
}

interface Written {
  base: number;
  values: (string | null)[];
  producerId?: number;
  attributes?: number;
  /** The records' bytes, compressed or not, in place of the encoded ones. */
  records?: Buffer;
  count?: number;
  /** The number of offsets in the batch, including those removed by compaction. */
  span?: number;
  key?: Buffer;
}

function batch({ base, values, attributes = 0, producerId = -1, span = 0, key, ...raw }: Written) {
  const records = values.map((value, n) => {
    const body = [Buffer.of(0), varint(0), varint(n), key ? varint(key.length) : varint(-1)];
    if (key) body.push(key);
    if (value === null) body.push(varint(-1));
    else body.push(varint(value.length), Buffer.from(value));
    const record = Buffer.concat([...body, varint(0)]);
    return Buffer.concat([varint(record.length), record]);
  });
  const after = Buffer.alloc(40);
  after.writeInt16BE(attributes, 0);
  after.writeInt32BE(Math.max(values.length, span) - 1, 2);
  after.writeBigInt64BE(BigInt(producerId), 22);
  after.writeInt32BE(raw.count ?? values.length, 36);
  const checked = Buffer.concat([after, raw.records ?? Buffer.concat(records)]);
  const head = Buffer.alloc(21);
  head.writeBigInt64BE(BigInt(base), 0);
  head.writeInt32BE(checked.length + 9, 8);
  head.writeInt8(2, 16);
  head.writeUInt32BE(crc32C(checked), 17);
  return Buffer.concat([head, checked]);
}

/** The result as text: a record as `offset value`, a skipped one as its offset. */
function given({ messages, stall }: ReturnType<typeof readRecords>) {
  const shown = messages.map(({ isControlRecord, offset, value }) =>
    isControlRecord ? offset : `${offset} ${String(value)}`,
  );
  return stall ? [...shown, stall] : shown;
}

const TRANSACTIONAL = 0x10;
const marker = (base: number, producerId: number, end: "abort" | "commit") =>
  batch({
    base,
    producerId,
    attributes: 0x30,
    key: Buffer.of(0, 0, 0, end === "commit" ? 1 : 0),
    values: ["\0"],
  });

test("the end of what was read lies behind markers and what compaction took", () => {
  const log = Buffer.concat([
    batch({ base: 5, values: ["a", null], producerId: 1, attributes: TRANSACTIONAL, span: 4 }),
    marker(9, 1, "commit"),
  ]);
  expect(given(readRecords(log, 5, []))).toEqual(["5 a", "6 null", "8", "9"]);
  expect(given(readRecords(log, 6, []))).toEqual(["6 null", "8", "9"]);
  expect(given(readRecords(log, 7, []))).toEqual(["8", "9"]);
  expect(given(readRecords(log, 9, []))).toEqual(["9"]);
});

test("aborted transactions that overlap count for nothing, wherever the reading begins", () => {
  const of = (producerId: number) => ({ producerId, attributes: TRANSACTIONAL });
  const log = [
    batch({ base: 0, values: ["aborted by 1"], ...of(1) }),
    batch({ base: 1, values: ["aborted by 2"], ...of(2) }),
    batch({ base: 2, values: ["good"], ...of(3) }),
    batch({ base: 3, values: ["plain"] }),
    marker(4, 2, "abort"),
    batch({ base: 5, values: ["good of 2"], ...of(2) }),
    marker(6, 1, "abort"),
  ];
  // The broker lists them in the order in which they ended.
  const aborted = [
    { producerId: 2, firstOffset: 1 },
    { producerId: 1, firstOffset: 0 },
  ];
  const all = ["0", "1", "2 good", "3 plain", "4", "5 good of 2", "6"];
  for (const from of [0, 1, 2, 4]) {
    const rest = Buffer.concat(log.slice(from));
    expect(given(readRecords(rest, from, aborted))).toEqual(all.slice(from));
  }
});

test("what can't be read is where reading ends, with its offset and cause", () => {
  const good = batch({ base: 0, values: ["a"] });
  const damaged = batch({ base: 1, values: ["b"] });
  damaged[damaged.length - 2] = 0x63;
  const bad = [
    [damaged, "its checksum is another"],
    [batch({ base: 1, values: ["b"], attributes: 6 }), "codec 6"],
    [batch({ base: 1, values: ["b"], attributes: 4 }), "zstd"],
    [batch({ base: 1, values: ["b"] }).subarray(0, 40), "bytes are wanted"],
    [Buffer.from(good).fill(1, 16, 17), "version 1"],
  ] as const;
  for (const [bytes, reason] of bad) {
    expect(given(readRecords(Buffer.concat([good, bytes]), 0, []))).toEqual(["0 a"]);
    const { messages, stall } = readRecords(bytes, 1, []);
    expect(messages).toEqual([]);
    expect(stall).toEqual({ offset: 1, reason: expect.stringContaining(reason) });
  }
});

test("a record that can't be read holds up those behind it, not those before it", () => {
  const log = batch({ base: 1, values: ["b"], count: 2, span: 2 });
  expect(given(readRecords(log, 1, []))).toEqual(["1 b"]);
  const stall = { offset: 2, reason: "1 bytes are wanted, and 0 are left" };
  expect(readRecords(log, 2, [])).toEqual({ messages: [], stall });
  const passed = { offset: 3, reason: "what came lies before it" };
  expect(readRecords(log, 3, [])).toEqual({ messages: [], stall: passed });
});

const MANY = 64 * 1024 * 1024;
test.each([
  [1, gzipSync(Buffer.alloc(MANY))],
  // A literal, and copies of 64 bytes over and over.
  [2, Buffer.from(`808080200061${"fe0100".repeat(MANY / 64)}`, "hex")],
  // A block with one literal and one long copy.
  [3, Buffer.from(`04224d18604082a50f00001f610100${"ff".repeat(4_000)}00`, "hex")],
  [4, zstdCompressSync(Buffer.alloc(MANY))],
])("a bomb of codec %i isn't unpacked", (codec, bytes) => {
  expect(() => decompress(codec, bytes, 100_000)).toThrow(/ (larger|longer) than/);
});

test("a batch of very many records is given in portions", () => {
  const values = Array.from({ length: 25_000 }, (_, n) => `${n}`);
  const log = batch({ base: 0, values });
  let read = 0;
  for (let from = 0; from < values.length;) {
    const { messages } = readRecords(log, from, []);
    expect(messages[0]?.value?.toString()).toBe(`${from}`);
    read += messages.length;
    from = Number(messages.at(-1)?.offset) + 1;
  }
  expect(read).toBe(25_000);
});

test("any damage is named or harmless, and nothing but an error of a batch comes of it", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...Object.values(FROM_JAVA)),
      fc.nat(200),
      fc.uint8Array({ minLength: 1, maxLength: 8 }),
      (bytes, at, damage) => {
        const log = Buffer.from(bytes, "base64");
        Buffer.from(damage).copy(log, Math.min(log.length - damage.length, at));
        const { messages, stall } = readRecords(log, 0, []);
        return messages.length > 0 || stall !== undefined;
      },
    ),
  );
});

test("any bytes either unpack within the limit or throw", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 7 }),
      fc.uint8Array({ maxLength: 200 }),
      (codec, bytes) => {
        try {
          return decompress(codec, Buffer.from(bytes), 500).length <= 500;
        } catch (error) {
          return error instanceof Error;
        }
      },
    ),
    { numRuns: 2_000 },
  );
});
