/** What each streaming service uses of Kafka: its topics, a producer, and a consumer group member. */
import type { Log } from "@lab/runtime/log";
import type { StopStep } from "@lab/runtime/service";
import type { Store } from "@lab/store/store";
import type { Consumer, ConsumerRunConfig, EachBatchPayload, Kafka, Message } from "kafkajs";
import { createConsumer, createKafka } from "./client.ts";
import { connectPersistently, crashOnBugs, watchGroup } from "./membership.ts";
import { oneByOne } from "./one-by-one.ts";
import { createProducer } from "./producer.ts";
import { PARTITIONS, type Topics, watchTopics } from "../topics.ts";
import { Processing } from "./spans.ts";
import { Troubles } from "./troubles.ts";

interface StreamOptions {
  log: Log;
  names: Topics;
  store: Store;
}

export class Stream {
  readonly consumer: Consumer;
  readonly kafka: Kafka;
  readonly producer: ReturnType<typeof createProducer>;
  readonly troubles: Troubles;
  /** Whether the consumer is a member of its group. */
  readonly isMember: () => boolean;
  readonly #options: StreamOptions;
  readonly #processing: Processing;
  readonly #topology: ReturnType<typeof watchTopics>;
  #connecting = Promise.resolve();
  #sources: readonly string[] = [];
  #reading = false;
  #stopping = false;

  /** For a service and its group; `kafkaBrokers` is `host:port`, with commas between. */
  constructor(
    { kafkaBrokers }: { kafkaBrokers: string },
    service: string,
    groupId: string,
    options: StreamOptions,
  ) {
    const { log, names } = options;
    this.#options = options;
    this.troubles = new Troubles(log);
    this.kafka = createKafka(kafkaBrokers, service, log);
    this.#topology = watchTopics({
      brokers: kafkaBrokers,
      kafka: this.kafka,
      log,
      names,
      onRecreated: (topic) => this.#readRecreated(topic),
      troubles: this.troubles,
    });
    this.producer = createProducer(this.kafka, log);
    this.#processing = new Processing(groupId, log);
    const consumer = createConsumer(this.kafka, groupId, this.troubles);
    this.consumer = {
      ...consumer,
      commitOffsets: (offsets) =>
        this.#processing.settle(offsets, () => consumer.commitOffsets(offsets)),
    };
    this.isMember = watchGroup(this.consumer, log, this.troubles);
  }

  /** Whether everything is connected and it has begun to read: before that nothing can be sent. */
  get isReading(): boolean {
    return this.#reading;
  }

  /** What it waits for while it is no member, for `GET /health`, as text. */
  get waitsFor(): string[] {
    if (this.isMember()) return [];
    const { passing, problems } = this.troubles;
    return passing.length + problems.length > 0 ? passing : ["Kafka doesn't answer"];
  }

  /**
   * Connects, subscribes to those topics, and calls `consume` to begin reading, now or as soon as
   * Kafka is available: a start does not need it.
   */
  start(sources: readonly string[], consume: () => Promise<void>): void {
    this.#sources = sources;
    this.#connect(async () => {
      await this.#topology.declare();
      await this.producer.connect();
      await this.consumer.connect();
      for (const topic of sources) await this.consumer.subscribe({ topic, fromBeginning: true });
      await consume();
    });
  }

  /** Resumes reading after the consumer was stopped, as soon as Kafka is available. */
  startAgain(consume: () => Promise<void>): void {
    this.#connect(consume);
  }

  /**
   * Starts reading: `work` commits the offsets, and a record that kills the process is
   * dead-lettered eventually.
   */
  async run(
    work: (payload: EachBatchPayload) => Promise<void>,
    config: Pick<ConsumerRunConfig, "partitionsConsumedConcurrently"> = {},
  ): Promise<void> {
    const { log, names, store } = this.#options;
    const sendDeadLetter = (letter: Message) =>
      this.producer.send({ topic: names.deadLetters, acks: -1, messages: [letter] });
    await this.consumer.run({
      ...config,
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: crashOnBugs(oneByOne({ sendDeadLetter, log, store }, this.#processing.over(work))),
    });
    this.#reading = true;
  }

  /** The event of a record, or why it is none; see `Processing`. */
  readonly read: Processing["read"] = (...record) => this.#processing.read(...record);

  /** The last steps of a service's stop. */
  readonly stop: readonly StopStep[] = [
    [
      "group-left",
      async () => {
        this.#stopping = true;
        await this.#connecting;
        await this.consumer.disconnect();
      },
    ],
    [
      "kafka-left",
      async () => {
        await this.producer.disconnect();
        await this.#topology.stop();
      },
    ],
  ];

  /**
   * Reads a topic that was deleted and recreated from its beginning: the group's offset in the old
   * one may lie in the middle of the new one. A record that is read twice takes effect once.
   */
  #readRecreated(topic: string): void {
    if (!this.#reading || !this.#sources.includes(topic)) return;
    const offsets = Array.from({ length: PARTITIONS }, (_, partition) => ({
      topic,
      partition,
      offset: "0",
    }));
    for (const offset of offsets) this.consumer.seek(offset);
    this.consumer.resume([{ topic }]);
    // For members that join meanwhile. If it fails, the next batch commits.
    void this.consumer.commitOffsets(offsets).catch(() => {});
  }

  #connect(connect: () => Promise<void>): void {
    this.#connecting = connectPersistently(this.troubles, () => this.#stopping, connect);
  }
}
