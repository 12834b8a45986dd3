/**
 * How records are read out of Kafka's answers, in the place of kafkajs 2.2.4: that one knows one codec
 * of four, lets a batch that it can't read hold up all partitions, checks no checksum, takes records of
 * aborted transactions for good ones where transactions overlap, and tells nobody of markers at the end.
 */
import Broker from "kafkajs/src/broker/index.js";
import Batch from "kafkajs/src/consumer/batch.js";
import OffsetManager from "kafkajs/src/consumer/offsetManager/index.js";
import crc32C from "kafkajs/src/protocol/recordBatch/crc32C/index.js";
import { createErrorFromCode } from "kafkajs/src/protocol/error.js";
import { decompress } from "./compression.ts";
import { Cursor } from "./cursor.ts";

/** A batch unpacked. A producer sends 1 MiB at most, unless it is told otherwise. */
const BATCH_BYTES = 16 * 1024 * 1024;
/** So many records of a partition are given at once, however many its batch has: the rest is read again. */
const RECORDS = 10_000;

/** Why a partition doesn't go on, and from which offset on. */
export interface Standstill {
  offset: number;
  reason: string;
  /** Records that wait behind a transaction which is still open: that one ends by itself, as a rule. */
  held?: number;
}
const standstills = new WeakMap<object, Standstill>();

/** Why a batch of `eachBatch` has nothing in it and nothing behind it either, if that is so. */
export function standstillOf(batch: object): Standstill | undefined {
  return standstills.get((batch as Batch).rawMessages);
}

/** A record, or, where nothing but an offset is left of it, what kafkajs calls a control record: it is passed over. */
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

/** What one answer may still unpack. */
interface Budget {
  bytes: number;
}

/** The records of a partition's answer from offset `from` on; why there are none, where that isn't for want of any. */
export function readRecords(
  bytes: Buffer,
  from: number,
  aborted: readonly AbortedTransaction[],
  budget: Budget = { bytes: BATCH_BYTES },
): { messages: Message[]; standstill?: Standstill } {
  const messages: Message[] = [];
  const begun = aborted.toSorted((a, b) => a.firstOffset - b.firstOffset);
  const aborting = new Set<number>();
  const cursor = new Cursor(bytes);
  let offset = from;
  try {
    while (cursor.left > 0 && messages.length < RECORDS) {
      const base = cursor.int64();
      const length = cursor.int32();
      // The last batch of an answer may be cut off, the first one never is.
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
        // Another answer's work: this one has unpacked enough.
        if (unpacked === undefined) break;
        for (const message of recordsOf(batch, unpacked)) {
          if (Number(message.offset) < from) continue;
          offset = Number(message.offset);
          if (messages.length === RECORDS) return { messages };
          messages.push(message);
        }
      }
      // Markers, aborted records, what compaction took: the batch's end is known all the same.
      if (messages.at(-1)?.offset !== `${batch.last}`) messages.push(nothingAt(batch.last));
      offset = batch.last + 1;
    }
    if (messages.length === 0 && bytes.length > 0) throw new Error("what came lies before it");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    // What lies before it is good, and the next answer begins here.
    if (messages.length === 0) return { messages, standstill: { offset, reason } };
  }
  return { messages };
}

const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const LOG_APPEND_TIME = 0x8;

type BatchHeader = ReturnType<typeof headerOf>;

/** The batch's own word about itself, and what is behind it. Throws where it isn't whole. */
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
    /** The broker's time for all of them, or the first of the producer's. */
    time: attributes & LOG_APPEND_TIME ? { all: maxTimestamp } : { first: firstTimestamp },
    producerId,
    count: cursor.int32(),
    records: cursor.bytes(cursor.left),
  };
}

/** Whether a marker ends its transaction in vain. */
function endsInAbort(batch: BatchHeader): boolean {
  for (const { key } of recordsOf(batch, batch.records)) {
    // Its version, then its type.
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

/** Errors of a partition for which kafkajs has a remedy. */
const REMEDIED = [
  "OFFSET_OUT_OF_RANGE",
  "UNKNOWN_TOPIC_OR_PARTITION",
  "LEADER_NOT_AVAILABLE",
  "NOT_LEADER_FOR_PARTITION",
  "FENCED_LEADER_EPOCH",
  "UNKNOWN_LEADER_EPOCH",
];

/** Kafka's answer to a fetch, in the form in which kafkajs decodes it; from version 4 on. */
function decodeFetch(version: number, bytes: Buffer, asked: Broker.Fetched[]) {
  const cursor = new Cursor(bytes);
  const throttle = cursor.int32();
  if (version >= 7) cursor.bytes(2 + 4); // An error and a session that nobody here has begun.
  const budget = { bytes: BATCH_BYTES };
  const list = <T>(read: () => T) => Array.from({ length: Math.max(0, cursor.int32()) }, read);
  const responses = list(() => {
    const topicName = cursor.string();
    const partitions = list(() => {
      const partition = cursor.int32();
      const errorCode = cursor.int16();
      const highWatermark = cursor.int64();
      const stable = cursor.int64();
      if (version >= 5) cursor.int64(); // Where the log begins.
      const aborted = list(() => ({ producerId: cursor.int64(), firstOffset: cursor.int64() }));
      const preferredReadReplica = version >= 11 ? cursor.int32() : -1;
      const records = cursor.bytes(Math.max(0, cursor.int32()));
      const from = Number(
        asked
          .find(({ topic }) => topic === topicName)
          ?.partitions.find((one) => one.partition === partition)?.fetchOffset ?? 0,
      );
      const error = errorCode === 0 ? undefined : createErrorFromCode(errorCode);
      const remedied = error && REMEDIED.includes(error.type);
      const read =
        budget.bytes > 0 ? readRecords(records, from, aborted, budget) : { messages: [] };
      if (error && !remedied) {
        read.standstill = { offset: from, reason: `${error.type}: ${error.message}` };
      } else if (records.length === 0 && from === stable && stable < highWatermark) {
        const reason = "a transaction of another program is still open";
        read.standstill = { offset: from, reason, held: highWatermark - stable };
      }
      if (read.standstill) standstills.set(read.messages, read.standstill);
      return {
        partition,
        errorCode: remedied ? errorCode : 0,
        highWatermark: `${highWatermark}`,
        preferredReadReplica,
        abortedTransactions: [],
        messages: read.messages,
      };
    });
    return { topicName, partitions };
  });
  // From version 8 on the broker leaves the waiting to its client.
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

// kafkajs keeps a batch without messages from `eachBatch`, which then can't commit that it is past it.
Batch.prototype.isEmpty = function (this: Batch) {
  return this.messagesWithinOffset.length === 0 && !standstills.has(this.rawMessages);
};

// Where what comes next has left the log, kafkajs commits that it begins at the start, as -2: nobody can
// tell then how far behind it is, and where nothing comes any more that stays.
OffsetManager.prototype.setDefaultOffset = async function (this: OffsetManager, place) {
  const { partition, topic } = place;
  const partitions = [{ partition }];
  const found = await this.cluster.fetchTopicsOffset([{ topic, partitions, fromBeginning: true }]);
  await this.commitOffsets({ topics: found });
  this.clearOffsets(place);
};
