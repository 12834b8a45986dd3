/** Of a record that kills its process only one thing is seen: it is read again. So what is read again is worked on alone. */
import type { Log } from "@lab/runtime/log";
import { Attempts, ATTEMPTS_SCHEMA, MAX_DEATHS, Taken, TAKEN_SCHEMA } from "@lab/store/attempts";
import type { Store } from "@lab/store/store";
import type { Batch, EachBatchPayload, KafkaMessage, Message } from "kafkajs";
import { isBug } from "./errors.ts";
import { SEND_BATCH } from "../topics.ts";

export const ONE_BY_ONE_SCHEMA = [...ATTEMPTS_SCHEMA, ...TAKEN_SCHEMA];

/**
 * The same work, in portions of `SEND_BATCH`, but what is read again is taken in smaller portions and
 * in the end alone, with nothing else in this process' hands; and counted meanwhile. A record with
 * which too many processes have died is given to `sendDeadLetter`, and never to `work` again.
 */
export function oneByOne(
  {
    sendDeadLetter,
    log,
    store,
  }: { sendDeadLetter: (letter: Message) => Promise<unknown>; log: Log; store: Store },
  work: (payload: EachBatchPayload) => Promise<void>,
): (payload: EachBatchPayload) => Promise<void> {
  const attempts = new Attempts(store);
  const taken = new Taken(store);
  const turns = new Turns();

  return async (whole) => {
    const { batch, isRunning, isStale } = whole;
    const { messages, partition, topic } = batch;
    // Nothing but markers of transactions, which end no process.
    if (messages.length === 0) return work(whole);
    let resolved = -1;
    const resolveOffset = (offset: string) => {
      resolved = Number(offset);
      whole.resolveOffset(offset);
    };
    const payload = { ...whole, resolveOffset };
    for (let n = 0; n < messages.length && isRunning() && !isStale();) {
      const first = Number(messages[n]!.offset);
      const dead = attempts.dead();
      const portion = taken.portion(topic, partition, first, SEND_BATCH);
      const alive = messages.slice(n, n + portion.most);
      const end = alive.findIndex((record) => dead.has(keyOf(batch, record)));
      const records = end === -1 ? alive : alive.slice(0, Math.max(1, end));
      const last = Number(records.at(-1)!.offset);
      await turns.take(portion.suspect || end === 0, async () => {
        taken.note(topic, partition, first, last + 1, portion);
        const part = partOf(payload, records, n + records.length === messages.length);
        const alone = (portion.suspect && records.length === 1) || end === 0;
        await (alone ? tryAlone(part, records[0]!) : work(part));
      });
      n += records.length;
      // It has stopped in between, and goes on there.
      if (resolved < last) return;
    }
  };

  async function tryAlone(payload: EachBatchPayload, record: KafkaMessage): Promise<void> {
    const { batch } = payload;
    const { partition, topic } = batch;
    const key = keyOf(batch, record);
    const next = attempts.begin(key);
    if (next === "try") {
      try {
        await work(payload);
      } catch (error) {
        if (!isBug(error)) attempts.end(key);
        throw error;
      }
      return attempts.end(key);
    }
    if (next === "dead-letter") {
      const detail = `${MAX_DEATHS} processes died with it alone in their hands`;
      const why = { reason: "killed_its_consumer", detail };
      log.warn("message_refused", { topic, partition, offset: record.offset, ...why });
      await sendDeadLetter(deadLetter(batch, record, why));
      attempts.deadLettered(key);
    }
    const offset = String(Number(record.offset) + 1);
    payload.resolveOffset(record.offset);
    await payload.commitOffsetsIfNecessary({
      topics: [{ topic, partitions: [{ partition, offset }] }],
    });
  }
}

/**
 * The record as it came, with where it came from and why it is dead. The partition is said, since
 * kafkajs finds one by the key in a time that grows with the square of its length: 300 kB, as another
 * program may write them, hold the process up for 9 s, and 1 MB for longer than its session.
 */
export function deadLetter(
  { partition, topic }: Pick<Batch, "partition" | "topic">,
  { headers, key, offset, value }: KafkaMessage,
  { reason, detail }: { reason: string; detail: string },
): Message {
  const from = { topic, partition: `${partition}`, offset };
  return { partition: 0, key, value, headers: { ...headers, reason, detail, ...from } };
}

/** With its time: a topic that was deleted and made anew has the same offsets. */
function keyOf({ partition, topic }: Batch, { offset, timestamp }: KafkaMessage): string {
  return `${topic} ${partition} ${offset} ${timestamp}`;
}

/** The payload with these records of its batch alone; `isLast` where none comes after them. */
function partOf(
  payload: EachBatchPayload,
  messages: KafkaMessage[],
  isLast: boolean,
): EachBatchPayload {
  const part = Object.assign(Object.create(payload.batch) as Batch, { messages });
  // Behind its last record there may be a transaction's marker, which is no message.
  if (!isLast) part.lastOffset = () => messages.at(-1)!.offset;
  return { ...payload, batch: part };
}

/** Partitions are worked on side by side, but some work alone. In the order in which it comes. */
class Turns {
  readonly #running = new Set<Promise<void>>();
  #next = Promise.resolve();

  async take(alone: boolean, work: () => Promise<void>): Promise<void> {
    const before = this.#next;
    const { promise, resolve: letNextIn } = Promise.withResolvers<void>();
    this.#next = promise;
    await before;
    try {
      if (alone) await Promise.allSettled(this.#running);
      const running = work();
      this.#running.add(running);
      if (!alone) letNextIn();
      await running.finally(() => this.#running.delete(running));
    } finally {
      letNextIn();
    }
  }
}
