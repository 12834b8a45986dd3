/** The REST model beside what three hops cost at least: raw Bun.serve, and Go in memory. */
import { startBunHops, startGoHops } from "@lab/bench/yardstick";
import { acceptedPerS, OPENING_STOCK, ORDER, SATURATED_S } from "@lab/bench/load";
import { syncedWriteMs } from "@lab/bench/fsync";
import { type Comparison, interleave, ROUNDS } from "@lab/bench/rounds";
import { holdRatios, type Ratio, sampleTable } from "@lab/bench/ratios";
import { byLength } from "@lab/evidence/settings";
import { experiment } from "@lab/lab/experiment/experiment";
import { closedLoop, latencies, placeOrder } from "@lab/lab/load/load";
import { mkdir } from "node:fs/promises";
import { startCampus } from "../campus.ts";

const ONE_BY_ONE = byLength({ short: 100, full: 500 });
/** Of one order, while the customer waits: the order, its reservation, its confirmation's. */
const COMMITS_WAITED_FOR = 3;

const OURS = "sync-rest";
const RAW = "raw Bun.serve";
const DURABLE = "raw Bun.serve, durable";
const GO = "Go in memory";

experiment(
  {
    name: "ceilings",
    model: "sync-rest",
    question: "How close is the REST model to what three hops cost at least?",
    method: `Ours and the yardsticks in turn, ${ROUNDS} rounds: as many orders as go through in ${SATURATED_S} s at 20 and at 100 connections (autocannon), and ${ONE_BY_ONE} one after another. ${RAW}: the same hops with fetch, one SQLite write each that isn't synced, no validation. ${DURABLE}: one synced commit for each thing that a service must not forget. ${GO}: net/http.`,
    disproof: "A ratio that isn't reached.",
    requirements: [],
    parameters: { rounds: ROUNDS, saturated_s: SATURATED_S, one_by_one: ONE_BY_ONE },
  },
  async (run) => {
    await using ours = await startCampus(run, { LAB_FAULTS: "off", OPENING_STOCK });
    await using raw = await startBunHops(`${run.folder}/raw`, "NORMAL");
    await using durable = await startBunHops(`${run.folder}/durable`, "FULL");
    await using go = await startGoHops();
    const urls: Record<string, string> = {
      [OURS]: ours.order.url,
      [RAW]: raw.url,
      [DURABLE]: durable.url,
      ...(go && { [GO]: go.url }),
    };
    const inTurn = (title: string, measure: (url: string) => Promise<number>) =>
      interleave(
        run,
        title,
        Object.entries(urls).map(([name, url]) => ({ name, measure: () => measure(url) })),
      );
    const saturated = (connections: number) =>
      inTurn(`${connections} connections`, (url) => acceptedPerS(url, connections));
    const at20 = await saturated(20);
    const at100 = await saturated(100);
    const alone = await inTurn("one after another", async (url) => {
      const send = () => placeOrder(url, ORDER);
      return latencies(await closedLoop({ count: ONE_BY_ONE, connections: 1, send })).p50_ms;
    });
    await mkdir(run.folder, { recursive: true });
    const fsyncMs = syncedWriteMs(run.folder);
    run.figure("synced_write_ms", fsyncMs);

    sampleTable(
      run,
      { id: "throughput", title: "Orders through all three hops", unit: "orders/s" },
      { "20 connections": at20, "100 connections": at100 },
    );
    sampleTable(
      run,
      { id: "latency", title: "One order after another: median latency", unit: "ms" },
      { "one connection": alone },
    );
    holdRatios(run, [
      throughput("20 connections", at20, RAW, 1),
      throughput("100 connections", at100, RAW, 1.2),
      ...(go ? [throughput("20 connections", at20, GO, 0.6)] : []),
      ...(go ? [throughput("100 connections", at100, GO, 0.75)] : []),
      {
        figure: `p50 of one order, less ${COMMITS_WAITED_FOR} synced writes`,
        unit: "ms",
        ours: alone.samples[OURS]!.median - COMMITS_WAITED_FOR * fsyncMs,
        beside: RAW,
        yardstick: alone.samples[RAW]!.median,
        bound: { most: 1.3 },
      },
    ]);
  },
);

function throughput(load: string, { samples }: Comparison, beside: string, least: number): Ratio {
  const [ours, yardstick] = [samples[OURS]!.median, samples[beside]!.median];
  return { figure: `orders/s at ${load}`, unit: "1/s", ours, beside, yardstick, bound: { least } };
}
