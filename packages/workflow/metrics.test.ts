import { expect, test } from "bun:test";
import { newEvent } from "@lab/contracts/events";
import { newId } from "@lab/contracts/ids";
import fc from "fast-check";
import {
  canonicalJson,
  type Counter,
  countedBy,
  digestOf,
  type FoldedEvent,
  metricsOf,
  prometheusText,
} from "./metrics.ts";

function event(
  type: "OrderPlaced" | "InventoryReserved" | "InventoryFailed",
  kitchen: string,
  time: string,
): FoldedEvent {
  const data = {
    order_id: newId(),
    user_id: "u1",
    kitchen,
    items: [{ sku: "taco", qty: 1 }],
    reason: "out_of_stock" as const,
  };
  return { ...newEvent(type, "test", data), time } as FoldedEvent;
}

function fold(events: readonly FoldedEvent[]) {
  const counters = new Map<string, Counter>();
  for (const each of events) {
    const key = countedBy(each);
    const at = canonicalJson(key);
    const n = (counters.get(at)?.n ?? 0) + 1;
    counters.set(at, { ...key, n });
  }
  return metricsOf([...counters.values()]);
}

test("metrics are counted by event time, by kitchen, and by reason", () => {
  const metrics = fold([
    event("OrderPlaced", "k01", "2026-01-01T12:00:10Z"),
    event("OrderPlaced", "k02", "2026-01-01T12:03:59Z"),
    event("InventoryReserved", "k01", "2026-01-01T12:04:00Z"),
    event("InventoryFailed", "k02", "2026-01-01T12:05:00Z"),
  ]);
  expect(metrics).toEqual({
    placed: 2,
    reserved: 1,
    failed: 1,
    failure_rate: 0.5,
    failures_by_reason: { out_of_stock: 1 },
    orders_per_minute: { "2026-01-01T12:00Z": 1, "2026-01-01T12:03Z": 1 },
    mean_orders_per_minute: 0.5,
    kitchens: {
      k01: { placed: 1, reserved: 1, failed: 0, failure_rate: 0 },
      k02: { placed: 1, reserved: 0, failed: 1, failure_rate: 1 },
    },
  });
});

test("any order of reading gives the same digest", () => {
  const events = ["k01", "k02", "k03"].flatMap((kitchen) => [
    event("OrderPlaced", kitchen, "2026-01-01T12:00:00Z"),
    event("OrderPlaced", kitchen, "2026-01-01T12:01:00Z"),
    event("InventoryReserved", kitchen, "2026-01-01T12:01:00Z"),
    event("InventoryFailed", kitchen, "2026-01-01T12:01:00Z"),
  ]);
  const expected = digestOf(fold(events));
  fc.assert(
    fc.property(fc.shuffledSubarray(events, { minLength: events.length }), (shuffled) => {
      expect(digestOf(fold(shuffled))).toBe(expected);
    }),
  );
  expect(digestOf(fold(events.slice(1)))).not.toBe(expected);
});

test("a kitchen may have any name and touches nothing else", () => {
  const { kitchens } = fold([event("OrderPlaced", "__proto__", "2026-01-01T12:00:00Z")]);
  expect(Object.keys(kitchens)).toEqual(["__proto__"]);
  expect(({} as { placed?: number }).placed).toBe(undefined);
});

test("Prometheus text has a line per kitchen, its label escaped", () => {
  const text = prometheusText(fold([event("OrderPlaced", 'a"b', "2026-01-01T12:00:00Z")]), 7, 0);
  expect(text).toContain('orders_placed_total{kitchen="a\\"b"} 1\n');
  expect(text).toEndWith("orders_per_minute_processing_time 7\n");
});

test("minutes that are none, counted before contracts refused them, leave every number a number", () => {
  const counter = (bucket: string) => ({
    metric: "placed" as const,
    kitchen: "main",
    bucket,
    n: 3,
  });
  const broken = metricsOf([counter("0000-00-00T00:00Z")]);
  expect(broken.mean_orders_per_minute).toBe(0);
  expect(prometheusText(broken, 0, 0)).not.toContain("NaN");
  const mixed = metricsOf([counter("0000-00-00T00:00Z"), counter("2026-01-01T12:00Z")]);
  expect(mixed.mean_orders_per_minute).toBe(3);
});
