/** The metrics deleted and recomputed from the log: are they the same, whatever was killed meanwhile? */
import { setFaults } from "@lab/lab/services/set-faults";
import { encodeEvent, newEvent } from "@lab/contracts/events";
import { newId } from "@lab/contracts/ids";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import { kafkaClient, produceRaw } from "@lab/lab/probes/kafka-tools";
import { describeGroup, lagTable } from "@lab/lab/probes/lag";
import {
  beginReplay,
  diffMetrics,
  fetchMetrics,
  fetchReplay,
  flatMetrics,
  type ShownMetrics,
  type ShownReplay,
  sumOf,
} from "@lab/lab/probes/replay";
import { eventually, sample, settled } from "@lab/lab/host/waiting";
import { bulkOrder } from "@lab/workflow/bulk";
import type { Metrics } from "@lab/workflow/metrics";
import { SESSION_TIMEOUT_MS } from "../kafka/client.ts";
import { holdsClean, placedOf, startStream } from "./campus.ts";
import { KILLED, MEANWHILE, replayAfterKill, replayKilled, SLOW_MS } from "./replay-killed.ts";
import {
  holdsArithmetic,
  place,
  planned,
  replayEnds,
  seconds,
  type Shared,
} from "./replay-parts.ts";

const FIRST = { count: 4_000, rate_per_s: 800 };
/** Orders that come with old event times, two to a minute, for something off the menu. */
const LATE = { count: 60, perMinute: 2, agoMinutes: 32 };

experiment(
  {
    name: "replay",
    model: "streaming-kafka",
    question: "Are metrics that are computed again from the log the same, to the last digit?",
    method:
      "4,000 orders at 800/s, and 60 that come half an hour late; then Analytics' offsets are set back to the start and all is folded again, up to the end offsets noted before; metrics before, at the reset and after. Once more with Inventory killed (SIGKILL) between its answers and its commit, and orders coming during the replay. Once more with Analytics itself killed in the middle of the replay. Before all that, somebody tries to set back the offsets of the group while it runs.",
    disproof:
      "Another digest after a replay than before, metrics that aren't the seed's arithmetic, an order counted twice because its event was written twice, a replay that begins again or never ends when it is killed.",
    requirements: ["C1", "C4", "D4"],
    parameters: {
      orders: FIRST.count,
      late_orders: LATE.count,
      rate_per_s: FIRST.rate_per_s,
      orders_with_inventory_killed: KILLED.count,
      orders_during_replay: MEANWHILE.count,
      replay_slowed_to_ms_per_event: SLOW_MS,
      session_timeout_ms: SESSION_TIMEOUT_MS,
    },
  },
  async (run) => {
    const stream = await startStream(run);
    await using _ = stream.campus;
    const admin = kafkaClient(stream.brokers).admin();
    await admin.connect();
    await using _admin = { [Symbol.asyncDispose]: () => admin.disconnect() };
    const shared: Shared = { run, stream, admin, streams: [] };
    const live = await asItHappened(shared);
    await resetWhileLive(shared);
    await replayWithReset(shared);
    await replayTimed(shared, live);
    await replayAfterKill(shared);
    await replayKilled(shared);
    holdsClean(run, stream.campus);
  },
);

/**
 * Orders whose event time is long past when they arrive, as from a producer that was disconnected:
 * by event time they belong to another minute than by the reader's clock. They fail, since no
 * OrderService knows them to keep their status.
 */
async function produceLate({ run, stream, streams }: Shared): Promise<void> {
  const { count, kitchens, seed } = planned(run, streams, {
    count: LATE.count,
    fail_rate: 1,
  });
  const startMs = Date.now() - LATE.agoMinutes * 60_000;
  const records = Array.from({ length: count }, (_, n) => {
    const order = bulkOrder({ seed, kitchens, failRate: 1 }, n);
    const event = newEvent("OrderPlaced", "lab", {
      order_id: newId(),
      ...order,
    });
    const atMs = startMs + Math.floor(n / LATE.perMinute) * 60_000;
    event.time = new Date(atMs).toISOString();
    return { key: order.kitchen, value: encodeEvent(event) };
  });
  await produceRaw(stream.brokers, stream.names.orderEvents, records);
}

/** Orders at their original rate; returns records folded over time. */
async function asItHappened(shared: Shared): Promise<[number, number][]> {
  const { run, stream } = shared;
  const { campus } = stream;
  run.progress("4,000 orders at 800/s");
  await using folded = sample(
    async () => sumOf((await fetchMetrics(campus.downstream.url)).offsets),
    {
      everyMs: 100,
    },
  );
  const bulk = await place(shared, FIRST);
  await produceLate(shared);
  await placedOf(campus, bulk, FIRST.count);
  await holdsArithmetic(shared, "before any replay");
  await folded.stop();
  return folded.points;
}

/** A running group's offsets can't be reset: a rule of the broker, and of every tool. */
async function resetWhileLive({ run, stream, admin }: Shared): Promise<void> {
  run.progress("setting back the offsets of a group that runs");
  const { analyticsGroup: groupId, orderEvents: topic } = stream.names;
  const before = await describeGroup(admin, groupId);
  const partitions = before
    .filter((row) => row.topic === topic)
    .map(({ partition }) => ({ partition, offset: "0" }));
  let refusal = "";
  try {
    await admin.setOffsets({ groupId, topic, partitions });
  } catch (error) {
    refusal = `${(error as Error).name}: ${(error as Error).message}`;
  }
  run.holds(
    "the reset of a live group is refused",
    refusal.includes("must have no running instances"),
    true,
  );
  run.holds("and its offsets are untouched", await describeGroup(admin, groupId), before);
  run.excerpt({
    id: "refused",
    title: "Setting the offsets of the live group to 0",
    text: `${refusal}\n\n${lagTable(before)}`,
  });
  run.figure("live_reset_refused", refusal !== "");
}

/** A replay that is held fast at its reset, to be looked at. */
async function replayWithReset({ run, stream, admin }: Shared): Promise<void> {
  run.progress("a replay, held fast at the reset");
  const { campus, names } = stream;
  const { url } = campus.downstream;
  const before = await fetchMetrics(url);
  await setFaults(campus.downstream, { hang: true });
  await beginReplay(url);
  // Analytics has left its group here, and isn't back.
  const second = await fetch(`${url}/replay`, { method: "POST" });
  run.holds(
    "a second replay is refused because of the first",
    ((await second.json()) as { code?: string }).code,
    "replay_in_progress",
  );
  const rows = await eventually("the group is back with its offsets", async () => {
    const { reset_to } = await fetchReplay(url);
    const found = await describeGroup(admin, names.analyticsGroup);
    return reset_to !== null && found.every(({ consumer_id }) => consumer_id !== null) && found;
  });
  const atReset = await settled("it stands at the reset", () => fetchReplay(url));
  const meanwhile = await fetchMetrics(url);
  run.holds(
    "the group's offsets are set back to the start of the log",
    {
      reset_to: sumOf(atReset.reset_to ?? {}),
      committed: [...new Set(rows.map((row) => row.current_offset))],
    },
    { reset_to: 0, committed: [0] },
  );
  run.holds(
    "nothing is counted again yet, and the old metrics are shown meanwhile",
    {
      counted: flatMetrics(atReset.metrics),
      shown: meanwhile.digest,
      replaying: meanwhile.replaying,
    },
    {
      counted: {
        placed: 0,
        reserved: 0,
        failed: 0,
        failure_rate: 0,
        mean_orders_per_minute: 0,
      },
      shown: before.digest,
      replaying: true,
    },
  );
  await setFaults(campus.downstream, {});
  const replay = await replayEnds(url);
  const after = await fetchMetrics(url);
  run.holds(
    "the same metrics, to the last digit",
    {
      digest: replay.digest_after,
      differences: diffMetrics(before.metrics, after.metrics),
    },
    { digest: before.digest, differences: [] },
  );
  run.holds(
    "the rate by processing time is another one",
    before.processing_time.orders_per_minute === after.processing_time.orders_per_minute,
    false,
  );
  tellMetrics(run, before, atReset, after);
  run.excerpt({
    id: "reset",
    title: "The group at the reset: all of the log is to be read again",
    text: lagTable(rows),
  });
  run.excerpt({
    id: "replayed",
    title: "The group after the replay",
    text: lagTable(await describeGroup(admin, names.analyticsGroup)),
  });
}

function tellMetrics(
  run: Run,
  before: ShownMetrics,
  atReset: ShownReplay,
  after: ShownMetrics,
): void {
  const views = [before.metrics, atReset.metrics, after.metrics].map(summaryOf);
  run.table({
    id: "metrics",
    title: "Metrics before, at the reset, and after",
    columns: [
      { name: "metric" },
      { name: "before" },
      { name: "at the reset" },
      { name: "after" },
      { name: "equal" },
    ],
    rows: [
      ...Object.keys(views[0] ?? {}).map((path) => {
        const [old, reset, now] = views.map((view) => view[path] ?? 0);
        return [path, old ?? 0, reset ?? 0, now ?? 0, old === now];
      }),
      [
        "digest (SHA-256)",
        before.digest.slice(0, 16),
        atReset.digest.slice(0, 16),
        after.digest.slice(0, 16),
        before.digest === after.digest,
      ],
      [
        "orders per minute by processing time",
        before.processing_time.orders_per_minute,
        0,
        after.processing_time.orders_per_minute,
        before.processing_time.orders_per_minute === after.processing_time.orders_per_minute,
      ],
    ],
    note: "The last line is the counter-example: it divides by the time that the reader took, and a replay reads as fast as it can, so it is a number about the reader. All others come from the events alone.",
  });
  const zeroMs = Date.parse(Object.keys(before.metrics.orders_per_minute).toSorted()[0] ?? "");
  run.series({
    id: "per-minute",
    title: "Orders per minute by event time, before and after the replay",
    x: { name: "Event time", unit: "min" },
    y: { name: "Orders", unit: "per minute", log: true },
    lines: [
      { name: "before", points: minuteLine(before.metrics, zeroMs) },
      { name: "after", points: minuteLine(after.metrics, zeroMs) },
    ],
    shaded: [],
  });
  run.figure("digest_before", before.digest);
  run.figure("digest_at_reset", atReset.digest);
  run.figure("digest_after", after.digest);
  run.figure("orders_before", before.metrics.placed);
  run.figure("orders_after", after.metrics.placed);
  run.figure("orders_per_minute_before", busiest(before.metrics));
  run.figure("orders_per_minute_after", busiest(after.metrics));
  run.figure("processing_rate_before_per_min", before.processing_time.orders_per_minute);
  run.figure("processing_rate_after_per_min", after.processing_time.orders_per_minute);
}

/** The same replay without disturbance, to measure its time. */
async function replayTimed(
  { run, stream: { campus } }: Shared,
  live: [number, number][],
): Promise<void> {
  run.progress("the same replay, timed");
  const { url } = campus.downstream;
  const before = await fetchMetrics(url);
  await using folded = sample(async () => sumOf((await fetchReplay(url)).positions), {
    everyMs: 10,
  });
  await beginReplay(url);
  const replay = await replayEnds(url);
  await folded.stop();
  run.holds("the same metrics again", replay.digest_after, before.digest);
  const events = sumOf(replay.targets);
  const tookS = secondsBetween(replay.started_at, replay.finished_at);
  run.figure("events_replayed", events);
  run.figure("replay_s", tookS);
  run.series({
    id: "progress",
    title: "The same records, folded as they came and in a replay",
    x: { name: "Time", unit: "s" },
    y: { name: "Records folded", unit: "records" },
    lines: [
      { name: "as they came", points: live },
      // Until the reset the previous replay's positions are shown.
      {
        name: "replay",
        points: folded.points.slice(
          Math.max(
            0,
            folded.points.findLastIndex(([, n]) => n === 0),
          ),
        ),
      },
    ],
    shaded: [],
  });
}

function minuteLine({ orders_per_minute }: Metrics, zeroMs: number): [number, number][] {
  return Object.entries(orders_per_minute)
    .map(([minute, n]): [number, number] => [Math.round((Date.parse(minute) - zeroMs) / 60_000), n])
    .toSorted(([a], [b]) => a - b);
}

function busiest({ orders_per_minute }: Metrics): number {
  return Math.max(0, ...Object.values(orders_per_minute));
}

/** A summary of the metrics: without the kitchens, and with the minutes added up. */
function summaryOf(metrics: Metrics): Record<string, number> {
  const single = Object.entries(flatMetrics(metrics)).filter(
    ([path]) => !/^(kitchens|orders_per_minute)\./.test(path),
  );
  return {
    ...Object.fromEntries(single),
    "orders in the busiest minute": busiest(metrics),
    "minutes with orders": Object.keys(metrics.orders_per_minute).length,
  };
}

function secondsBetween(from: string, to: string | null): number {
  return seconds((Date.parse(to ?? "") - Date.parse(from)) / 1_000);
}
