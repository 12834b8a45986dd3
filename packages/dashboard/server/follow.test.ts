import { expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { STATIONS } from "../contract/frame.ts";
import { type LogLine, Trails } from "../probes/trails.ts";
import { spansOf } from "./follow.ts";
import { linesAbout } from "./order-lines.ts";

const ORDER = "0198f3c2-7e50-7d10-8b8e-00000000000a";
const TIME = "2026-01-01T00:00:00.100Z";

function begun(service: string, kind: string, name: string, at_us: number, more = {}): LogLine {
  return { time: TIME, event: "span_begun", service, kind, name, at_us, order_id: ORDER, ...more };
}

function ended(span_id: string, at_us: number, outcome = "ok"): LogLine {
  return { time: TIME, event: "span_ended", service: "any", span_id, at_us, outcome };
}

test("a span that its process never ended is cut off, and what is between sender and consumer is a wait", () => {
  const lines = [
    begun("order-service", "producer", "send orders:order.placed", 1_000, { span_id: "a" }),
    ended("a", 2_000),
    begun("inventory-service", "consumer", "process inventory.order-placed", 9_000, {
      span_id: "b",
      parent_id: "a",
      attributes: { "messaging.destination.partition.id": "3", "messaging.kafka.offset": 7 },
    }),
  ];
  expect(spansOf(lines)).toEqual([
    {
      service: "order-service",
      name: "send orders:order.placed",
      kind: "call",
      from_ms: 1,
      to_ms: 2,
      outcome: "ok",
      depth: 0,
    },
    {
      service: "inventory-service",
      name: "waits for inventory.order-placed",
      kind: "wait",
      from_ms: 2,
      to_ms: 9,
      depth: 1,
    },
    {
      service: "inventory-service",
      name: "process inventory.order-placed, partition 3, offset 7",
      kind: "work",
      from_ms: 9,
      to_ms: null,
      depth: 1,
    },
  ]);
});

test("a span ends with its process, and the log of a killed one is searched by its caller's trace", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lines-"));
  const log = join(folder, "inventory-service.log");
  const at = (second: number) => `2026-01-01T00:00:0${second}.000Z`;
  const line = (second: number, more: object) =>
    `${JSON.stringify({ time: at(second), service: "inventory-service", ...more })}\n`;
  const span = { event: "span_begun", kind: "server", name: "POST /reserve", trace_id: "t1" };
  try {
    writeFileSync(log, line(0, { event: "ready" }));
    appendFileSync(log, line(1, { ...span, span_id: "s", at_us: Date.parse(at(1)) * 1_000 }));
    appendFileSync(log, line(2, { event: "faults_set" }));
    const found = await linesAbout(log, ORDER, new Set(["t1"]));
    expect(found).toMatchObject({
      lines: [{ span_id: "s" }],
      deathsMs: [],
      lastMs: Date.parse(at(2)),
    });
    appendFileSync(log, line(5, { event: "ready" }));
    const { deathsMs, lines } = await linesAbout(log, ORDER, new Set(["t1"]));
    expect(deathsMs).toEqual([Date.parse(at(2))]);
    expect(spansOf(lines, () => deathsMs[0])).toMatchObject([
      { from_ms: Date.parse(at(1)), to_ms: Date.parse(at(2)), cut: true },
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a settlement is a line where it took a while, or never ended", () => {
  const settling = (span_id: string, at_us: number) =>
    begun("order-service", "client", "settle order.inventory-events", at_us, { span_id });
  const lines = [
    settling("a", 1_000),
    ended("a", 1_500),
    settling("b", 2_000),
    ended("b", 3_000),
    settling("c", 4_000),
  ];
  expect(spansOf(lines).map(({ from_ms, to_ms }) => [from_ms, to_ms])).toEqual([
    [2, 3],
    [4, null],
  ]);
});

test("a dot goes forward only, by log events and spans alike, and never again once its order has ended", () => {
  const folder = mkdtempSync(join(tmpdir(), "trails-"));
  try {
    const log = join(folder, "inventory-service.log");
    writeFileSync(log, `${JSON.stringify({ ...begun("order-service", "server", "", 1) })}\n`);
    const trails = new Trails("async-rabbitmq");
    // What was written before isn't played.
    trails.follow([log]);
    expect(trails.take(0)).toEqual([]);
    const us = Date.parse(TIME) * 1_000;
    const lines = [
      { time: TIME, service: "order-service", event: "order_placed", order_id: ORDER },
      begun("inventory-service", "consumer", "process inventory.order-placed", us + 5_000),
      // Order hears the result while Notification works.
      begun("order-service", "consumer", "process order.inventory-events", us + 6_000),
      begun("inventory-service", "producer", "send orders:inventory.reserved", us + 7_000),
      begun("order-service", "producer", "send orders:order.placed", us + 8_000),
    ];
    appendFileSync(log, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    trails.follow([log]);
    const way = () =>
      trails.take(Date.parse(TIME)).map(([order, station, ago]) => [order, STATIONS[station], ago]);
    expect(way()).toEqual([
      ["0000000a", "order", 0],
      ["0000000a", "first-wait", 0],
      ["0000000a", "inventory", -5],
      ["0000000a", "second-wait", -7],
    ]);
    trails.end(ORDER, "done", Date.parse(TIME) + 20);
    appendFileSync(
      log,
      `${JSON.stringify({ time: TIME, service: "notification-service", event: "customer_told", order_id: ORDER })}\n`,
    );
    trails.follow([log]);
    expect(way()).toEqual([["0000000a", "done", -20]]);
    expect(trails.places(0)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("an order's lines are found as a log grows, with those that only its trace names", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lines-"));
  const log = join(folder, "service.log");
  const line = (more: object) => `${JSON.stringify({ time: TIME, ...more })}\n`;
  const found = async () => (await linesAbout(log, ORDER)).lines.map(({ event, n }) => n ?? event);
  try {
    expect(await found()).toEqual([]);
    // The client's span begins before there is an id.
    writeFileSync(log, line({ event: "span_begun", trace_id: "t1", n: 1 }));
    appendFileSync(log, line({ event: "span_begun", trace_id: "other", n: 2 }));
    expect(await found()).toEqual([]);
    appendFileSync(log, line({ event: "span_begun", trace_id: "t1", order_id: ORDER, n: 3 }));
    expect(await found()).toEqual([1, 3]);
    const last = line({ event: "span_ended", trace_id: "t1", n: 4 });
    appendFileSync(log, last.slice(0, 20));
    expect(await found()).toEqual([1, 3]);
    appendFileSync(log, last.slice(20));
    expect(await found()).toEqual([1, 3, 4]);
    writeFileSync(log, line({ event: "order_placed", order_id: ORDER }));
    expect(await found()).toEqual(["order_placed"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
