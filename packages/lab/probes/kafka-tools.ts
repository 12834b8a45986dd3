import { decodeEvent, type LabEvent } from "@lab/contracts/events";
import { eventually } from "../host/waiting.ts";
import { type Admin, Kafka, logLevel, Partitioners } from "kafkajs";

// kafkajs sets a timer with a negative delay (tulios/kafkajs#1751), and Bun would print a warning
// into the output.
process.removeAllListeners("warning");

/**
 * Runs a job with an admin client, then disconnects it. `brokers` is `host:port` with commas
 * between. Throws when nobody answers there.
 */
export async function withAdmin<T>(
  brokers: string,
  look: (admin: Admin) => Promise<T>,
): Promise<T> {
  const admin = kafkaClient(brokers).admin();
  try {
    await admin.connect();
  } catch (error) {
    throw new Error(`no Kafka answers at ${brokers}`, { cause: error });
  }
  try {
    return await look(admin);
  } finally {
    await admin.disconnect();
  }
}

/** A client for inspection and interference; errors are thrown, not logged. */
export function kafkaClient(brokers: string): Kafka {
  return new Kafka({
    clientId: "lab",
    brokers: brokers.split(","),
    connectionTimeout: 3_000,
    requestTimeout: 10_000,
    retry: { initialRetryTime: 100, retries: 5 },
    logLevel: logLevel.NOTHING,
  });
}

/** A record of a topic. */
export interface TopicRecord {
  partition: number;
  offset: number;
  key: string | null;
  value: Buffer | null;
  headers: Record<string, string>;
  /** The producer's timestamp, Unix time. */
  timestampMs: number;
}

/** Every record that is in the topic now, by partition and offset. */
export async function readTopic(brokers: string, topic: string): Promise<TopicRecord[]> {
  const kafka = kafkaClient(brokers);
  const records = new Map<string, TopicRecord>();
  // A busy broker may lose a partition's leadership to itself for a moment.
  const missing = await eventually(`the end of ${topic} is known`, () =>
    withAdmin(brokers, (admin) => endsOf(admin, topic)),
  );
  if (missing.size === 0) return [];
  const groupId = `lab-reader-${crypto.randomUUID()}`;
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100 });
  const done = Promise.withResolvers<void>();
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    if (!payload.restart) done.reject(payload.error);
  });
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        const { partition } = batch;
        for (const message of batch.messages) {
          const { headers = {}, key, offset, timestamp, value } = message;
          // Keyed by position: a consumer that restarts reads some again.
          records.set(`${partition}/${offset}`, {
            partition,
            offset: Number(offset),
            key: key?.toString() ?? null,
            value,
            headers: Object.fromEntries(
              Object.entries(headers).map(([name, text]) => [name, String(text)]),
            ),
            timestampMs: Number(timestamp),
          });
        }
        const end = missing.get(partition) ?? 0;
        if (Number(batch.lastOffset()) + 1 >= end) missing.delete(partition);
        if (missing.size === 0) done.resolve();
      },
    });
    await done.promise;
  } finally {
    await consumer.disconnect();
    // The group never committed, so the broker may have deleted it already.
    await withAdmin(brokers, (admin) => admin.deleteGroups([groupId]).catch(() => {}));
  }
  return [...records.values()].toSorted((a, b) => a.partition - b.partition || a.offset - b.offset);
}

/** The end offset of each partition that has records. */
async function endsOf(admin: Admin, topic: string): Promise<Map<number, number>> {
  const offsets = await admin.fetchTopicOffsets(topic);
  return new Map(
    offsets
      .filter(({ high, low }) => Number(high) > Number(low))
      .map(({ partition, high }) => [partition, Number(high)]),
  );
}

/** The sum of a topic's end offsets: the number of records ever written to it. */
export async function countRecords(admin: Admin, topic: string): Promise<number> {
  const offsets = await admin.fetchTopicOffsets(topic);
  return offsets.reduce((sum, { high }) => sum + Number(high), 0);
}

/** The distinct events of records. */
export interface DistinctEvents {
  /** Each event id once. */
  events: LabEvent[];
  /** Records that repeat an event id. */
  duplicates: number;
  /** Records that are not valid events. */
  invalid: number;
}

/** The events in those records, each id once. */
export function eventsOf(records: readonly TopicRecord[]): DistinctEvents {
  const events = new Map<string, LabEvent>();
  let duplicates = 0;
  let invalid = 0;
  for (const { value } of records) {
    const read = decodeEvent(value ?? new Uint8Array(), [
      "OrderPlaced",
      "InventoryReserved",
      "InventoryFailed",
    ]);
    if (read.kind === "invalid") invalid += 1;
    else if (events.has(read.event.id)) duplicates += 1;
    else events.set(read.event.id, read.event);
  }
  return { events: [...events.values()], duplicates, invalid };
}

/** A record as another program might write it; without a partition its key determines one. */
export interface RawRecord {
  key?: string;
  partition?: number;
  value: Uint8Array | string | null;
}

/**
 * Writes records to a topic without validation, one after the other; returns the offset of each.
 */
export async function produceRaw(
  brokers: string,
  topic: string,
  records: readonly RawRecord[],
): Promise<number[]> {
  const producer = kafkaClient(brokers).producer({
    createPartitioner: Partitioners.DefaultPartitioner,
    allowAutoTopicCreation: false,
  });
  const offsets: number[] = [];
  await producer.connect();
  try {
    for (const { value, ...place } of records) {
      const bytes = value === null ? null : Buffer.from(value as string);
      const [written] = await producer.send({
        topic,
        acks: -1,
        messages: [{ ...place, value: bytes }],
      });
      offsets.push(Number(written?.baseOffset));
    }
  } finally {
    await producer.disconnect();
  }
  return offsets;
}
