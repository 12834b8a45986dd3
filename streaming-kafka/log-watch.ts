/** What has Analytics read on from where its own database stands, and look at the log for what that has lost. */
import { owed, type Owed } from "@lab/runtime/health";
import { type Log, reasonOf } from "@lab/runtime/log";
import { mayPass } from "@lab/runtime/patience";
import { without } from "@lab/runtime/protections";
import { Repeater } from "@lab/runtime/repeater";
import type { Analytics } from "@lab/store/analytics";
import { recordsIn } from "@lab/store/gaps";
import type { Store } from "@lab/store/store";
import { type Admin, type Consumer, KafkaJSError } from "kafkajs";
import { fetchLogs } from "./topic-logs.ts";
import { declareTopics, keepRecords, type Topics } from "./topics.ts";

const EVERY_MS = 5_000;

interface Watched {
  admin: Admin;
  analytics: Analytics;
  brokers: string;
  /** Whether there is somebody to look at. */
  following: () => boolean;
  log: Log;
  names: Topics;
  /** Called when a fold stands elsewhere than before. */
  readOn: () => void;
  store: Store;
}

export class LogWatch {
  readonly #watched: Watched;
  readonly #looks: Repeater;
  #looking: Promise<void> = Promise.resolve();
  #problems: string[] = [];

  constructor(watched: Watched) {
    this.#watched = watched;
    const { admin, following, log, names } = watched;
    this.#looks = new Repeater(log, EVERY_MS, async () => {
      if (!following()) return;
      try {
        await this.look();
      } catch (error) {
        log.warn("broker_says", { reason: reasonOf(error) });
        // Somebody may have deleted a topic.
        await declareTopics(admin, names).catch(() => {});
      }
    });
  }

  /** What won't pass by waiting. */
  get problems(): readonly string[] {
    return this.#problems;
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
    const { admin, analytics, brokers, log, names, readOn, store } = this.#watched;
    this.#problems = await keepRecords(admin, names, log);
    const stood = analytics.stood();
    const logs = await fetchLogs(admin, brokers, [names.orderEvents, names.inventoryEvents]);
    const { gaps, moved } = await store.commit(() => analytics.meet(logs, stood));
    if (gaps.length > 0) log.warn("records_gone", { gaps });
    if (moved) readOn();
  }
}

/**
 * Has a consumer read on from where `stands` says whenever it has joined its group, whatever the
 * group's offsets are. Gives a function that has it do so again, partitions that were paused too.
 */
export function readFrom(
  consumer: Consumer,
  stands: (topic: string, partition: number) => number,
): () => void {
  let assigned: Record<string, number[]> = {};
  const seek = () => {
    for (const [topic, partitions] of Object.entries(assigned)) {
      consumer.resume([{ topic }]);
      // Without it the group's offsets lead.
      if (without("stored-offset")) continue;
      for (const partition of partitions) {
        consumer.seek({ topic, partition, offset: `${stands(topic, partition)}` });
      }
    }
  };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    assigned = payload.memberAssignment as Record<string, number[]>;
    try {
      seek();
    } catch (error) {
      // As it came it would end the consumer; a database that can't be read may be read again.
      throw mayPass(error) ? new KafkaJSError(error as Error) : error;
    }
  });
  return seek;
}
