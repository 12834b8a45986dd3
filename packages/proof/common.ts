import { type Verdict, violations } from "@lab/lab/check/checker";
import { repeatedIn } from "@lab/lab/services/logs";
import { factsOf } from "@lab/lab/brokers/model-facts";
import type { Run } from "@lab/lab/experiment/experiment";
import { byLength } from "@lab/evidence/settings";
import { answerOf } from "@lab/lab/load/history";
import type { LoadResult } from "@lab/lab/load/load";
import type { Trial } from "@lab/lab/experiment/trial";
import { eventually, nowUs } from "@lab/lab/host/waiting";

/** Longer timeouts, for proofs in which a slow neighbour isn't the fault: on a busy machine the synchronous model would give orders up. */
export const PATIENT = { INVENTORY_TIMEOUT_MS: "9000", NOTIFICATION_TIMEOUT_MS: "5000" };

/** Orders under which most proofs go on. */
export const RATE_PER_S = byLength({ short: 20, full: 100 });

/** Fewer, under proofs that go on for minutes or in which little can be stored for much of the time. */
export const LOW_RATE_PER_S = byLength({ short: 15, full: 50 });

/** Orders that keep coming until `stop`, which gives what was seen of them. */
export interface Ordering {
  /** Returns once that many more orders have been answered. */
  more(count: number): Promise<void>;
  stop(): Promise<LoadResult>;
}

/** Keeps placing orders at that rate, whatever becomes of the services. */
export function keepOrdering(trial: Trial, ratePerS: number): Ordering {
  const end = new AbortController();
  const load = trial.load(ratePerS, Number.POSITIVE_INFINITY, end.signal);
  // Thrown by `stop`.
  load.catch(() => {});
  const answered = () => trial.operations.length;
  return {
    async more(count) {
      const enough = answered() + count;
      await eventually(`${count} more orders are answered`, () => answered() >= enough, {
        everyMs: 30,
      });
    },
    stop() {
      end.abort();
      return load;
    },
  };
}

/**
 * Waits until all is at rest, holds that nothing illegal is there, and notes
 * the figures that the proof adds up.
 */
export async function judge(
  run: Run,
  trial: Trial,
  struck: { kills: number; faults: number },
): Promise<Verdict> {
  await trial.settle();
  const verdict = await trial.verdict();
  noteCounts(run, [verdict], struck);
  run.holds("the checker finds nothing illegal", violations(verdict), {});
  run.holds("no dead letters", verdict.dead, []);
  return verdict;
}

/** Notes the figures that the page "Proof" adds up. */
export function noteCounts(
  run: Run,
  verdicts: readonly Verdict[],
  struck: { kills: number; faults: number },
): void {
  const sum = (of: (verdict: Verdict) => number) =>
    verdicts.reduce((all, verdict) => all + of(verdict), 0);
  const counts = {
    orders: sum(({ attempted }) => attempted),
    acknowledged: sum(({ acknowledged }) => acknowledged),
    unknown: sum(({ unknown }) => unknown),
    recovered: sum(({ recovered }) => recovered.length),
    ...struck,
    violations: sum((verdict) => Object.values(violations(verdict)).flat().length),
  };
  for (const [name, value] of Object.entries(counts)) run.figure(name, value);
  noteRepeated(run);
}

/** Notes how many messages came again after they had been processed, where there are messages. */
export function noteRepeated(run: Run): void {
  if (factsOf(run.evidence.model).broker) run.figure("repeated", repeatedIn(run.folder));
}

/** What the client was told: one row per kind of answer. */
export function answersTable(run: Run, trial: Trial): void {
  const answers = Map.groupBy(trial.operations, answerOf);
  run.table({
    id: "answers",
    title: "What the client was told",
    columns: [{ name: "answer" }, { name: "orders" }],
    rows: [...answers].map(([answer, operations]) => [answer, operations.length]),
  });
}

/** Milliseconds that it took. */
export async function timed<T>(work: () => Promise<T>): Promise<{ value: T; tookMs: number }> {
  const startUs = nowUs();
  const value = await work();
  return { value, tookMs: Math.round((nowUs() - startUs) / 1_000) };
}
