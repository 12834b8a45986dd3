/** What has Analytics read on from where its own database stands, and look at the log for what that has lost. */
import { owed, type Owed } from "@lab/runtime/health";
import type { Log } from "@lab/runtime/log";
import { isTransient } from "@lab/runtime/transient";
import { Repeater } from "@lab/runtime/work/repeater";
import type { Analytics } from "@lab/store/analytics";
import { recordsIn } from "@lab/store/gaps";
import type { Store } from "@lab/store/store";
import { type Consumer, type Kafka, KafkaJSError } from "kafkajs";
import { isBug, wordsOf } from "./kafka/errors.ts";
import { fetchLogs } from "./kafka/topic-logs.ts";
import type { Topics } from "./topics.ts";

const EVERY_MS = 5_000;

interface Watched {
  analytics: Analytics;
  brokers: string;
  kafka: Kafka;
  log: Log;
  names: Topics;
  /** Called when a fold stands elsewhere than before. */
  onMoved: () => Promise<void>;
  store: Store;
}

export class LogWatch {
  readonly #watched: Watched;
  readonly #looks: Repeater;
  #looking: Promise<void> = Promise.resolve();

  constructor(watched: Watched) {
    this.#watched = watched;
    const { log } = watched;
    this.#looks = new Repeater(log, EVERY_MS, async () => {
      try {
        await this.look();
      } catch (error) {
        if (isBug(error)) throw error;
        log.debug("broker_says", { reason: wordsOf(error) });
      }
    });
  }

  /** What the log has lost of what the live metrics stand for, or should: records, and since when. */
  owed(): Owed {
    const gaps = this.#watched.analytics.gaps();
    return owed(recordsIn(gaps), gaps[0]?.noticed_at);
  }

  /** Looks now. One look at a time: an older one must not be noted after a newer one. */
  look(): Promise<void> {
    this.#looking = this.#looking.catch(() => {}).then(() => this.#look());
    return this.#looking;
  }

  async stop(): Promise<void> {
    await this.#looks.stop();
  }

  async #look(): Promise<void> {
    const { analytics, brokers, kafka, log, names, onMoved, store } = this.#watched;
    // One that has asked for the offsets of a topic can do nothing with it once that is deleted.
    const admin = kafka.admin();
    await admin.connect();
    try {
      const earlier = analytics.positionsByGeneration();
      const logs = await fetchLogs(admin, brokers, [names.orderEvents, names.inventoryEvents]);
      const { gaps, moved } = await store.commit(() => analytics.reconcile(logs, earlier));
      if (gaps.length > 0) log.warn("records_gone", { gaps });
      if (moved) await onMoved();
    } finally {
      await admin.disconnect();
    }
  }
}

/**
 * Has a consumer read on from where `stands` says whenever it has joined its group, and the group's
 * offsets follow. Gives a function that has it do so again, partitions that were paused too.
 */
export function readFrom(
  consumer: Consumer,
  nextOffset: (topic: string, partition: number) => number,
): () => void {
  let assigned: Record<string, number[]> = {};
  const readOn = () => {
    const offsets = Object.entries(assigned).flatMap(([topic, partitions]) =>
      partitions.map((partition) => ({
        topic,
        partition,
        offset: `${nextOffset(topic, partition)}`,
      })),
    );
    for (const topic of Object.keys(assigned)) consumer.resume([{ topic }]);
    if (offsets.length === 0) return;
    for (const offset of offsets) consumer.seek(offset);
    // For those who look at the lag. Where it fails, the next batch's commit says it.
    void consumer.commitOffsets(offsets).catch(() => {});
  };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    assigned = payload.memberAssignment as Record<string, number[]>;
    try {
      readOn();
    } catch (error) {
      // As it came it would end the consumer; a database that can't be read may be read again.
      throw isTransient(error) ? new KafkaJSError(error as Error) : error;
    }
  });
  return readOn;
}
