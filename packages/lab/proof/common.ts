import { Database } from "bun:sqlite";
import { type Broker, type BrokerName, startOwn } from "../brokers.ts";
import { type Verdict, violations } from "../checker.ts";
import type { Run } from "../experiment.ts";
import type { Operation } from "../history.ts";
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
  const found = violations(verdict);
  run.figure("orders", verdict.attempted);
  run.figure("acknowledged", verdict.acknowledged);
  run.figure("unknown", verdict.unknown);
  run.figure("recovered", verdict.recovered.length);
  run.figure("kills", struck.kills);
  run.figure("faults", struck.faults);
  run.figure("violations", Object.values(found).flat().length);
  run.holds("the checker finds nothing illegal", found, {});
  run.holds("no dead letters", verdict.dead, []);
  return verdict;
}

/** An answer in words: `ok 201`, `failed 504 inventory_timeout`, `unknown timeout`. */
export function answerOf({
  outcome,
  status,
  code,
}: Pick<Operation, "outcome" | "status" | "code">): string {
  return [outcome, status, code].filter((part) => part !== undefined).join(" ");
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

/** Sets a service's faults; throws when it refuses. */
export async function setFaults(
  { url }: { url: string },
  faults: { delay_ms?: number; hang?: boolean },
): Promise<void> {
  const response = await fetch(`${url}/faults`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(faults),
  });
  if (!response.ok) throw new Error(`PUT /faults: ${await response.text()}`);
}

/** The rows that a query gives, read from a service's database beside it. */
export function read<Row>({ database }: { database: string }, sql: string, ...values: string[]) {
  using db = new Database(database, { readonly: true });
  db.run("PRAGMA busy_timeout = 2000");
  return db.query<Row, string[]>(sql).all(...values);
}

/** The one number that a query gives, 0 for none. */
export function count(service: { database: string }, sql: string, ...values: string[]): number {
  const [row = {}] = read<Record<string, number>>(service, sql, ...values);
  return Number(Object.values(row)[0] ?? 0);
}
