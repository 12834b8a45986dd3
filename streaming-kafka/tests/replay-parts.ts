import type { Run } from "@lab/lab/experiment/experiment";
import { eventsOf, readTopic } from "@lab/lab/probes/kafka-tools";
import { fetchReplay, type ShownMetrics, type ShownReplay, sumOf } from "@lab/lab/probes/replay";
import { eventually } from "@lab/lab/host/waiting";
import type { Admin } from "kafkajs";
import {
  allEnded,
  type BulkOrders,
  byMinute,
  countsOf,
  metricsOver,
  placeBulk,
  type Stream,
  expectedOf,
} from "./campus.ts";

/** What the parts of the replay experiment share. */
export interface Shared {
  run: Run;
  stream: Stream;
  admin: Admin;
  /** All bulk streams so far, from which the expected result is computed. */
  streams: BulkOrders[];
}

/** Places a bulk stream. */
export function place(
  { run, stream, streams }: Shared,
  some: { count: number; rate_per_s?: number },
) {
  const bulk = planned(run, streams, { ...some, fail_rate: 0.05 });
  return placeBulk(run, stream.campus, bulk);
}

/** Adds a stream with a seed of its own to `streams`. */
export function planned(
  run: Run,
  streams: BulkOrders[],
  some: Pick<BulkOrders, "count" | "fail_rate" | "rate_per_s">,
): BulkOrders {
  const bulk = { ...some, seed: run.seed + streams.length, kitchens: 24 };
  streams.push(bulk);
  return bulk;
}

/** Waits until all orders are counted, and checks the metrics against the seeds and the topic. */
export async function holdsArithmetic(
  { run, stream, streams }: Shared,
  when: string,
): Promise<ShownMetrics> {
  const { stock: _, ...counts } = expectedOf(streams);
  await allEnded(stream.campus);
  const shown = await metricsOver(stream.campus, counts.placed);
  const records = await readTopic(stream.brokers, stream.names.orderEvents);
  run.holds(
    `the metrics are the seed's arithmetic ${when}, by the events' own minutes`,
    {
      ...countsOf(shown.metrics),
      minutes: shown.metrics.orders_per_minute,
    },
    { ...counts, minutes: byMinute(eventsOf(records).events) },
  );
  return shown;
}

/** Waits for the swap; returns the replay. */
export function replayEnds(url: string): Promise<ShownReplay> {
  return eventually(
    "the replay has ended",
    async () => {
      const replay = await fetchReplay(url);
      if (replay.state !== "live") {
        throw new Error(`${sumOf(replay.positions)} of ${sumOf(replay.targets)}`);
      }
      return replay;
    },
    { timeoutMs: 120_000, everyMs: 10 },
  );
}

/** Rounded to milliseconds. */
export function seconds(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
