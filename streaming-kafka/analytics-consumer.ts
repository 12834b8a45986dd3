/**
 * Analytics of the streaming model: a pure fold over the log.
 *
 * Hears: OrderPlaced, InventoryReserved, InventoryFailed, from both topics.
 * Says:  nothing, but for records that kill it, to `order-events.dead`.
 * Keeps: counters, the offsets up to which they count, and the ids of the events
 *        that were counted, in one transaction; in generations.
 *
 * Notice: because the log keeps everything and the fold depends on the events
 * alone, the metrics can be computed again, and are the same. What depends on
 * the clock of the reader is not: see `processing_time`.
 */
import { serviceKnobs } from "@lab/runtime/env";
import { createFaults, faultKnobs } from "@lab/runtime/faults";
import { createApp } from "@lab/runtime/http/app";
import { createLog } from "@lab/runtime/log";
import { listen, runService, type Service } from "@lab/runtime/service";
import { Analytics, ANALYTICS_SCHEMA } from "@lab/store/analytics";
import { recordsIn } from "@lab/store/gaps";
import { Store } from "@lab/store/store";
import { canonicalJson, digestOf, prometheusText } from "@lab/workflow/metrics";
import { type Static, Type } from "@sinclair/typebox";
import type { Batch, EachBatchPayload, KafkaMessage } from "kafkajs";
import { LogWatch, readFrom } from "./log-watch.ts";
import { ONE_BY_ONE_SCHEMA } from "./kafka/one-by-one.ts";
import { slicesOf } from "./kafka/partitions.ts";
import { beginReplay, finishReplay, type Fold, lastReplay, rewind } from "./replay.ts";
import { Stream } from "./kafka/stream.ts";
import { KafkaBrokers, Namespace, SEND_BATCH, topics } from "./topics.ts";

export const Config = Type.Object({
  ...serviceKnobs({ port: 8029, database: ".lab/data/streaming-kafka/analytics.sqlite" }),
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

  const names = topics(config.labNamespace);
  const stream = new Stream(config, "analytics-consumer", names.analyticsGroup, {
    log,
    names,
    store,
  });
  const { consumer, kafka, troubles } = stream;
  // The authoritative offsets are those stored with the counters. The group's are only for
  // monitoring.
  const readOn = readFrom(consumer, (topic, partition) =>
    analytics.nextOffset(analytics.current(), topic, partition),
  );
  const brokers = config.kafkaBrokers;
  const onMoved = async () => {
    readOn();
    // A replay may already be at its end, where no further record arrives that would end it.
    const replay = analytics.replaying();
    if (replay) await finishReplay({ analytics, log, readOn, store }, replay);
  };
  const watch = new LogWatch({ analytics, brokers, kafka, log, names, onMoved, store });
  const fold = { analytics, faults, log, names, readOn, store, stream, watch };
  const consume = () => readLog(fold);

  const app = createApp("analytics-consumer", {
    model: "streaming-kafka",
    faults,
    log,
    health: () => ({
      needs: { database: store.healthy(), broker: stream.isMember() },
      owed: { gaps: watch.owed(), standing_records: troubles.stalled },
      waits_for: stream.waitsFor,
      problems: [...store.problems(), ...troubles.problems],
    }),
  })
    .get("/metrics", ({ headers }) => onMetrics(analytics, headers.accept), {
      detail: { summary: "The fold of the log: JSON, or Prometheus text" },
    })
    .post(
      "/replay",
      async ({ query, status }) => status(202, await beginReplay(fold, query, consume)),
      {
        query: Type.Object({ accept: Type.Optional(Type.Literal("different")) }),
        detail: {
          summary: "Compute the metrics again from the start of the log",
        },
      },
    )
    .get("/replay", () => lastReplay(analytics));
  stream.start([names.orderEvents, names.inventoryEvents], consume);

  return {
    name: "analytics-consumer",
    url: listen(app, config),
    database: config.database,
    faults,
    stop: [
      ["watch-ended", () => watch.stop()],
      // The consumer is the intake here.
      ...stream.stop,
      ["http-stopped", () => app.stop()],
      ["store-closed", () => store.close()],
    ],
  };
}

function onMetrics(analytics: Analytics, accept = ""): Response {
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
async function onEvents(fold: Fold, payload: EachBatchPayload): Promise<void> {
  const { analytics, faults, log, store, stream, watch } = fold;
  const { consumer } = stream;
  const { batch, heartbeat, resolveOffset } = payload;
  const { topic, partition } = batch;
  const position = () => analytics.nextOffset(analytics.current(), topic, partition);
  // Not the expected offset: the log has lost records, or was recreated.
  if (Number(batch.firstOffset()) !== position()) await watch.look();
  for (const read of slicesOf(payload, () => faults.batchLimit(SEND_BATCH))) {
    const replay = analytics.replaying();
    const { generation } = replay ?? analytics.live();
    // A replay ends at the position that the live metrics had; later records are folded after the
    // swap.
    const target = replay ? (replay.targets[topic]?.[partition] ?? 0) : Infinity;
    const expected = position();
    if (expected >= target) {
      consumer.pause([{ topic, partitions: [partition] }]);
      break;
    }
    const slice = read.slice.filter(({ offset }) => Number(offset) < target);
    const next = Math.min(read.next, target);
    const records = slice.map((record) => readRecord(fold, batch, record, replay !== undefined));
    for (const _ of slice) await faults.strike(heartbeat);
    const reused = await store.commit(() =>
      analytics.fold(generation, topic, partition, { expected, next, records }),
    );
    if (reused === undefined) break;
    for (const offset of reused) {
      log.warn("message_refused", { topic, partition, offset, reason: "id_reused" });
    }
    resolveOffset(String(next - 1));
    await consumer.commitOffsets([{ topic, partition, offset: `${next}` }]);
    await heartbeat();
    if (replay) await finishReplay(fold, replay);
    // The rest of the slice is read again.
    if (next < read.next) break;
  }
}

function readRecord(
  { log, stream }: Fold,
  batch: Batch,
  record: KafkaMessage,
  isReplayed: boolean,
) {
  const { offset } = record;
  const decoded = stream.read(
    batch,
    record,
    ["OrderPlaced", "InventoryReserved", "InventoryFailed"],
    isReplayed,
  );
  if (decoded.kind === "event") {
    return { offset: Number(offset), event: decoded.event };
  }
  // Inventory sends it to the dead topic; here it is not counted.
  log.warn("message_refused", { offset, ...decoded });
  return { offset: Number(offset), event: undefined };
}

/** Reads from the counters' position: a replay's, or the live one. */
async function readLog(fold: Fold): Promise<void> {
  const { analytics, readOn, stream, watch } = fold;
  await watch.look();
  const replay = analytics.replaying();
  if (replay) await rewind(fold, replay);
  await stream.run((payload) => onEvents(fold, payload));
  // The seek when the group was joined couldn't commit yet.
  readOn();
  if (replay) await finishReplay(fold, replay);
}

if (import.meta.main) await runService(startAnalytics, Config);
