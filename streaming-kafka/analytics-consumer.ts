/**
 * Analytics of the streaming model: a pure fold over the log.
 *
 * Hears: OrderPlaced, InventoryReserved, InventoryFailed, from both topics.
 * Says:  nothing, but for records that kill it, to `order-events.dead`.
 * Keeps: counters, the offsets that they stand for, and the ids of the events
 *        that were counted, in one transaction; in generations.
 *
 * Notice: because the log keeps everything and the fold depends on the events
 * alone, the metrics can be computed again, and are the same. What depends on
 * the clock of the reader is not: see `processing_time`.
 */
import { decodeEvent } from "@lab/contracts/events";
import { Problem } from "@lab/contracts/problem";
import { serviceKnobs } from "@lab/runtime/env";
import { createFaults, faultKnobs } from "@lab/runtime/faults";
import { createApp } from "@lab/runtime/http";
import { createLog } from "@lab/runtime/log";
import { without } from "@lab/runtime/protections";
import { listen, runService, type Service } from "@lab/runtime/service";
import { Analytics, ANALYTICS_SCHEMA, covers, type Generation } from "@lab/store/analytics";
import { gapsInWords, type Positions, recordsIn } from "@lab/store/gaps";
import { Store } from "@lab/store/store";
import { canonicalJson, digestOf, prometheusText } from "@lab/workflow/metrics";
import { type Static, Type } from "@sinclair/typebox";
import type { EachBatchPayload, KafkaMessage, Message } from "kafkajs";
import {
  connectPersistently,
  createConsumer,
  createKafka,
  endingOnBugs,
  setGroupOffsets,
  watchGroup,
} from "./client.ts";
import { LogWatch, readFrom } from "./log-watch.ts";
import { ONE_BY_ONE_SCHEMA, oneByOne } from "./one-by-one.ts";
import { slicesOf } from "./partitions.ts";
import { createProducer } from "./producer.ts";
import { KafkaBrokers, Namespace, SEND_BATCH, topics, watchTopics } from "./topics.ts";
import { Troubles } from "./troubles.ts";

export const Config = Type.Object({
  ...serviceKnobs({
    port: 8029,
    database: ".lab/data/streaming-kafka/analytics.sqlite",
  }),
  ...faultKnobs("analytics"),
  kafkaBrokers: KafkaBrokers,
  labNamespace: Namespace,
});

export async function startAnalytics(config: Static<typeof Config>): Promise<Service> {
  const log = createLog("analytics-consumer", config.logLevel);
  const faults = createFaults("analytics", config);
  const store = new Store(config.database, [...ANALYTICS_SCHEMA, ...ONE_BY_ONE_SCHEMA]);
  const analytics = new Analytics(store.db);
  await store.commit(() => analytics.open());
  faults.reached("opened-before-listening");

  const names = topics(config.labNamespace);
  const troubles = new Troubles(log);
  const sources = [names.orderEvents, names.inventoryEvents];
  const kafka = createKafka(config.kafkaBrokers, "analytics-consumer", log);
  const admin = kafka.admin();
  const topology = watchTopics(kafka, names, log, troubles);
  const producer = createProducer(kafka);
  const consumer = createConsumer(kafka, names.analyticsGroup, troubles);
  const following = watchGroup(consumer, log, troubles);
  // The offsets that lead are those beside the counters. The group's are for others to see.
  const readOn = readFrom(consumer, (topic, partition) =>
    analytics.stands(analytics.current(), topic, partition),
  );
  const brokers = config.kafkaBrokers;
  const watch = new LogWatch({ analytics, brokers, kafka, log, names, readOn, store });
  let stopping = false;
  let replayBegins = false;

  const app = createApp("analytics-consumer", {
    model: "streaming-kafka",
    faults,
    log,
    health: () => ({
      needs: { database: store.healthy(), broker: following() },
      owed: { gaps: watch.owed(), standing_records: troubles.standing },
      problems: [...store.problems(), ...watch.problems, ...troubles.problems],
    }),
  })
    .get("/metrics", ({ headers }) => onMetrics(headers.accept), {
      detail: { summary: "The fold of the log: JSON, or Prometheus text" },
    })
    .post("/replay", ({ query, status }) => onReplay(query).then((r) => status(202, r)), {
      query: Type.Object({ accept: Type.Optional(Type.Literal("different")) }),
      detail: {
        summary: "Compute the metrics again from the start of the log",
      },
    })
    .get("/replay", () => {
      const replay = analytics.lastReplay();
      if (!replay) throw new Problem("not_found", "there was no replay yet");
      // What it has counted so far: nothing right after the reset.
      const metrics = analytics.metrics(replay.generation);
      return { ...replayView(replay), digest: digestOf(metrics), metrics };
    });

  function onMetrics(accept = ""): Response {
    const { generation } = analytics.live();
    const metrics = analytics.metrics(generation);
    const rate = analytics.processingTimeRate(generation);
    const gaps = analytics.gaps();
    if (accept.includes("text/plain")) {
      return new Response(prometheusText(metrics, rate, recordsIn(gaps)), {
        headers: { "content-type": "text/plain; version=0.0.4" },
      });
    }
    const body = {
      digest: digestOf(metrics),
      gaps,
      generation,
      metrics,
      offsets: analytics.positions(generation),
      processing_time: { orders_per_minute: rate },
      replaying: analytics.replaying() !== undefined,
    };
    return new Response(canonicalJson(body), {
      headers: { "content-type": "application/json" },
    });
  }

  /** Folds one batch: counters and offset in one transaction, then the group's offset. */
  async function onEvents(payload: EachBatchPayload): Promise<void> {
    const { batch, heartbeat, resolveOffset } = payload;
    const { topic, partition } = batch;
    const stands = () => analytics.stands(analytics.current(), topic, partition);
    // Not what comes next: the log has lost records, or begun anew.
    if (Number(batch.firstOffset()) !== stands()) await watch.look();
    for (const read of slicesOf(payload, () => faults.batchLimit(SEND_BATCH))) {
      const replay = analytics.replaying();
      const { generation } = replay ?? analytics.live();
      // A replay ends where the live metrics stood; what lies past it is folded after the swap.
      const ends = replay && !without("replay-end");
      const target = ends ? (replay.targets[topic]?.[partition] ?? 0) : Infinity;
      const stood = stands();
      if (stood >= target) {
        consumer.pause([{ topic, partitions: [partition] }]);
        break;
      }
      const slice = read.slice.filter(({ offset }) => Number(offset) < target);
      const next = Math.min(read.next, target);
      for (const _ of slice) await faults.strike(heartbeat);
      const reused = await store.commit(() => {
        const records = slice.map(readRecord);
        const others = analytics.fold(generation, topic, partition, { next, records, stood });
        faults.reached("folded-before-commit");
        return others;
      });
      if (reused === undefined) break;
      for (const offset of reused) {
        log.warn("message_refused", { topic, partition, offset, reason: "id_reused" });
      }
      faults.reached("folded-before-offset");
      resolveOffset(String(next - 1));
      await consumer.commitOffsets([{ topic, partition, offset: `${next}` }]);
      faults.reached("offset-committed");
      await heartbeat();
      if (replay) await finishReplay(replay);
      // What was left of the slice comes again.
      if (next < read.next) break;
    }
  }

  function readRecord({ value, offset }: KafkaMessage) {
    const decoded = decodeEvent(value ?? new Uint8Array(), [
      "OrderPlaced",
      "InventoryReserved",
      "InventoryFailed",
    ]);
    if (decoded.kind === "event") {
      return { offset: Number(offset), event: decoded.event };
    }
    // Inventory puts it into the dead topic; here it counts nothing.
    log.warn("message_refused", { offset, ...decoded });
    return { offset: Number(offset), event: undefined };
  }

  /** Leaves the group, and folds the log again into a fresh generation. */
  async function onReplay({ accept }: { accept?: "different" }) {
    // Work for a long time that anybody could ask for: a lab's own, as faults are.
    if (!faults.enabled) throw new Problem("not_found", "a replay needs LAB_FAULTS=on");
    if (!following()) throw unavailable();
    if (replayBegins || analytics.replaying()) {
      throw new Problem("replay_in_progress", "see GET /replay");
    }
    replayBegins = true;
    try {
      await refuseInVain(accept === "different");
      await leaveAndBegin(accept === "different");
    } finally {
      replayBegins = false;
    }
    const replay = analytics.replaying() as Generation;
    log.info("replay_started", { generation: replay.generation });
    return replayView(replay);
  }

  /** A replay that can't find what it must is refused before anything is touched. */
  async function refuseInVain(isAccepted: boolean): Promise<void> {
    await watch.look().catch(() => {
      throw unavailable();
    });
    if (!analytics.hasCounted()) {
      throw new Problem("nothing_to_replay", "the metrics stand for no event yet");
    }
    const gone = analytics.gaps().filter(({ counted }) => counted);
    if (gone.length === 0 || isAccepted || without("whole-log")) return;
    throw new Problem("log_incomplete", `gone, and in the metrics: ${gapsInWords(gone)}`);
  }

  async function leaveAndBegin(isAccepted: boolean): Promise<void> {
    try {
      // The broker refuses to set the offsets of a group that has members.
      await consumer.stop();
      faults.reached("left-before-replay");
      // Nothing is folded now: the metrics stand still where they are noted.
      await store.commit(() => analytics.beginReplay(isAccepted));
      faults.reached("replay-begun");
    } finally {
      connecting = connectPersistently(troubles, () => stopping, consume);
    }
  }

  /** Sets the group's offsets to where a replay stands: the start, or where it was when it was killed. */
  async function rewind({ generation }: Generation): Promise<void> {
    const stands = analytics.positions(generation);
    const resetTo: Positions = {};
    const offsets = [];
    for (const topic of sources) {
      for (const { partition, low } of await admin.fetchTopicOffsets(topic)) {
        const offset = stands[topic]?.[partition] ?? Number(low);
        (resetTo[topic] ??= {})[partition] = offset;
        offsets.push({ topic, partition, offset: `${offset}` });
      }
    }
    await setGroupOffsets(kafka, admin, names.analyticsGroup, offsets);
    faults.reached("rewound-before-note");
    await store.commit(() => analytics.noteReset(generation, resetTo));
    faults.reached("rewound");
  }

  /** Once every partition is where the old metrics stood: compare, and swap if they are equal. */
  async function finishReplay({ generation, targets }: Generation) {
    if (!covers(analytics.positions(generation), targets)) return;
    faults.reached("replayed-before-swap");
    // A start and a batch may both find the end: the first of them swaps.
    const done = await store.commit(() => analytics.replaying() && analytics.endReplay());
    if (!done) return;
    faults.reached("swapped");
    log.info("replay_finished", { ...replayView(done) });
    readOn();
  }

  function replayView(replay: Generation) {
    return {
      ...replay,
      gaps: analytics.gaps(replay.generation),
      equal: replay.digest_after && replay.digest_after === replay.digest_before,
      positions: analytics.positions(replay.generation),
    };
  }

  const bury = (letter: Message) =>
    producer.send({ topic: names.deadLetters, acks: -1, messages: [letter] });

  async function consume(): Promise<void> {
    await watch.look();
    const replay = analytics.replaying();
    if (replay) await rewind(replay);
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: endingOnBugs(oneByOne({ bury, log, store }, onEvents)),
    });
    // At its join it couldn't commit yet.
    readOn();
    if (replay) await finishReplay(replay);
  }

  let connecting = connectPersistently(
    troubles,
    () => stopping,
    async () => {
      await admin.connect();
      await topology.declare();
      faults.reached("declared-before-consuming");
      await producer.connect();
      await consumer.connect();
      for (const topic of sources) {
        await consumer.subscribe({ topic, fromBeginning: true });
      }
      await consume();
    },
  );

  return {
    name: "analytics-consumer",
    url: listen(app, config),
    database: config.database,
    faults,
    async stop() {
      stopping = true;
      faults.end();
      // The consumer is the intake here: it goes first.
      await connecting;
      await watch.stop();
      await consumer.disconnect();
      faults.reached("group-left");
      await producer.disconnect();
      await topology.stop();
      await admin.disconnect();
      await app.stop();
      store.close();
    },
  };
}

function unavailable(): Problem {
  return new Problem("broker_unavailable", "try again", { headers: { "retry-after": "1" } });
}

if (import.meta.main) await runService(startAnalytics, Config);
