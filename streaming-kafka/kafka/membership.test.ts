import { expect, spyOn, test } from "bun:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { createLog } from "@lab/runtime/log";
import type { Consumer } from "kafkajs";
import { SESSION_TIMEOUT_MS } from "./client.ts";
import { Troubles } from "./troubles.ts";
import { watchGroup } from "./membership.ts";
import { portionsOf } from "./producer.ts";

test("what is sent at once is what a partition takes, and nothing is left out or moved", () => {
  // Orders of 20 items with long names, as many as the outbox sends at once.
  const messages = Array.from({ length: 1_000 }, (_, n) => ({
    key: "main",
    value: `${n}${"x".repeat(2_500)}`,
  }));
  const portions = [...portionsOf(messages)];
  expect(portions.flat()).toEqual(messages);
  for (const portion of portions) {
    expect(Buffer.byteLength(JSON.stringify(portion))).toBeLessThan(1024 * 1024);
  }
  expect([...portionsOf([])]).toEqual([]);
  expect([...portionsOf([{ value: Buffer.alloc(2_000_000) }])]).toHaveLength(1);
});

/** A consumer whose reconnection completes when the test says so. */
function watchedConsumer() {
  const calls: string[] = [];
  const back = Promise.withResolvers<void>();
  let onCrash: (event: { payload: { error: Error; restart: boolean } }) => void = () => {};
  const events = { GROUP_JOIN: "join", HEARTBEAT: "beat", CRASH: "crash", STOP: "stop" };
  const consumer = {
    events: { ...events, DISCONNECT: "disconnect" },
    on(event: string, listener: typeof onCrash) {
      // The first of the two crash listeners: the other only records that it is no member.
      if (event === "crash" && calls.push("watched") === 1) onCrash = listener;
    },
    async connect() {
      calls.push("connect");
      await back.promise;
    },
    run: async () => void calls.push("run"),
    stop: async () => void calls.push("stop"),
    disconnect: async () => void calls.push("disconnect"),
  } as unknown as Consumer;
  const log = createLog("test", "error");
  watchGroup(consumer, log, new Troubles(log));
  calls.length = 0;
  const error = Object.assign(new Error("no coordinator"), { name: "KafkaJSProtocolError" });
  return { calls, consumer, back, crash: () => onCrash({ payload: { error, restart: false } }) };
}

test("a consumer that crashed comes back, but not when it was told to leave meanwhile", async () => {
  const stays = watchedConsumer();
  await stays.consumer.run();
  stays.crash();
  stays.back.resolve();
  await nextTurn();
  expect(stays.calls).toEqual(["run", "connect", "run"]);

  const leaves = watchedConsumer();
  await leaves.consumer.run();
  leaves.crash();
  await leaves.consumer.disconnect();
  leaves.back.resolve();
  await nextTurn();
  expect(leaves.calls).toEqual(["run", "connect", "disconnect"]);
});

test("a member that Kafka doesn't answer for as long as its session lasts is none, until it does", () => {
  const told = new Map<string, (() => void)[]>();
  const events = { GROUP_JOIN: "join", HEARTBEAT: "beat", CRASH: "crash", STOP: "stop" };
  const consumer = {
    events: { ...events, DISCONNECT: "disconnect" },
    on: (event: string, listener: () => void) =>
      told.set(event, [...(told.get(event) ?? []), listener]),
  } as unknown as Consumer;
  const tell = (event: string) => told.get(event)!.forEach((listener) => listener());
  using clock = spyOn(performance, "now");
  const log = createLog("test", "error");
  const isMember = watchGroup(consumer, log, new Troubles(log));
  const seen = [isMember()];
  for (const [nowMs, event] of [
    [10_000, "join"],
    [10_000 + SESSION_TIMEOUT_MS, "silence"],
    [20_000, "beat"],
    [19_999 + SESSION_TIMEOUT_MS, "silence"],
    [20_000 + SESSION_TIMEOUT_MS, "silence"],
    [30_000, "beat"],
    [30_001, "stop"],
  ] as const) {
    clock.mockReturnValue(nowMs);
    if (event !== "silence") tell(event);
    seen.push(isMember());
  }
  expect(seen).toEqual([false, true, false, true, true, false, true, false]);
});
