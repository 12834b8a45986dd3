/** Makes Analytics read from the positions in its own database, and checks the log for lost records. */
import { owed, type Owed } from "@lab/runtime/health";
import type { Log } from "@lab/runtime/log";
import { isTransient } from "@lab/runtime/transient";
import { Repeater } from "@lab/runtime/work/repeater";
import type { Analytics } from "@lab/store/analytics";
import { recordsIn } from "@lab/store/gaps";
import type { Store } from "@lab/store/store";
import { type Consumer, type Kafka, KafkaJSError } from "kafkajs";
import { describeError, isBug } from "./kafka/errors.ts";
import { fetchLogs } from "./kafka/topic-logs.ts";
import type { Topics } from "./topics.ts";

const EVERY_MS = 5_000;
/** A broker that has just come back refuses commits for a moment. */
const LAG_TRIES = 5;
const LAG_PAUSE_MS = 1_000;

interface Watched {
  analytics: Analytics;
  brokers: string;
  kafka: Kafka;
  log: Log;
  names: Topics;
  /** Called when a position of a fold has changed. */
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
        log.debug("broker_says", { reason: describeError(error) });
      }
    });
  }

  /**
   * The records lost from the log that the live metrics cover, or should: how many, and since when.
   */
  owed(): Owed {
    const gaps = this.#watched.analytics.gaps();
    return owed(recordsIn(gaps), gaps[0]?.noticed_at);
  }

  /** Checks now. One check at a time: an older result must not be stored after a newer one. */
  look(): Promise<void> {
    this.#looking = this.#looking.catch(() => {}).then(() => this.#look());
    return this.#looking;
  }

  async stop(): Promise<void> {
    await this.#looks.stop();
  }

  async #look(): Promise<void> {
    const { analytics, brokers, kafka, log, names, onMoved, store } = this.#watched;
    // A client that has fetched the offsets of a topic can't use it after it was deleted.
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
 * Makes a consumer seek to `nextOffset` whenever it has joined its group, and commit those offsets.
 * Returns a function that does so again, and resumes paused partitions.
 */
export function readFrom(
  consumer: Consumer,
  nextOffset: (topic: string, partition: number) => number,
): () => void {
  let assigned: Record<string, number[]> = {};
  const offsetsNow = () =>
    Object.entries(assigned).flatMap(([topic, partitions]) =>
      partitions.map((partition) => ({
        topic,
        partition,
        offset: `${nextOffset(topic, partition)}`,
      })),
    );
  // Only for monitoring the lag, but where nothing more is written no batch would commit it.
  const showLag = async () => {
    for (let tries = 0; tries < LAG_TRIES; tries += 1) {
      try {
        return await consumer.commitOffsets(offsetsNow());
      } catch {
        await Bun.sleep(LAG_PAUSE_MS);
      }
    }
  };
  const readOn = () => {
    const offsets = offsetsNow();
    for (const topic of Object.keys(assigned)) consumer.resume([{ topic }]);
    if (offsets.length === 0) return;
    for (const offset of offsets) consumer.seek(offset);
    void showLag();
  };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    assigned = payload.memberAssignment as Record<string, number[]>;
    try {
      readOn();
    } catch (error) {
      // Unwrapped it would end the consumer; a database that can't be read may become readable
      // again.
      throw isTransient(error) ? new KafkaJSError(error as Error) : error;
    }
  });
  return readOn;
}
