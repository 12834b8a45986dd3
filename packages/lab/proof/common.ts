import { type Broker, type BrokerName, startOwn } from "../brokers.ts";
import { type Verdict, violations } from "../checker.ts";
import type { Run } from "../experiment.ts";
import { answerOf } from "../history.ts";
import type { LoadResult } from "../load.ts";
import type { Trial } from "../trial.ts";
import { eventually, nowUs } from "../waiting.ts";

/** LAB_LONG=on: more rounds and longer floods than `lab test` has time for. */
export const LONG = process.env["LAB_LONG"] === "on";

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
        everyMs: 10,
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
  noteCounts(run, verdict, struck);
  run.holds("the checker finds nothing illegal", violations(verdict), {});
  run.holds("no dead letters", verdict.dead, []);
  return verdict;
}

/** Notes the figures that the page "Proof" adds up. */
export function noteCounts(
  run: Run,
  verdict: Verdict,
  struck: { kills: number; faults: number },
): void {
  run.figure("orders", verdict.attempted);
  run.figure("acknowledged", verdict.acknowledged);
  run.figure("unknown", verdict.unknown);
  run.figure("recovered", verdict.recovered.length);
  run.figure("kills", struck.kills);
  run.figure("faults", struck.faults);
  run.figure("violations", Object.values(violations(verdict)).flat().length);
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

/** The run's broker; a private one where that is somebody else's, whom nobody here may hurt. */
export async function ownBroker(
  run: Run,
  name: BrokerName,
): Promise<{ broker: Broker } & AsyncDisposable> {
  const given = await run.broker(name);
  if (given.kind !== "external") return { broker: given, async [Symbol.asyncDispose]() {} };
  run.progress("the broker is somebody else's: a private one is started");
  const broker = await startOwn(name);
  run.evidence.brokers = broker.kind;
  Object.assign(run.evidence.versions, broker.versions);
  return { broker, [Symbol.asyncDispose]: () => broker.stop() };
}

/** Milliseconds that it took. */
export async function timed<T>(work: () => Promise<T>): Promise<{ value: T; tookMs: number }> {
  const startUs = nowUs();
  const value = await work();
  return { value, tookMs: Math.round((nowUs() - startUs) / 1_000) };
}
