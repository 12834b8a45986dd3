import { expect, test } from "bun:test";
import { type LagRow, lagSummary, lagTable, totalCommitted, totalLag } from "./lag.ts";
import { diffMetrics } from "./replay.ts";

const rows: LagRow[] = [
  {
    group: "inventory",
    topic: "order-events",
    partition: 0,
    current_offset: 7,
    log_end_offset: 1200,
    lag: 1193,
    consumer_id: "inventory-consumer-1",
    host: "/127.0.0.1",
    client_id: "inventory-consumer",
  },
  {
    group: "analytics",
    topic: "order-events",
    partition: 0,
    current_offset: null,
    log_end_offset: 5,
    lag: null,
    consumer_id: null,
    host: null,
    client_id: null,
  },
];

test("the table has the columns of kafka-consumer-groups, a group each", () => {
  expect(lagTable(rows)).toBe(
    `
GROUP      TOPIC         PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG   CONSUMER-ID           HOST        CLIENT-ID
inventory  order-events  0          7               1200            1193  inventory-consumer-1  /127.0.0.1  inventory-consumer
Lag of inventory in all: 1193

Consumer group 'analytics' has no active members.

GROUP      TOPIC         PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG  CONSUMER-ID  HOST  CLIENT-ID
analytics  order-events  0          -               5               -    -            -     -
Lag of analytics in all: 5
`.trim(),
  );
});

test("what was never committed is behind as a whole", () => {
  expect([totalLag(rows), totalCommitted(rows)]).toEqual([1198, 7]);
  expect(lagSummary(rows)).toBe("inventory 1193  analytics 5");
});

test("a difference of metrics names the number", () => {
  const before = {
    placed: 2,
    reserved: 1,
    failed: 1,
    failure_rate: 0.5,
    failures_by_reason: { unknown_item: 1 },
    orders_per_minute: {},
    mean_orders_per_minute: 2,
    kitchens: {},
  };
  const after = { ...before, failed: 2, failures_by_reason: {} };
  expect(diffMetrics(before, before)).toEqual([]);
  expect(diffMetrics(before, after)).toEqual([
    "failed: 1 -> 2",
    "failures_by_reason.unknown_item: 1 -> none",
  ]);
});
