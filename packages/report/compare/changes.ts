import type { Evidence, Scalar } from "@lab/evidence/evidence";

/**
 * A timed or sampled figure has changed when it is more than this many times the other. Of 300 such
 * figures that this repository published twice in a row, from one machine with little changed in
 * between, 270 were within 1.5 times and 289 within 2.
 */
export const NOISE_FACTOR = 2;

/** Less is noise, whatever the factor: a turn of the scheduler, the time between two samples. */
const LEAST_CHANGE: [unit: RegExp, least: number][] = [
  [/_ms$/, 1],
  [/(?<!_per)_s$/, 0.1],
];

/** Figures that depend on the moment in which something was looked at or killed. */
const SAMPLED = /^(peak_|held_during_|killed_duplicates$|accepted_during_)/;
const TIMED = /_(ms|s|min)$/;

/** A figure in two runs. */
export interface Change {
  experiment: string;
  figure: string;
  before: Scalar;
  after: Scalar;
  /** Whether it differs by more than noise. */
  changed: boolean;
}

/** Every figure of the experiments that both runs have. */
export function changesBetween(before: Evidence[], after: Evidence[]): Change[] {
  return inBoth(before, after).flatMap(([one, other]) =>
    [...new Set([...Object.keys(one.figures), ...Object.keys(other.figures)])]
      // It contains the orders' times, so that no two runs have the same.
      .filter((figure) => !figure.includes("digest"))
      .map((figure) => {
        const values = [one.figures[figure] ?? null, other.figures[figure] ?? null] as const;
        return {
          experiment: one.experiment,
          figure,
          before: values[0],
          after: values[1],
          changed: hasChanged(figure, ...values),
        };
      }),
  );
}

/** The evidence of what both runs have, in pairs. */
export function inBoth(before: Evidence[], after: Evidence[]): [Evidence, Evidence][] {
  return before.flatMap((one): [Evidence, Evidence][] => {
    const other = after.find(
      ({ experiment, model }) => experiment === one.experiment && model === one.model,
    );
    return other ? [[one, other]] : [];
  });
}

function hasChanged(figure: string, before: Scalar, after: Scalar): boolean {
  if (typeof before !== "number" || typeof after !== "number") return before !== after;
  if (!TIMED.test(figure) && !SAMPLED.test(figure)) return before !== after;
  const least = LEAST_CHANGE.find(([unit]) => unit.test(figure))?.[1] ?? 0;
  const [low, high] = [Math.min(before, after), Math.max(before, after)];
  return high - low > least && high > low * NOISE_FACTOR;
}

/** What else differs, so that the figures needn't mean the same: machine, versions, parameters, whether all held. */
export function differences(before: Evidence[], after: Evidence[]): string[] {
  return inBoth(before, after).flatMap(([one, other]) => {
    const of = (name: string, a: unknown, b: unknown) =>
      Bun.deepEquals(a, b)
        ? []
        : [`${one.experiment}: ${name} ${JSON.stringify(a)}, then ${JSON.stringify(b)}`];
    return [
      ...of("held", one.held, other.held),
      ...of("parameters", one.parameters, other.parameters),
      ...of("seed", one.seed, other.seed),
      ...of("machine", one.machine, other.machine),
      ...of("brokers", one.brokers, other.brokers),
      ...of("versions", one.versions, other.versions),
    ];
  });
}
