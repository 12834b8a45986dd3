/**
 * Decodes the records of Kafka's fetch responses, in place of kafkajs 2.2.4, which supports one
 * codec of four, lets an unreadable batch block all partitions, verifies no checksum, returns
 * records of aborted transactions where transactions overlap, and doesn't report control records at
 * the end.
 */
import Broker from "kafkajs/src/broker/index.js";
import Batch from "kafkajs/src/consumer/batch.js";
import OffsetManager from "kafkajs/src/consumer/offsetManager/index.js";
import crc32C from "kafkajs/src/protocol/recordBatch/crc32C/index.js";
import { createErrorFromCode } from "kafkajs/src/protocol/error.js";
import { decompress } from "./compression.ts";
import { Cursor } from "./cursor.ts";

/** The largest decompressed batch. By default a producer sends 1 MiB at most. */
const BATCH_BYTES = 16 * 1024 * 1024;
/**
 * The most records of a partition that are returned at once, however many a batch has: the rest is
 * fetched again.
 */
const RECORDS = 10_000;

/** Why a partition is stalled, and at which offset. */
export interface Stall {
  offset: number;
  reason: string;
  /** Records held back by an open transaction, which usually ends by itself. */
  held?: number;
}
const stalls = new WeakMap<object, Stall>();

/** Why the partition is stalled at this empty batch of `eachBatch`; undefined if it isn't. */
export function stallOf(batch: object): Stall | undefined {
  return stalls.get((batch as Batch).rawMessages);
}

/** A record; or only an offset, marked as what kafkajs calls a control record, which it skips. */
interface Message {
  offset: string;
  isControlRecord: boolean;
  attributes: number;
  timestamp: string;
  key: Buffer | null;
  value: Buffer | null;
  headers: Record<string, Buffer | Buffer[]>;
}

interface AbortedTransaction {
  producerId: number;
  firstOffset: number;
}

/** How many bytes of one response may still be decompressed. */
interface Budget {
  bytes: number;
}

/**
 * The records of a partition's response from offset `from` on; and if there are none because the
 * partition is stalled, why.
 */
export function readRecords(
  bytes: Buffer,
  from: number,
  aborted: readonly AbortedTransaction[],
  budget: Budget = { bytes: BATCH_BYTES },
): { messages: Message[]; stall?: Stall } {
  const messages: Message[] = [];
  const begun = aborted.toSorted((a, b) => a.firstOffset - b.firstOffset);
  const aborting = new Set<number>();
  const cursor = new Cursor(bytes);
  let offset = from;
  try {
    while (cursor.left > 0 && messages.length < RECORDS) {
      const base = cursor.int64();
      const length = cursor.int32();
      // The last batch of a response may be truncated, the first one never is.
      if (length > cursor.left && messages.length > 0) break;
      const batch = headerOf(base, cursor.bytes(length));
      if (batch.last < from) continue;
      offset = Math.max(from, base);
      while (begun[0] !== undefined && begun[0].firstOffset <= batch.last) {
        aborting.add((begun.shift() as AbortedTransaction).producerId);
      }
      if (batch.isControl) {
        if (endsInAbort(batch)) aborting.delete(batch.producerId);
      } else if (!(batch.inTransaction && aborting.has(batch.producerId))) {
        const unpacked = unpack(batch, budget, messages.length > 0);
        // Left for another fetch: the budget of this response is spent.
        if (unpacked === undefined) break;
        for (const message of recordsOf(batch, unpacked)) {
          if (Number(message.offset) < from) continue;
          offset = Number(message.offset);
          if (messages.length === RECORDS) return { messages };
          messages.push(message);
        }
      }
      // Control records, aborted records, records removed by compaction: the end of the batch is
      // still reported.
      if (messages.at(-1)?.offset !== `${batch.last}`) messages.push(nothingAt(batch.last));
      offset = batch.last + 1;
    }
    if (messages.length === 0 && bytes.length > 0) throw new Error("what came lies before it");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    // The records before it are valid, and the next fetch begins here.
    if (messages.length === 0) return { messages, stall: { offset, reason } };
  }
  return { messages };
}

const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const LOG_APPEND_TIME = 0x8;

type BatchHeader = ReturnType<typeof headerOf>;

/** The batch's header, and the bytes of its records. Throws where the batch is corrupt. */
function headerOf(base: number, bytes: Buffer) {
  const cursor = new Cursor(bytes);
  cursor.int32(); // The leader's epoch.
  const magic = cursor.uint8();
  if (magic !== 2) {
    throw new Error(
      `its format is version ${magic}, from before Kafka 0.11, which isn't read here`,
    );
  }
  const checksum = cursor.uint32();
  if (checksum !== crc32C(bytes.subarray(bytes.length - cursor.left))) {
    throw new Error("its checksum is another");
  }
  const attributes = cursor.int16();
  const last = base + cursor.int32();
  const firstTimestamp = cursor.int64();
  const maxTimestamp = cursor.int64();
  const producerId = cursor.int64();
  cursor.int16(); // The producer's epoch.
  cursor.int32(); // The sequence number of the first record.
  return {
    base,
    last,
    codec: attributes & 7,
    inTransaction: (attributes & TRANSACTIONAL) !== 0,
    isControl: (attributes & CONTROL) !== 0,
    /** The broker's timestamp for all records, or the producer's first one. */
    time: attributes & LOG_APPEND_TIME ? { all: maxTimestamp } : { first: firstTimestamp },
    producerId,
    count: cursor.int32(),
    records: cursor.bytes(cursor.left),
  };
}

/** Whether a control batch aborts its transaction. */
function endsInAbort(batch: BatchHeader): boolean {
  for (const { key } of recordsOf(batch, batch.records)) {
    // The key holds the version, then the type.
    return key !== null && key.readInt16BE(2) === 0;
  }
  return false;
}

/** The records' bytes; undefined when `mayWait`, and the budget is spent. */
function unpack(batch: BatchHeader, budget: Budget, mayWait: boolean): Buffer | undefined {
  if (batch.codec === 0) return batch.records;
  if (budget.bytes <= 0 && mayWait) return undefined;
  try {
    const unpacked = decompress(batch.codec, batch.records, BATCH_BYTES);
    budget.bytes -= unpacked.length;
    return unpacked;
  } catch (error) {
    const name = ["", "gzip", "snappy", "lz4", "zstd"][batch.codec] ?? `codec ${batch.codec}`;
    const { code, message } = error as Error & { code?: string };
    const cause =
      code === "ERR_BUFFER_TOO_LARGE" ? `it is longer than ${BATCH_BYTES} bytes` : message;
    throw new Error(`it can't be unpacked (${name}): ${cause}`);
  }
}

function* recordsOf({ base, count, time }: BatchHeader, bytes: Buffer): Generator<Message> {
  const cursor = new Cursor(bytes);
  for (let n = 0; n < count; n += 1) {
    const record = new Cursor(cursor.bytes(cursor.varint()));
    const attributes = record.uint8();
    const sinceFirst = record.varint();
    yield {
      attributes,
      timestamp: `${time.all ?? time.first + sinceFirst}`,
      offset: `${base + record.varint()}`,
      key: record.varBytes(),
      value: record.varBytes(),
      headers: headersOf(record),
      isControlRecord: false,
    };
  }
}

function headersOf(record: Cursor): Message["headers"] {
  const headers: Message["headers"] = {};
  for (let left = record.varint(); left > 0; left -= 1) {
    const name = record.varBytes()?.toString() ?? "";
    const value = record.varBytes() ?? Buffer.alloc(0);
    const before = Object.hasOwn(headers, name) ? headers[name] : undefined;
    const all = before === undefined ? value : [before, value].flat();
    Object.defineProperty(headers, name, { value: all, enumerable: true, configurable: true });
  }
  return headers;
}

function nothingAt(offset: number): Message {
  return {
    offset: `${offset}`,
    isControlRecord: true,
    attributes: 0,
    timestamp: "0",
    key: null,
    value: null,
    headers: {},
  };
}

/** Errors of a partition that kafkajs handles itself. */
const HANDLED_BY_KAFKAJS = [
  "OFFSET_OUT_OF_RANGE",
  "UNKNOWN_TOPIC_OR_PARTITION",
  "LEADER_NOT_AVAILABLE",
  "NOT_LEADER_FOR_PARTITION",
  "FENCED_LEADER_EPOCH",
  "UNKNOWN_LEADER_EPOCH",
];

/** Decodes Kafka's fetch response, from version 4 on, into kafkajs' form. */
function decodeFetch(version: number, bytes: Buffer, asked: Broker.Fetched[]) {
  const cursor = new Cursor(bytes);
  const throttle = cursor.int32();
  if (version >= 7) cursor.bytes(2 + 4); // The error code and the fetch session id; sessions are not used.
  const budget = { bytes: BATCH_BYTES };
  const list = <T>(read: () => T) => Array.from({ length: Math.max(0, cursor.int32()) }, read);
  const responses = list(() => {
    const topicName = cursor.string();
    const partitions = list(() => {
      const partition = cursor.int32();
      const errorCode = cursor.int16();
      const highWatermark = cursor.int64();
      const stable = cursor.int64();
      if (version >= 5) cursor.int64(); // The log start offset.
      const aborted = list(() => ({ producerId: cursor.int64(), firstOffset: cursor.int64() }));
      const preferredReadReplica = version >= 11 ? cursor.int32() : -1;
      const records = cursor.bytes(Math.max(0, cursor.int32()));
      const from = Number(
        asked
          .find(({ topic }) => topic === topicName)
          ?.partitions.find((one) => one.partition === partition)?.fetchOffset ?? 0,
      );
      const error = errorCode === 0 ? undefined : createErrorFromCode(errorCode);
      const handled = error && HANDLED_BY_KAFKAJS.includes(error.type);
      const read =
        budget.bytes > 0 ? readRecords(records, from, aborted, budget) : { messages: [] };
      if (error && !handled) {
        read.stall = { offset: from, reason: `${error.type}: ${error.message}` };
      } else if (records.length === 0 && from === stable && stable < highWatermark) {
        const reason = "a transaction of another program is still open";
        read.stall = { offset: from, reason, held: highWatermark - stable };
      }
      if (read.stall) stalls.set(read.messages, read.stall);
      return {
        partition,
        errorCode: handled ? errorCode : 0,
        highWatermark: `${highWatermark}`,
        preferredReadReplica,
        abortedTransactions: [],
        messages: read.messages,
      };
    });
    return { topicName, partitions };
  });
  // From version 8 on the client does the throttling.
  return version >= 8
    ? { throttleTime: 0, clientSideThrottleTime: throttle, responses }
    : { throttleTime: throttle, responses };
}

const { fetch } = Broker.prototype;
Broker.prototype.fetch = function (this: Broker, options) {
  const lookupRequest: Broker["lookupRequest"] = (key, definition) => (arguments_) => {
    const call = this.lookupRequest(key, definition)(arguments_);
    const { apiVersion } = call.request;
    if (apiVersion < 4) return call;
    const decode = async (bytes: Buffer) => decodeFetch(apiVersion, bytes, options.topics);
    return { ...call, response: { ...call.response, decode } };
  };
  return fetch.call(Object.create(this, { lookupRequest: { value: lookupRequest } }), options);
};

// kafkajs doesn't pass an empty batch to `eachBatch`, which then can't commit an offset after it.
Batch.prototype.isEmpty = function (this: Batch) {
  return this.messagesWithinOffset.length === 0 && !stalls.has(this.rawMessages);
};

// Where the next offset was deleted from the log, kafkajs commits -2, which means its start: the
// lag can't be computed then, and stays so where no record arrives.
OffsetManager.prototype.setDefaultOffset = async function (this: OffsetManager, place) {
  const { partition, topic } = place;
  const partitions = [{ partition }];
  const found = await this.cluster.fetchTopicsOffset([{ topic, partitions, fromBeginning: true }]);
  await this.commitOffsets({ topics: found });
  this.clearOffsets(place);
};
