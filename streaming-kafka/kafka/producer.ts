/**
 * How records are sent: acknowledged, in portions that a partition accepts, and separated from
 * those that Kafka refuses.
 */
import type { Log } from "@lab/runtime/log";
import {
  type Kafka,
  type Message,
  Partitioners,
  type ProducerRecord,
  type RecordMetadata,
} from "kafkajs";
import { noting, sendInSpans } from "./spans.ts";

/**
 * The producer of every service here. Not kafkajs' idempotent one: after a lost response that keeps
 * a sequence number which the broker refuses from then on, and nothing is sent any more. A retry
 * that is written twice has the same event id, by which every reader here recognizes it.
 */
export function createProducer(kafka: Kafka, log: Log) {
  const producer = kafka.producer({
    createPartitioner: noting(Partitioners.DefaultPartitioner),
    allowAutoTopicCreation: false,
    idempotent: false,
    maxInFlightRequests: 1,
  });
  const send = async ({ messages, ...record }: ProducerRecord) => {
    let written: RecordMetadata[] = [];
    for (const portion of portionsOf(messages)) {
      written = await sendInSpans(log, record.topic, portion, () =>
        producer.send({ acks: -1, ...record, messages: portion }),
      );
    }
    return written;
  };
  return { ...producer, send };
}

/**
 * The most that is sent to a topic at once: a partition accepts 1 MiB, and would refuse a larger
 * request on every retry.
 */
const PORTION_BYTES = 900_000;

/** The messages in order, in portions that a partition accepts. */
export function* portionsOf(messages: readonly Message[]): Generator<Message[]> {
  let portion: Message[] = [];
  let bytes = 0;
  for (const message of messages) {
    const more = bytesOf(message);
    if (portion.length > 0 && bytes + more > PORTION_BYTES) {
      yield portion;
      portion = [];
      bytes = 0;
    }
    portion.push(message);
    bytes += more;
  }
  if (portion.length > 0) yield portion;
}

/** Kafka's error types for records that it refuses on every retry. */
const REFUSED = [
  "MESSAGE_TOO_LARGE",
  "RECORD_LIST_TOO_LARGE",
  "INVALID_RECORD",
  "INVALID_TIMESTAMP",
];

/**
 * Sends records in order. Where Kafka refuses all because of some, it finds those by bisection,
 * sends the others, and returns the refused ones with the error.
 */
export async function sendApart<R>(
  records: readonly R[],
  send: (some: readonly R[]) => Promise<unknown>,
): Promise<{ record: R; error: Error }[]> {
  try {
    await send(records);
    return [];
  } catch (thrown) {
    const error = thrown as Error & { type?: string; cause?: { type?: string } };
    if (!REFUSED.includes(error.type ?? error.cause?.type ?? "")) throw error;
    if (records.length === 1) return [{ record: records[0]!, error }];
    const half = Math.ceil(records.length / 2);
    const first = await sendApart(records.slice(0, half), send);
    return [...first, ...(await sendApart(records.slice(half), send))];
  }
}

function bytesOf({ headers = {}, key, value }: Message): number {
  const texts = [key, value, ...Object.values(headers).flat(), ...Object.keys(headers)];
  // 100 bytes for lengths, offset and timestamp.
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text ?? ""), 100);
}
