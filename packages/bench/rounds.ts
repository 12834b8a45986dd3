/** Interleaved rounds: what is compared is measured in turn, on the same machine in the same minute. */
import type { Run } from "@lab/lab/experiment/experiment";
import { byLength } from "@lab/evidence/settings";

/** After the warm-up. */
export const ROUNDS = byLength({ short: 1, full: 5, long: 9 });

/** What takes part in a comparison. */
export interface Contender {
  name: string;
  /** One round of it; its result in the comparison's unit. */
  measure(): Promise<number>;
}

/** The rounds of one contender. */
export interface Sample {
  median: number;
  min: number;
  max: number;
}

/** The samples by contender, and how the measuring process itself was meanwhile. */
export interface Comparison {
  samples: Record<string, Sample>;
  /** The longest time for which the measuring process didn't come to its timers. */
  generatorStallMs: number;
}

/**
 * Measures all of them in turn, A B A B, and once more before that as warm-up, which doesn't count.
 */
export async function interleave(
  run: Run,
  title: string,
  contenders: readonly Contender[],
): Promise<Comparison> {
  const values = new Map(contenders.map(({ name }) => [name, [] as number[]]));
  let generatorStallMs = 0;
  for (let round = 0; round <= ROUNDS; round += 1) {
    run.progress(`${title}: ${round === 0 ? "warm-up" : `round ${round} of ${ROUNDS}`}`);
    for (const { measure, name } of contenders) {
      using stalls = watchStalls();
      const value = await measure();
      if (round === 0) continue;
      values.get(name)!.push(value);
      generatorStallMs = Math.max(generatorStallMs, stalls.longestMs);
    }
  }
  const samples = [...values].map(([name, all]) => [name, sampleOf(all)] as const);
  return { samples: Object.fromEntries(samples), generatorStallMs };
}

export function sampleOf(values: readonly number[]): Sample {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
}

const TICK_MS = 10;

function watchStalls() {
  let last = performance.now();
  const watch = {
    longestMs: 0,
    [Symbol.dispose]: () => clearInterval(timer),
  };
  const timer = setInterval(() => {
    const now = performance.now();
    watch.longestMs = Math.max(watch.longestMs, now - last - TICK_MS);
    last = now;
  }, TICK_MS);
  return watch;
}
