/**
 * The only trace of a record that kills its process is that it is read again. So records that are
 * read again are processed alone.
 */
import type { Log } from "@lab/runtime/log";
import { Attempts, ATTEMPTS_SCHEMA, MAX_DEATHS, Taken, TAKEN_SCHEMA } from "@lab/store/attempts";
import type { Store } from "@lab/store/store";
import type { Batch, EachBatchPayload, KafkaMessage, Message } from "kafkajs";
import { isBug } from "./errors.ts";
import { headersOfLetter } from "./spans.ts";
import { SEND_BATCH } from "../topics.ts";

export const ONE_BY_ONE_SCHEMA = [...ATTEMPTS_SCHEMA, ...TAKEN_SCHEMA];

/**
 * The same work, in portions of `SEND_BATCH`, but records that are read again are taken in smaller
 * portions and finally one by one, with nothing else in progress in this process; those attempts
 * are counted. A record with which too many processes have died is passed to `sendDeadLetter`, and
 * never to `work` again.
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
    // Only control records of transactions, which can't kill a process.
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
      // `work` has stopped early; the rest is read again.
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
 * The record unchanged, with its origin and the reason in its headers. The partition is set, since
 * kafkajs hashes the key in time quadratic in its length: a key of 300 kB, as another program may
 * write, blocks the process for 9 s, and one of 1 MB for longer than its session timeout.
 */
export function deadLetter(
  { partition, topic }: Pick<Batch, "partition" | "topic">,
  record: KafkaMessage,
  { reason, detail }: { reason: string; detail: string },
): Message {
  const { key, offset, value } = record;
  const headers = headersOfLetter(record, reason);
  const from = { topic, partition: `${partition}`, offset };
  return { partition: 0, key, value, headers: { ...headers, reason, detail, ...from } };
}

/** Includes the timestamp: a topic that was deleted and recreated has the same offsets. */
function keyOf({ partition, topic }: Batch, { offset, timestamp }: KafkaMessage): string {
  return `${topic} ${partition} ${offset} ${timestamp}`;
}

/** The payload with only these records of its batch; `isLast` where no others follow. */
function partOf(
  payload: EachBatchPayload,
  messages: KafkaMessage[],
  isLast: boolean,
): EachBatchPayload {
  const part = Object.assign(Object.create(payload.batch) as Batch, { messages });
  // The last record may be followed by control records, which are not in `messages`.
  if (!isLast) part.lastOffset = () => messages.at(-1)!.offset;
  return { ...payload, batch: part };
}

/**
 * Like a read-write lock: partitions are processed concurrently, but some work exclusively. First
 * come, first served.
 */
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
