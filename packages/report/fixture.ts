import type { Evidence, Scalar, Series } from "@lab/evidence/evidence";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { experiments } from "@lab/evidence/experiments";
import { FIGURES, type ExperimentName, kindOf } from "@lab/evidence/figures";

/** Evidence with invented numbers, for this package's tests and for viewing the report's design. */
export function inventEvidence(experiment: ExperimentName): Evidence {
  return {
    experiment,
    model: experiments[experiment],
    question: `What happens in ${experiment}?`,
    method: "Orders are sent while `THROTTLE_MS` is set; then everything is counted.",
    disproof: "An order that was answered and never ended, or ended twice.",
    requirements: invented[experiment]?.requirements ?? [],
    started_at: "2026-01-02T03:04:05.000Z",
    duration_s: 12.3,
    machine: { cpu: "Example CPU", cores: 2, memory_gib: 24, os: "Debian 12" },
    versions: { bun: "1.4.5", kafka: "4.2.0" },
    brokers: "native",
    seed: 42,
    parameters: { orders: 1_000, faults: true },
    tables: [
      {
        id: "latency",
        title: "Latency of POST /order",
        columns: [
          { name: "load" },
          { name: "N" },
          { name: "p50", unit: "ms" },
          { name: "p99", unit: "ms" },
        ],
        rows: [
          ["one by one", 1_000, 2.1234, 6.5],
          ["20 | connections", 1_000, 7.25, 2_004.75],
        ],
        note: "From the intended start.",
      },
    ],
    series: [invented[experiment]?.series ?? percentiles],
    excerpts: [
      {
        id: "group",
        title: "kafka-consumer-groups --describe",
        text: "GROUP      TOPIC         PARTITION  LAG\ninventory  order-events  0          1203\n",
      },
    ],
    figures: { ...defaults(experiment), ...invented[experiment]?.figures },
    checks: [
      { label: "all answered 202", held: true, expected: 3_000, actual: 3_000 },
      {
        label: "every accepted order ended once",
        held: true,
        expected: { lost: [], doubled: [] },
        actual: { lost: [], doubled: [] },
      },
    ],
    held: true,
  };
}

/** Writes a run with this evidence, as packages/lab would, and returns its folder. */
export async function writeInventedRun(folder: string, evidence: Evidence[]): Promise<string> {
  const [first] = evidence;
  await mkdir(folder, { recursive: true });
  await Bun.write(
    join(folder, "run.json"),
    JSON.stringify({
      id: "20260102-030405",
      started_at: first?.started_at,
      machine: first?.machine,
      versions: first?.versions,
    }),
  );
  for (const one of evidence) {
    await Bun.write(join(folder, one.model, `${one.experiment}.json`), JSON.stringify(one));
  }
  return folder;
}

/** Evidence of all the lab's experiments. */
export function inventAll(): Evidence[] {
  return (Object.keys(experiments) as ExperimentName[]).map(inventEvidence);
}

function defaults(experiment: ExperimentName): Record<string, Scalar> {
  return Object.fromEntries(
    Object.keys(FIGURES[experiment]).map((name, i): [string, Scalar] => {
      const values = { string: "0f1e2d3c4b5a69788796", boolean: true, number: 100 + i };
      return [name, values[kindOf(experiment, name)]];
    }),
  );
}

const percentiles: Series = {
  id: "percentiles",
  title: "Latency by percentile",
  x: { name: "Orders answered at least this quickly", unit: "percentile" },
  y: { name: "Latency", unit: "ms", log: true },
  lines: [
    ["one by one", 2],
    ["20 connections", 7],
    ["open loop, 200/s", 2.6],
  ].map(([name, base]) => ({
    name: String(name),
    points: [0, 25, 50, 75, 90, 95, 99, 99.9, 100].map((p): [number, number] => [
      p,
      Number(base) * (0.7 + 0.3 / (1.02 - p / 100)),
    ]),
  })),
  shaded: [],
};

const depth: Series = {
  id: "depth",
  title: "Messages waiting in inventory.order-placed",
  x: { name: "Time", unit: "s" },
  y: { name: "Queue depth", unit: "messages" },
  lines: [
    {
      name: "inventory.order-placed",
      points: Array.from({ length: 181 }, (_, i): [number, number] => {
        const t = i / 2;
        if (t < 10) return [t, i % 3];
        if (t < 70) return [t, Math.round((t - 10) * 50)];
        return [t, Math.max(0, Math.round(3_000 - (t - 70) * 400))];
      }),
    },
  ],
  shaded: [{ label: "Inventory dead", from: 10, to: 70 }],
};

const lag: Series = {
  id: "lag",
  title: "Consumer lag by partition",
  x: { name: "Time", unit: "s" },
  y: { name: "Lag", unit: "records" },
  lines: Array.from({ length: 6 }, (_, partition) => ({
    name: `partition ${partition}`,
    points: Array.from({ length: 80 }, (_none, i): [number, number] => [
      i / 4,
      Math.max(0, Math.round(Math.min(i * (50 + partition * 9), (80 - i - partition) * 60))),
    ]),
  })),
  shaded: [
    { label: "throttled", from: 2, to: 9 },
    { label: "paused", from: 9, to: 11 },
  ],
};

const replayed: Series = {
  id: "per-minute",
  title: "Orders per minute by event time, before and after the replay",
  x: { name: "Event time", unit: "min" },
  y: { name: "Orders", unit: "per minute" },
  lines: ["before", "after"].map((name) => ({
    name,
    points: [310, 940, 1_210, 880, 1_330, 420].map((n, i): [number, number] => [i, n]),
  })),
  shaded: [],
};

const invented: Partial<
  Record<
    ExperimentName,
    {
      requirements?: string[];
      series?: Series;
      figures?: Record<string, Scalar>;
    }
  >
> = {
  "baseline-latency": { requirements: ["A1", "A2"] },
  "slow-inventory": {
    requirements: ["A3", "D2"],
    figures: {
      delay_ms: 2_000,
      connections: 20,
      baseline_p50_ms: 7.1,
      slow_min_ms: 2_001.4,
      slow_p50_ms: 2_008.1,
      baseline_rate_per_s: 2_431,
      slow_rate_per_s: 9.94,
    },
  },
  "failing-inventory": {
    requirements: ["A4", "D2", "D3"],
    figures: { fail_rate: 0.05, orders: 1_000, refused: 48 },
  },
  "hanging-inventory": {
    requirements: ["A4"],
    figures: { timeout_ms: 1_000, hung_p50_ms: 1_002.2, held_after_units: 0 },
  },
  "backlog-drain": {
    requirements: ["B1", "B2", "B3", "B4", "D4"],
    series: depth,
    figures: { outage_s: 60, answer_p50_ms: 2.31, drain_s: 7.4, lost: 0 },
  },
  "duplicate-delivery": {
    requirements: ["B5"],
    figures: {
      orders: 3,
      reservations: 3,
      stock_before_units: 100_000,
      stock_after_units: 99_994,
      ordered_units: 6,
    },
  },
  "poison-message": { requirements: ["B6", "D4"] },
  "ten-thousand-events": { requirements: ["C1", "C2", "D3"] },
  "consumer-lag": { requirements: ["C3", "D3", "D4"], series: lag },
  replay: {
    requirements: ["C4"],
    series: replayed,
    figures: {
      events_replayed: 20_000,
      replay_s: 0.94,
      digest_at_reset: "44136fa355b3678a1146",
      processing_rate_before_per_min: 61_200,
      processing_rate_after_per_min: 1_276_000,
    },
  },
};
