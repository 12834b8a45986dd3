/** Where the crash points and the protections of the streaming model are in its code. */
import { type CrashSite, type CrashSites, STOP_STEP } from "@lab/proof/weaving/crash-sites";
import { only, type Protections } from "@lab/proof/weaving/protections";

const inStream = (at: string): CrashSite => ({ file: "kafka/stream.ts", at });
const inPlacing = (at: string): CrashSite => ({ file: "placing.ts", at });
const inReplay = (at: string): CrashSite => ({ file: "replay.ts", at });

/** Of every service. */
const CLIENT: CrashSites = {
  "declared-before-consuming": inStream("await this.#topology.declare(); <gap>"),
  "group-left": STOP_STEP,
  "kafka-left": STOP_STEP,
};

export const CRASH_SITES: Record<string, CrashSites> = {
  "order-producer": {
    ...CLIENT,
    "placed-before-commit": inPlacing(
      'outbox.add(kitchen, newEvent("OrderPlaced", "order-producer", data, traceparent)); <gap>',
    ),
    "stored-before-answer": '<gap> log.debug("order_placed"',
    "bulk-begun-before-answer": "const bulk = await store.commit(() => bulks.begin(body)); <gap>",
    "bulk-placed-before-commit": inPlacing("<gap> return bulks.advance(bulk_id, due.length);"),
    "bulk-placed": inPlacing("<gap> shop.wake();"),
    "sent-before-mark": "<gap> const sent = rows.filter((row) => !left.has(row));",
    marked: "for (const { seq } of sent) refused.done(seq); <gap>",
    "advanced-before-commit":
      "orders.advance(data.order_id, STATUS_AFTER[type], time, reason); } <gap>",
    "advanced-before-offset": "<gap> const { topic, partition } = batch;",
    "offset-committed": "<gap> await heartbeat();",
    "intake-ended": STOP_STEP,
    "bulks-ended": STOP_STEP,
    "outbox-ended": STOP_STEP,
  },
  "inventory-consumer": {
    ...CLIENT,
    "opened-before-listening": "inventory.open(config.openingStock)); <gap>",
    "decided-before-commit": '<gap> return { kind: "done", outcome: encodeEvent(answer) };',
    "stored-before-send":
      "<gap> await producer.send({ topic: names.inventoryEvents, acks: -1, messages: answers });",
    "answered-before-dead-letters":
      "<gap> await producer.send({ topic: names.deadLetters, acks: -1, messages: dead });",
    "sent-before-offset": "<gap> resolveOffset(",
    "offset-committed": "offset: `${next}` }, ]); <gap>",
    "failed-before-retry": "} as const; } <gap>",
    "refused-before-send": "<gap> return deadLetter(batch, record, why);",
    "http-stopped": STOP_STEP,
  },
  "analytics-consumer": {
    ...CLIENT,
    "opened-before-listening": "await store.commit(() => analytics.open()); <gap>",
    "folded-before-commit": {
      passage:
        "store.commit(() => analytics.fold(generation, topic, partition, { expected, next, records }), )",
      at: "store.commit(() => { const others = analytics.fold(generation, topic, partition, { expected, next, records }); <gap> return others; })",
    },
    "folded-before-offset": "<gap> resolveOffset(",
    "offset-committed": "<gap> await heartbeat();",
    "left-before-replay": inReplay("await stream.consumer.stop(); <gap>"),
    "replay-begun": inReplay("analytics.beginReplay(isAccepted)); <gap>"),
    "rewound-before-note": inReplay("<gap> await store.commit(() => analytics.noteReset("),
    rewound: inReplay("analytics.noteReset(generation, resetTo)); <gap>"),
    "replayed-before-swap": inReplay("<gap> const done = await store.commit("),
    swapped: inReplay('<gap> log.info("replay_finished"'),
    "watch-ended": STOP_STEP,
    "http-stopped": STOP_STEP,
  },
};

export const PROTECTIONS: Protections = {
  ...only(
    "commit-before-answer",
    "idempotency-key",
    "stock-check",
    "idempotent-reserve",
    "outbox",
    "ledger",
    "forward-only",
    "deduplication",
    "event-time",
    "equal-swap",
  ),
  /** Published is what the broker has confirmed. */
  confirms: [
    {
      file: "streaming-kafka/kafka/producer.ts",
      passage: "{ acks: -1, ...record, messages: portion }",
      instead: "{ ...record, acks: 0, messages: portion }",
    },
  ],
  /** An offset is committed after the work. */
  "ack-after-commit": [
    {
      file: "streaming-kafka/kafka/membership.ts",
      passage: "await work(payload);",
      instead: `const { lastOffset, partition, topic } = payload.batch;
        const partitions = [{ partition, offset: String(Number(lastOffset.call(payload.batch)) + 1) }];
        await payload.commitOffsetsIfNecessary({ topics: [{ topic, partitions }] });
        await work(payload);`,
    },
  ],
  /** A record is dead-lettered after a limited number of attempts. */
  "delivery-limit": [
    {
      file: "streaming-kafka/inventory-consumer.ts",
      passage: "if (attempt === MAX_ATTEMPTS) {",
      instead: "if (false) {",
    },
  ],
  /** What is given up becomes a dead letter. */
  "dead-letter": [
    {
      file: "streaming-kafka/inventory-consumer.ts",
      passage: "if (dead.length > 0) {",
      instead: "if (false) {",
    },
  ],
  /** Analytics continues from the offset in its own database and skips records before it. Without it the group's offsets decide. */
  "stored-offset": [
    {
      file: "streaming-kafka/log-watch.ts",
      passage: "if (offsets.length === 0) return;",
      instead: "return;",
    },
    {
      file: "packages/store/analytics.ts",
      passage: "if (next <= position) return [];",
      instead: "if (next <= 0) return [];",
    },
    {
      file: "packages/store/analytics.ts",
      passage: "if (offset < position || !event) continue;",
      instead: "if (!event) continue;",
    },
  ],
  /** A replay ends where the old metrics stood. */
  "replay-end": [
    {
      file: "streaming-kafka/analytics-consumer.ts",
      passage: "const target = replay ? (replay.targets[topic]?.[partition] ?? 0) : Infinity;",
      instead: "const target = Infinity;",
    },
  ],
  /** A replay is refused where the log has lost what it needs. */
  "whole-log": [
    {
      file: "streaming-kafka/replay.ts",
      passage: "if (gone.length === 0 || isAccepted) return;",
      instead: "return;",
    },
  ],
};
