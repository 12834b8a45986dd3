/** Each partition of a consumer by itself: what it can't read or do holds up no other. */
import type { Consumer, EachBatchPayload, KafkaMessage } from "kafkajs";
import { patienceOf, standsStill, wordsOf } from "./errors.ts";
import { standstillOf } from "./wire/records.ts";
import type { Troubles } from "./troubles.ts";

/** How long a partition stands before it is tried again. */
const STAND_MS = 1_000;
const UNREADABLE_MS = 5_000;
/** Longer than it takes to read or to fail again. */
const FORGET_MS = 5_000;
/** Brokers end a transaction themselves after that long, unless they are told otherwise: one that is open still has nobody to end it. */
const TRANSACTION_MS = 15 * 60_000;

/**
 * kafkajs fetches for all partitions at once, and stops for all when one of them fails. Here that one
 * is paused for a moment, and tried again, while the others go on.
 */
export function standingStill(consumer: Consumer, troubles: Troubles): Consumer {
  const nameOf = ({ topic, partition }: { topic: string; partition: number }) =>
    `${topic}/${partition}`;
  /** By name, what ends it when nothing more is heard of it: where nothing is left to read, nothing comes. */
  const standing = new Map<string, NodeJS.Timeout>();
  // What others read from now on is theirs to name.
  consumer.on(consumer.events.GROUP_JOIN, ({ payload: { memberAssignment } }) => {
    const own = Object.entries(memberAssignment).flatMap(([topic, partitions]) =>
      partitions.map((partition) => nameOf({ topic, partition })),
    );
    for (const name of standing.keys()) if (!own.includes(name)) goOn(name);
  });
  const goOn = (name: string) => {
    clearTimeout(standing.get(name));
    if (standing.delete(name)) troubles.clear(name);
  };
  const stand = (
    { batch }: EachBatchPayload,
    offset: number,
    reason: string,
    { pauseMs, ...options }: { patienceMs: number; quietMs?: number; pauseMs: number },
  ) => {
    const { highWatermark, partition, topic } = batch;
    const records = Number(highWatermark) - offset;
    const name = nameOf(batch);
    clearTimeout(standing.get(name));
    standing.set(
      name,
      setTimeout(() => goOn(name), pauseMs + FORGET_MS),
    );
    troubles.note(name, `stands at offset ${offset}: ${reason}`, { ...options, records });
    if (pauseMs === 0) return;
    const place = [{ topic, partitions: [partition] }];
    consumer.pause(place);
    setTimeout(() => {
      try {
        consumer.resume(place);
      } catch {
        // It has left its group meanwhile, and forgotten that it paused.
      }
    }, pauseMs);
  };
  return {
    ...consumer,
    run({ eachBatch, ...config } = {}) {
      return consumer.run({
        ...config,
        async eachBatch(payload) {
          const { batch } = payload;
          const still = standstillOf(batch);
          if (still) {
            const { held, offset, reason } = still;
            return stand(
              payload,
              offset,
              reason,
              held === undefined
                ? { patienceMs: 0, pauseMs: UNREADABLE_MS }
                : // The broker waits for its end by itself.
                  { patienceMs: TRANSACTION_MS, quietMs: 5_000, pauseMs: 0 },
            );
          }
          let offset = Number(batch.firstOffset());
          const resolveOffset = (done: string) => {
            offset = Number(done) + 1;
            payload.resolveOffset(done);
          };
          try {
            await eachBatch?.({ ...payload, resolveOffset });
          } catch (error) {
            if (!standsStill(error)) throw error;
            const patienceMs = patienceOf(error);
            return stand(payload, offset, wordsOf(error), { patienceMs, pauseMs: STAND_MS });
          }
          goOn(nameOf(batch));
        },
      });
    },
  };
}

/**
 * A batch's messages in slices, with the offset that comes after each. After the last that is the end
 * of the batch: markers of transactions and what compaction took are behind it then. A batch of
 * nothing else has one slice, an empty one.
 */
export function* slicesOf(
  { batch, isRunning, isStale }: EachBatchPayload,
  limitOf: () => number,
): Generator<{ slice: KafkaMessage[]; next: number }> {
  let rest = batch.messages;
  do {
    const slice = rest.slice(0, limitOf());
    rest = rest.slice(slice.length);
    const last = rest.length > 0 ? slice.at(-1)?.offset : batch.lastOffset();
    yield { slice, next: Number(last) + 1 };
  } while (rest.length > 0 && isRunning() && !isStale());
}
