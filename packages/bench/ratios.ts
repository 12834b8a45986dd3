/** What a benchmark has to reach: ours beside a yardstick of the same rounds. */
import type { Run } from "@lab/lab/experiment/experiment";
import { type Comparison, ROUNDS, type Sample } from "./rounds.ts";

/** One line of the table of ratios. */
export interface Ratio {
  /** What was measured. */
  figure: string;
  unit: string;
  ours: number;
  /** Beside what, in words. */
  beside: string;
  yardstick: number;
  /** The bound: of a throughput the least ratio, of a time the most. */
  bound: { least: number } | { most: number };
}

/** Adds the table of ratios, and holds that each is reached. */
export function holdRatios(run: Run, ratios: readonly Ratio[]): void {
  const lines = ratios.map((one) => ({ ...one, ratio: round(one.ours / one.yardstick) }));
  run.table({
    id: "ratios",
    title: "Ours beside the yardsticks",
    columns: [
      { name: "figure" },
      { name: "unit" },
      { name: "ours" },
      { name: "beside" },
      { name: "yardstick" },
      { name: "ratio" },
      { name: "to reach" },
      { name: "reached" },
    ],
    rows: lines.map((one) => [
      one.figure,
      one.unit,
      round(one.ours),
      one.beside,
      round(one.yardstick),
      one.ratio,
      inWords(one.bound),
      isReached(one) ? "yes" : "no",
    ]),
    note: `Medians of ${ROUNDS} interleaved rounds of the same run.`,
  });
  run.holds(
    "every ratio is reached",
    lines
      .filter((one) => !isReached(one))
      .map(
        ({ beside, bound, figure, ratio }) => `${figure} to ${beside}: ${ratio}, ${inWords(bound)}`,
      ),
    [],
  );
}

/** Adds the table of a comparison's samples. */
export function sampleTable(
  run: Run,
  { id, title, unit }: { id: string; title: string; unit: string },
  comparisons: Record<string, Comparison>,
): void {
  run.table({
    id,
    title,
    columns: [
      { name: "load" },
      { name: "program" },
      { name: "median", unit },
      { name: "min", unit },
      { name: "max", unit },
      { name: "generator's longest stall", unit: "ms" },
    ],
    rows: Object.entries(comparisons).flatMap(([load, { generatorStallMs, samples }]) =>
      Object.entries(samples).map(([name, { max, median, min }]: [string, Sample]) => [
        load,
        name,
        round(median),
        round(min),
        round(max),
        round(generatorStallMs),
      ]),
    ),
  });
}

function isReached({ bound, ratio }: Pick<Ratio, "bound"> & { ratio: number }): boolean {
  return "least" in bound ? ratio >= bound.least : ratio <= bound.most;
}

function inWords(bound: Ratio["bound"]): string {
  return "least" in bound ? `at least ${bound.least}` : `at most ${bound.most}`;
}

/** Three digits. */
function round(value: number): number {
  return Number(value.toPrecision(3));
}
