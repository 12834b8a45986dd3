/**
 * The spans of records: one from its sending to Kafka's acknowledgement, one in each consumer from
 * its reading until its offset is committed. The header `traceparent` carries them.
 */
import {
  CONTENT_TYPE,
  type Decoded,
  decodeEvent,
  type EventType,
  type LabEvent,
} from "@lab/contracts/events";
import type { Log } from "@lab/runtime/log";
import {
  type Attributes,
  beginProcessing,
  beginSettling,
  beginSpan,
  endSpan,
  errorAttributes,
  isSampled,
  noteOnSpan,
} from "@lab/runtime/trace";
import type {
  Batch,
  EachBatchPayload,
  ICustomPartitioner,
  IHeaders,
  KafkaMessage,
  Message,
  RecordMetadata,
  TopicPartitionOffset,
} from "kafkajs";

/** The record of an encoded event, which was caused by another, or by what its `traceparent` names. */
export function recordOf(key: string, body: string, cause?: LabEvent): Message {
  const traceparent = cause ? cause.traceparent : TRACEPARENT.exec(body)?.[1];
  const headers = { "content-type": CONTENT_TYPE, ...(traceparent && { traceparent }) };
  return { key, value: body, headers };
}

/**
 * Texts of an encoded event, which is not parsed for them. Inside of another text the quotes would
 * be escaped.
 */
const TRACEPARENT = /"traceparent":"([^"]+)"/;
const SUBJECT = /"subject":"([^"]+)"/;

/** The partitions of the records of which some are sampled. */
const partitions = new WeakMap<Message, number>();

/** The same partitioner, which also notes its choice where `sendInSpans` wants to know. */
export function noting(createPartitioner: ICustomPartitioner): ICustomPartitioner {
  return () => {
    const choose = createPartitioner();
    return (record) => {
      const partition = choose(record);
      if (partitions.has(record.message)) partitions.set(record.message, partition);
      return partition;
    };
  };
}

/** Sends records to a topic with `send`, each that has a `traceparent` in a span of its own. */
export async function sendInSpans(
  log: Log,
  topic: string,
  records: readonly Message[],
  send: () => Promise<RecordMetadata[]>,
): Promise<RecordMetadata[]> {
  const spans = new Map<Message, string>();
  for (const record of records) {
    const { headers, key, value } = record;
    if (headers?.["traceparent"] === undefined) continue;
    const span = beginSpan(log, String(headers["traceparent"]), () => ({
      kind: "producer",
      name: `send ${topic}`,
      orderId: SUBJECT.exec(String(value))?.[1],
      attributes: {
        ...attributesOf("send", topic),
        ...(key != null && { "messaging.kafka.message.key": String(key) }),
      },
    }));
    headers["traceparent"] = span;
    if (isSampled(span)) spans.set(record, span);
  }
  if (spans.size === 0) return send();
  for (const record of records) partitions.set(record, -1);
  try {
    const written = await send();
    for (const [record, place] of placesOf(records, written)) endSpan(spans.get(record), place);
    return written;
  } catch (error) {
    for (const span of spans.values()) endSpan(span, errorAttributes(error));
    throw error;
  }
}

/** Where Kafka has put each record: it tells only the first offset of each partition. */
function placesOf(
  records: readonly Message[],
  written: readonly RecordMetadata[],
): [Message, Attributes][] {
  const next = new Map(written.map(({ baseOffset, partition }) => [partition, Number(baseOffset)]));
  return records.map((record) => {
    const partition = partitions.get(record)!;
    const offset = next.get(partition);
    // It isn't told where no acknowledgement was asked for.
    if (offset === undefined) return [record, {}];
    next.set(partition, offset + 1);
    return [record, placeOf(partition, offset)];
  });
}

/** In which sampled records are processed. */
const processed = new WeakMap<KafkaMessage, string>();

/**
 * The headers of a record that is given up: what becomes of it belongs to the span of its
 * processing.
 */
export function headersOfLetter(record: KafkaMessage, reason: string): IHeaders {
  const { headers = {} } = record;
  const span = processed.get(record);
  noteOnSpan(span, { "error.type": reason });
  return span && "traceparent" in headers ? { ...headers, traceparent: span } : headers;
}

/** The spans of the records that a consumer processes. */
export class Processing {
  readonly #group: string;
  readonly #log: Log;
  /** Of sampled records that were read and not committed, by partition. */
  readonly #open = new Map<string, { offset: number; span: string }[]>();

  constructor(group: string, log: Log) {
    this.#group = group;
    this.#log = log;
  }

  /**
   * The event of a record; what it causes belongs to the span of its processing, which begins here.
   * `isReplayed` says that it was processed before.
   */
  read<T extends EventType>(
    batch: Pick<Batch, "topic" | "partition">,
    record: KafkaMessage,
    types: readonly T[],
    isReplayed = false,
  ): Decoded<T> {
    const { partition, topic } = batch;
    const { headers, offset, value } = record;
    const decoded = decodeEvent(value ?? new Uint8Array(), types);
    const event: LabEvent | undefined = decoded.kind === "event" ? decoded.event : undefined;
    const sender = headers?.["traceparent"]?.toString() ?? event?.traceparent;
    const span = beginProcessing(this.#log, sender, isReplayed, () => {
      const attributes = {
        ...attributesOf("process", topic),
        ...placeOf(partition, Number(offset)),
        "messaging.consumer.group.name": this.#group,
      };
      return { name: `process ${topic}`, orderId: event?.subject, attributes };
    });
    if (event) event.traceparent = span;
    if (isSampled(span)) {
      processed.set(record, span);
      const name = nameOf(batch);
      const open = this.#open.get(name) ?? [];
      open.push({ offset: Number(offset), span });
      this.#open.set(name, open);
    }
    if (decoded.kind === "invalid") noteOnSpan(span, { "error.type": decoded.reason });
    return decoded;
  }

  /** Commits offsets with `commit`: the records before them are done, and settled. */
  async settle(offsets: readonly TopicPartitionOffset[], commit: () => Promise<void>) {
    const done = offsets.flatMap((place) => {
      const before = ({ offset }: { offset: number }) => offset < Number(place.offset);
      return this.#open.get(nameOf(place))?.filter(before) ?? [];
    });
    if (done.length === 0) return commit();
    const settlings = done.map(({ span }) => beginSettling(span));
    try {
      await commit();
    } catch (error) {
      for (const settling of settlings) endSpan(settling, errorAttributes(error));
      throw error;
    }
    for (const settling of settlings) endSpan(settling, { settle: "commit" });
    for (const { span } of done) endSpan(span);
    const isLeft = (one: { span: string }) => !done.some(({ span }) => span === one.span);
    for (const [name, open] of this.#open) this.#open.set(name, open.filter(isLeft));
  }

  /** The same work. What it has read and not committed at its end is read again. */
  over(
    work: (payload: EachBatchPayload) => Promise<void>,
  ): (payload: EachBatchPayload) => Promise<void> {
    return async (payload) => {
      let why: Attributes = { "error.type": "not committed" };
      try {
        await work(payload);
      } catch (error) {
        why = errorAttributes(error);
        throw error;
      } finally {
        const name = nameOf(payload.batch);
        for (const { span } of this.#open.get(name) ?? []) endSpan(span, why);
        this.#open.delete(name);
      }
    };
  }
}

function nameOf({ partition, topic }: { partition: number; topic: string }): string {
  return `${topic}/${partition}`;
}

function attributesOf(operation: string, topic: string): Attributes {
  return {
    "messaging.system": "kafka",
    "messaging.operation.type": operation,
    "messaging.destination.name": topic,
  };
}

function placeOf(partition: number, offset: number): Attributes {
  return {
    "messaging.destination.partition.id": String(partition),
    "messaging.kafka.offset": offset,
  };
}
