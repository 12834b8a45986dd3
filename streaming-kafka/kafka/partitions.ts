/** Isolates the partitions of a consumer: one that can't be read or processed delays no other. */
import type { Consumer, EachBatchPayload, KafkaMessage } from "kafkajs";
import { describeError, gracePeriodOf, isPartitionError } from "./errors.ts";
import { stallOf } from "./wire/records.ts";
import type { Troubles } from "./troubles.ts";

/** How long a failed partition is paused before it is retried. */
const PAUSE_MS = 1_000;
const UNREADABLE_MS = 5_000;
/** Longer than a retry takes to succeed or to fail again. */
const FORGET_MS = 5_000;
/** Brokers abort a transaction after this long by default (transaction.max.timeout.ms): one that is still open won't be ended. */
const TRANSACTION_MS = 15 * 60_000;

/**
 * kafkajs fetches all partitions together, and stops all when one of them fails. Here the failed
 * one is paused briefly and retried, while the others continue.
 */
export function isolatePartitions(consumer: Consumer, troubles: Troubles): Consumer {
  const nameOf = ({ topic, partition }: { topic: string; partition: number }) =>
    `${topic}/${partition}`;
  /**
   * By name, the timer that clears a stalled partition without further errors: where nothing is
   * left to read, no batch arrives.
   */
  const stalled = new Map<string, NodeJS.Timeout>();
  // Partitions that other members read from now on are reported by those.
  consumer.on(consumer.events.GROUP_JOIN, ({ payload: { memberAssignment } }) => {
    const own = Object.entries(memberAssignment).flatMap(([topic, partitions]) =>
      partitions.map((partition) => nameOf({ topic, partition })),
    );
    for (const name of stalled.keys()) if (!own.includes(name)) clear(name);
  });
  const clear = (name: string) => {
    clearTimeout(stalled.get(name));
    if (stalled.delete(name)) troubles.clear(name);
  };
  const pauseStalled = (
    { batch }: EachBatchPayload,
    offset: number,
    reason: string,
    { pauseMs, ...options }: { graceMs: number; quietMs?: number; pauseMs: number },
  ) => {
    const { highWatermark, partition, topic } = batch;
    const records = Number(highWatermark) - offset;
    const name = nameOf(batch);
    clearTimeout(stalled.get(name));
    stalled.set(
      name,
      setTimeout(() => clear(name), pauseMs + FORGET_MS),
    );
    troubles.note(name, `stands at offset ${offset}: ${reason}`, { ...options, records });
    if (pauseMs === 0) return;
    const place = [{ topic, partitions: [partition] }];
    consumer.pause(place);
    setTimeout(() => {
      try {
        consumer.resume(place);
      } catch {
        // The consumer has left its group meanwhile, and with it the pause.
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
          const stall = stallOf(batch);
          if (stall) {
            const { held, offset, reason } = stall;
            return pauseStalled(
              payload,
              offset,
              reason,
              held === undefined
                ? { graceMs: 0, pauseMs: UNREADABLE_MS }
                : // The broker itself holds the records back until the transaction ends.
                  { graceMs: TRANSACTION_MS, quietMs: 5_000, pauseMs: 0 },
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
            if (!isPartitionError(error)) throw error;
            const graceMs = gracePeriodOf(error);
            return pauseStalled(payload, offset, describeError(error), {
              graceMs,
              pauseMs: PAUSE_MS,
            });
          }
          clear(nameOf(batch));
        },
      });
    },
  };
}

/**
 * A batch's messages in slices, with the offset after each. After the last slice that is the end of
 * the batch, which covers control records and records removed by compaction. A batch without
 * messages has one empty slice.
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
