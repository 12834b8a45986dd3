/** 10,000 orders in one burst: are there exactly 10,000 of everything, and how fast? */
import { read } from "@lab/lab/probes/databases";
import type { StockRow } from "@lab/contracts/order";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import {
  countRecords,
  eventsOf,
  kafkaClient,
  readTopic,
  type TopicRecord,
} from "@lab/lab/probes/kafka-tools";
import { describeGroup, lagTable, totalLag } from "@lab/lab/probes/lag";
import {
  LATENCY_COLUMNS,
  latencies,
  latencyRow,
  openLoop,
  percentileLine,
  placeOrder,
} from "@lab/lab/load/load";
import { fetchMetrics } from "@lab/lab/probes/replay";
import { eventually, sample } from "@lab/lab/host/waiting";
import { PARTITIONS } from "../topics.ts";
import {
  allEnded,
  type BulkOrders,
  byMinute,
  countsOf,
  getJson,
  holdsClean,
  metricsOver,
  placeBulk,
  placedOf,
  startStream,
  type Stream,
  expectedOf,
} from "./campus.ts";
import { sendMalformed } from "./malformed.ts";
import { groupsOf } from "./model.ts";

const EVENTS = 10_000;
const KITCHENS = 24;
const FAIL_RATE = 0.05;
const SINGLE = { ratePerS: 200, count: 1_000 };
const LIMITED = { ratePerS: 100, count: 200 };

experiment(
  {
    name: "ten-thousand-events",
    model: "streaming-kafka",
    question:
      "10,000 orders at once: is every event there once, do the metrics add up, and how fast is it?",
    method:
      "One POST /orders/bulk of 10,000 orders over 24 kitchens, 5 % of them for an item that isn't on the menu. Both topics are then read from end to end, and topics, stores and metrics are held against what the seed gives on paper. After that: 1,000 single orders at 200/s, a stream limited to 100/s, and malformed records between good orders.",
    disproof:
      "An order-events topic with other than 10,000 records, an order with no outcome or with two, metrics or stock that differ from the seed's arithmetic, a good order stuck behind a malformed record.",
    requirements: ["C1", "C2", "D3", "D4"],
    parameters: {
      events: EVENTS,
      kitchens: KITCHENS,
      partitions: PARTITIONS,
      fail_rate: FAIL_RATE,
      single_order_rate_per_s: SINGLE.ratePerS,
      limited_rate_per_s: LIMITED.ratePerS,
    },
  },
  async (run) => {
    const stream = await startStream(run);
    await using _ = stream.campus;
    const burst: BulkOrders = {
      count: EVENTS,
      seed: run.seed,
      kitchens: KITCHENS,
      fail_rate: FAIL_RATE,
    };
    await produceBurst(run, stream, burst);
    await orderOneByOne(run, stream);
    await limitRate(run, stream);
    await sendMalformed(run, stream);
    holdsClean(run, stream.campus);
    await showGroups(run, stream);
  },
);

async function produceBurst(
  run: Run,
  { brokers, campus, names }: Stream,
  burst: BulkOrders,
): Promise<void> {
  run.progress("a burst of 10,000 orders");
  const bulk = await withProgress(run, { brokers, campus, names }, async () => {
    const begun = await placeBulk(run, campus, burst);
    const placed = await placedOf(campus, begun, EVENTS);
    await allEnded(campus);
    await metricsOver(campus, EVENTS);
    return placed;
  });

  run.progress("reading both topics from end to end");
  const orderRecords = await readTopic(brokers, names.orderEvents);
  const outcomeRecords = await readTopic(brokers, names.inventoryEvents);
  const orders = eventsOf(orderRecords);
  const outcomes = eventsOf(outcomeRecords);
  run.holds(
    "order-events: 10,000 records, each another event",
    {
      records: orderRecords.length,
      events: orders.events.length,
      invalid: orders.invalid,
    },
    { records: EVENTS, events: EVENTS, invalid: 0 },
  );
  run.holds(
    "inventory-events: 10,000 outcomes by event id, none malformed",
    { outcomes: outcomes.events.length, invalid: outcomes.invalid },
    { outcomes: EVENTS, invalid: 0 },
  );
  const ordered = new Set(orders.events.map(({ subject }) => subject));
  const ended = new Set(outcomes.events.map(({ subject }) => subject));
  run.holds(
    "each order has its outcome, and no outcome is without an order",
    {
      without_outcome: ordered.difference(ended).size,
      without_order: ended.difference(ordered).size,
    },
    { without_outcome: 0, without_order: 0 },
  );
  run.holds(
    "a kitchen has one partition, the same in both topics",
    partitionsOfKitchens([...orderRecords, ...outcomeRecords]),
    {},
  );

  const expected = expectedOf([burst]);
  const { metrics, processing_time } = await fetchMetrics(campus.downstream.url);
  const { stock, ...counts } = expected;
  run.holds("the metrics are the seed's arithmetic, kitchen by kitchen", countsOf(metrics), counts);
  run.holds(
    "failures by reason and failure rate too",
    {
      by_reason: metrics.failures_by_reason,
      rate: metrics.failure_rate,
    },
    {
      by_reason: { unknown_item: expected.failed },
      rate: expected.failed / EVENTS,
    },
  );
  run.holds(
    "orders per minute are those of the events' own times",
    metrics.orders_per_minute,
    byMinute(orders.events),
  );
  const left = await getJson<StockRow[]>(`${campus.inventory.url}/stock`);
  const touched = left.filter(({ quantity }) => quantity !== 100_000);
  run.holds(
    "the stock is what the seed leaves",
    Object.fromEntries(
      touched.map(({ kitchen, sku, quantity }) => [`${kitchen} ${sku}`, quantity]),
    ),
    stock,
  );
  const verdict = holdsClean(run, campus);
  run.holds(
    "the orders ended as the seed says",
    { reserved: verdict.reserved, failed: verdict.failed },
    { reserved: expected.reserved, failed: expected.failed },
  );

  const produced = acknowledgements(campus.order);
  const firstMs = Math.min(...orderRecords.map((one) => one.timestampMs));
  const lastMs = Math.max(...outcomeRecords.map((one) => one.timestampMs));
  const processS = (lastMs - firstMs) / 1_000;
  const rates = {
    produce: Math.round(produced.behindFirst / produced.spanS),
    process: Math.round(EVENTS / processS),
  };
  run.table({
    id: "rates",
    title: "A burst of 10,000 orders",
    columns: [
      { name: "stage" },
      { name: "events" },
      { name: "time", unit: "s" },
      { name: "rate", unit: "events/s" },
    ],
    rows: [
      ["acknowledged by Kafka", EVENTS, produced.spanS, rates.produce],
      ["through Inventory", EVENTS, processS, rates.process],
    ],
    note: "Acknowledged: from the first acknowledgement to the last, the first batch not counted in the rate, since its own time isn't in it; the orders are written to the store meanwhile. Through Inventory: from the first order's record to the last outcome's.",
  });
  run.table({
    id: "counts",
    title: "10,000 orders, counted in six places",
    columns: [{ name: "place" }, { name: "orders" }, { name: "reserved" }, { name: "failed" }],
    rows: [
      ["the seed, on paper", EVENTS, expected.reserved, expected.failed],
      ["bulk stream, placed", bulk.placed, null, null],
      ["order-events, records", orderRecords.length, null, null],
      [
        "inventory-events, event ids",
        outcomes.events.length,
        outcomes.events.filter(({ type }) => type === "InventoryReserved").length,
        outcomes.events.filter(({ type }) => type === "InventoryFailed").length,
      ],
      ["OrderService's store", EVENTS, verdict.reserved, verdict.failed],
      ["Analytics", metrics.placed, metrics.reserved, metrics.failed],
    ],
  });
  run.table({
    id: "kitchens",
    title: "The metrics by kitchen",
    columns: [
      { name: "kitchen" },
      { name: "placed" },
      { name: "reserved" },
      { name: "failed" },
      { name: "failure rate" },
    ],
    rows: Object.entries(metrics.kitchens)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([kitchen, own]) => [kitchen, own.placed, own.reserved, own.failed, own.failure_rate]),
  });
  run.excerpt({
    id: "metrics",
    title: "GET /metrics of Analytics, without the kitchens",
    text: JSON.stringify(
      { ...metrics, kitchens: `${KITCHENS} of them`, processing_time },
      undefined,
      2,
    ),
  });

  run.figure("events", EVENTS);
  run.figure("kitchens", KITCHENS);
  run.figure("partitions", PARTITIONS);
  run.figure("fail_rate", FAIL_RATE);
  run.figure("produce_s", produced.spanS);
  run.figure("produce_rate_per_s", rates.produce);
  run.figure("process_s", processS);
  run.figure("process_rate_per_s", rates.process);
  run.figure("order_events", orderRecords.length);
  run.figure("outcomes", outcomes.events.length);
  run.figure("duplicates", outcomes.duplicates);
  run.figure("reserved", verdict.reserved);
  run.figure("failed", verdict.failed);
  run.figure("failed_expected", expected.failed);
  run.figure("metrics_failure_rate", metrics.failure_rate);
}

/** Does the work and records a chart of each stage's progress over time. */
async function withProgress<T>(
  run: Run,
  { brokers, campus, names }: Stream,
  work: () => Promise<T>,
): Promise<T> {
  const admin = kafkaClient(brokers).admin();
  await admin.connect();
  const every = { everyMs: 50, zeroUs: run.zeroUs };
  const fromS = run.elapsedS();
  const stages = {
    "in order-events": sample(() => countRecords(admin, names.orderEvents), every),
    "in inventory-events": sample(() => countRecords(admin, names.inventoryEvents), every),
    "orders counted by Analytics": sample(
      async () => (await fetchMetrics(campus.downstream.url)).metrics.placed,
      every,
    ),
  };
  try {
    return await work();
  } finally {
    for (const stage of Object.values(stages)) await stage.stop();
    await admin.disconnect();
    run.series({
      id: "progress",
      title: "A burst of 10,000 orders on its way",
      x: { name: "Time", unit: "s" },
      y: { name: "Events", unit: "events" },
      lines: Object.entries(stages).map(([name, { points }]) => ({
        name,
        points: points.map(([atS, n]): [number, number] => [
          Math.round((atS - fromS) * 1_000) / 1_000,
          n,
        ]),
      })),
      shaded: [],
    });
  }
}

async function orderOneByOne(run: Run, { campus }: Stream): Promise<void> {
  run.progress("1,000 single orders at 200/s");
  const from = new Date().toISOString();
  const single = await openLoop({
    ...SINGLE,
    send: (n) =>
      placeOrder(
        campus.order.url,
        { user_id: `u${n}`, items: [{ sku: "burger", qty: 1 }] },
        { history: run.history },
      ),
  });
  await allEnded(campus);
  run.holds("every single order is answered 202", single.answers, {
    "ok 202": SINGLE.count,
  });
  run.table({
    id: "latency",
    title: "Latency of POST /order",
    columns: LATENCY_COLUMNS,
    rows: [latencyRow("200/s, from the intended start", single)],
    note: "The answer says that the order is stored, not that it is reserved.",
  });
  run.series({
    id: "percentiles",
    title: "Latency of POST /order at 200/s",
    x: { name: "percentile", unit: "percentile" },
    y: { name: "latency", unit: "ms", log: true },
    lines: [{ name: "answer 202", points: percentileLine(single) }],
    shaded: [],
  });
  run.figure("answer_p50_ms", latencies(single).p50_ms);
  run.figure("answer_p99_ms", latencies(single).p99_ms);
  run.figure("completion_p50_ms", medianCompletionMs(campus.order, from));
}

async function limitRate(run: Run, { campus }: Stream): Promise<void> {
  run.progress("200 orders, limited to 100/s");
  const before = (await fetchMetrics(campus.downstream.url)).metrics.placed;
  const begun = await placeBulk(run, campus, {
    count: LIMITED.count,
    seed: run.seed,
    kitchens: KITCHENS,
    fail_rate: 0,
    rate_per_s: LIMITED.ratePerS,
  });
  const { finished_at = "", started_at } = await placedOf(campus, begun, LIMITED.count);
  await allEnded(campus);
  await metricsOver(campus, before + LIMITED.count);
  const tookMs = Date.parse(finished_at) - Date.parse(started_at);
  const leastMs = (LIMITED.count / LIMITED.ratePerS) * 1_000;
  run.holds("the limited stream isn't quicker than its limit", tookMs >= leastMs, true);
  run.table({
    id: "limited",
    title: "A stream with a limit",
    columns: [
      { name: "limit", unit: "orders/s" },
      { name: "orders" },
      { name: "time", unit: "s" },
      { name: "rate", unit: "orders/s" },
    ],
    rows: [
      [
        LIMITED.ratePerS,
        LIMITED.count,
        tookMs / 1_000,
        Math.round((LIMITED.count / tookMs) * 1_000),
      ],
    ],
  });
}

async function showGroups(run: Run, { brokers }: Stream): Promise<void> {
  const admin = kafkaClient(brokers).admin();
  await admin.connect();
  try {
    const rows = await eventually("no group is behind", async () => {
      const groups = groupsOf(run.namespace);
      const all = await Promise.all(groups.map((group) => describeGroup(admin, group)));
      const found = all.flat();
      if (totalLag(found) > 0) throw new Error(`\n${lagTable(found)}`);
      return found;
    });
    run.excerpt({
      id: "groups",
      title: "All groups at the end: scripts/lab lag",
      text: lagTable(rows),
    });
  } finally {
    await admin.disconnect();
  }
}

/** Kitchens whose records are in more than one partition, with those partitions. */
function partitionsOfKitchens(records: readonly TopicRecord[]): Record<string, number[]> {
  const found = new Map<string, Set<number>>();
  for (const { key, partition } of records) {
    const own = found.get(key ?? "none") ?? new Set();
    found.set(key ?? "none", own.add(partition));
  }
  return Object.fromEntries(
    [...found]
      .filter(([, partitions]) => partitions.size > 1)
      .map(([kitchen, partitions]) => [kitchen, [...partitions]]),
  );
}

/** When the broker acknowledged each event, as the outbox has recorded it. */
function acknowledgements(order: { database: string }) {
  const batches = read<{ sent_at: string; n: number }>(
    order,
    "SELECT sent_at, count(*) AS n FROM outbox GROUP BY sent_at ORDER BY sent_at",
  );
  const first = batches[0] ?? { sent_at: "", n: 0 };
  const last = batches.at(-1)?.sent_at ?? "";
  const all = batches.reduce((sum, { n }) => sum + n, 0);
  return {
    spanS: (Date.parse(last) - Date.parse(first.sent_at)) / 1_000,
    behindFirst: all - first.n,
  };
}

/** Median time from an order's acceptance to its reservation, of those since `from`. */
function medianCompletionMs(order: { database: string }, from: string): number {
  const times = read<{ placed_at: string; at: string }>(
    order,
    `SELECT placed_at, at FROM orders JOIN order_steps USING (order_id)
     WHERE order_steps.status = 'reserved' AND placed_at >= ?`,
    from,
  )
    .map(({ at, placed_at }) => Date.parse(at) - Date.parse(placed_at))
    .toSorted((a, b) => a - b);
  return times[Math.floor(times.length / 2)] ?? Number.NaN;
}
