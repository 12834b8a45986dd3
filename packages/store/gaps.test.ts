import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newEvent } from "@lab/contracts/events";
import { newId } from "@lab/contracts/ids";
import { Analytics, ANALYTICS_SCHEMA } from "./analytics.ts";
import { type Gap, gapsInWords, type TopicLog } from "./gaps.ts";
import { Store } from "./store.ts";

let folder: string;
let store: Store;
let analytics: Analytics;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "gaps-"));
  store = new Store(join(folder, "analytics.sqlite"), ANALYTICS_SCHEMA);
  analytics = new Analytics(store.db);
  analytics.open();
});

afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

/** A topic with one partition, as the broker has it. */
function log(low: number, high: number, id?: string): Record<string, TopicLog> {
  return { t: { id, partitions: 1, ends: [{ partition: 0, low, high }] } };
}

/** Compares with the log as the service does. */
function reconcile(logs: Record<string, TopicLog>) {
  return analytics.reconcile(logs, analytics.positionsByGeneration());
}

/** Folds new orders, one for each offset from the fold's position to `next`. */
function foldTo(next: number): void {
  const generation = analytics.current();
  const expected = position();
  const records = Array.from({ length: next - expected }, (_, n) => {
    const order = { order_id: newId(), user_id: "u1", kitchen: "main", items: [] };
    return { offset: expected + n, event: newEvent("OrderPlaced", "test", order) };
  });
  analytics.fold(generation, "t", 0, { expected, records, next });
}

function position(): number {
  return analytics.nextOffset(analytics.current(), "t", 0);
}

function gaps(): string[] {
  return analytics.gaps().map((gap: Gap) => `${gapsInWords([gap])}, counted ${gap.counted}`);
}

test("a whole log leaves no gap, and the fold where it is", () => {
  reconcile(log(0, 10, "a"));
  foldTo(10);
  expect(reconcile(log(0, 12, "a"))).toEqual({ gaps: [], moved: false });
  expect(position()).toBe(10);
});

test("records that went before they were read are told from those that were counted", () => {
  reconcile(log(0, 10, "a"));
  foldTo(4);
  expect(reconcile(log(7, 10, "a")).moved).toBe(true);
  expect(gaps()).toEqual([
    "t 0: offsets 0 to 3, counted true",
    "t 0: offsets 4 to 6, counted false",
  ]);
  expect(position()).toBe(7);
  // The same log again gives no new gap.
  expect(reconcile(log(7, 10, "a"))).toEqual({ gaps: [], moved: false });
});

test("a new database misses what the log lacks", () => {
  expect(reconcile(log(5, 9, "a")).moved).toBe(true);
  expect(gaps()).toEqual(["t 0: offsets 0 to 4, counted false"]);
});

test("a topic that was made anew is read from its start, longer or shorter, and what was counted stays", () => {
  reconcile(log(0, 10, "a"));
  foldTo(10);
  expect(reconcile(log(0, 25, "b")).moved).toBe(true);
  expect([position(), analytics.metrics(analytics.current()).placed]).toEqual([0, 10]);
  expect(gaps()).toEqual(["t 0: offsets 0 to 9, counted true"]);
  foldTo(3);
  // Where no broker provides topic ids, a log that is shorter counts as another one, too.
  expect(reconcile(log(0, 2)).moved).toBe(true);
  expect(position()).toBe(0);
});

test("a topic without ids that goes on is the same one, and its id is taken when it is told", () => {
  reconcile(log(0, 10));
  foldTo(10);
  expect(reconcile(log(0, 10, "a")).moved).toBe(false);
  expect(reconcile(log(0, 10, "b")).moved).toBe(true);
});

test("what was folded while the log was asked for is not beyond its end", () => {
  reconcile(log(0, 10, "a"));
  const earlier = analytics.positionsByGeneration();
  foldTo(10);
  expect(analytics.reconcile(log(0, 8, "a"), earlier)).toEqual({ gaps: [], moved: false });
});

test("the same topic that has lost its end has lost no more", () => {
  reconcile(log(0, 10, "a"));
  foldTo(10);
  reconcile(log(0, 8, "a"));
  expect(gaps()).toEqual(["t 0: offsets 8 to 9, counted true"]);
  expect(position()).toBe(0);
});

test("a partition that is no more is gone with all that it had", () => {
  reconcile({
    t: { id: "a", partitions: 2, ends: [0, 1].map(($) => ({ partition: $, low: 0, high: 9 })) },
  });
  const generation = analytics.current();
  analytics.fold(generation, "t", 1, { expected: 0, records: [], next: 9 });
  reconcile(log(0, 9, "b"));
  expect(gaps()).toEqual(["t 1: offsets 0 to 8, counted true"]);
  expect(analytics.positions(generation)).toEqual({ t: { 0: 0 } });
});

test("a topic that isn't read any more is gone with all that it had", () => {
  reconcile(log(0, 10, "a"));
  foldTo(10);
  const [t] = Object.values(log(0, 3, "b"));
  expect(reconcile({ other: t! }).moved).toBe(true);
  expect(gaps()).toEqual(["t 0: offsets 0 to 9, counted true"]);
  expect(analytics.positions(analytics.current())).toEqual({ other: { 0: 0 } });
});

test("a replay that finds another swaps nothing, unless that was accepted", () => {
  reconcile(log(0, 10, "a"));
  foldTo(10);
  const { generation: live } = analytics.live();
  analytics.beginReplay(false);
  analytics.noteReset(analytics.current(), { t: { 0: 0 } });
  // Records lost during the replay.
  reconcile(log(6, 10, "a"));
  foldTo(10);
  expect(analytics.endReplay().state).toBe("different");
  expect(analytics.live().generation).toBe(live);
  expect(analytics.metrics(live).placed).toBe(10);
  expect(gaps()).toEqual(["t 0: offsets 0 to 5, counted true"]);

  const { generation: kept } = analytics.lastReplay()!;
  analytics.beginReplay(true);
  expect(analytics.positions(kept)).toEqual({});
  analytics.noteReset(analytics.current(), { t: { 0: 6 } });
  foldTo(10);
  expect(analytics.endReplay().state).toBe("live");
  expect([analytics.metrics(analytics.current()).placed, gaps()]).toEqual([4, []]);
});

test("an equal replay lacks what the metrics before it lacked", () => {
  reconcile(log(5, 10, "a"));
  const order = { order_id: newId(), user_id: "u1", kitchen: "main", items: [] };
  const records = [{ offset: 5, event: newEvent("OrderPlaced", "test", order) }];
  analytics.fold(analytics.current(), "t", 0, { expected: 5, records, next: 6 });
  analytics.beginReplay(false);
  analytics.noteReset(analytics.current(), { t: { 0: 5 } });
  analytics.fold(analytics.current(), "t", 0, { expected: 5, records, next: 6 });
  expect(analytics.endReplay().state).toBe("live");
  expect(gaps()).toEqual(["t 0: offsets 0 to 4, counted false"]);
});

test("a replay whose topic was made anew ends, though it was accepted", () => {
  reconcile(log(0, 10, "a"));
  foldTo(10);
  analytics.beginReplay(true);
  analytics.noteReset(analytics.current(), { t: { 0: 0 } });
  reconcile(log(0, 10, "a"));
  foldTo(4);
  reconcile(log(0, 2, "b"));
  expect(analytics.replaying()).toBeUndefined();
  expect(analytics.lastReplay()?.state).toBe("different");
  expect([position(), gaps()]).toEqual([0, ["t 0: offsets 0 to 9, counted true"]]);
});
