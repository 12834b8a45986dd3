import { checkOrders, type Verdict, violations } from "@lab/lab/check/checker";
import type { Run } from "@lab/lab/experiment/experiment";
import { owedOf } from "@lab/lab/services/health";
import type { Outcome } from "@lab/lab/load/history";
import { closedLoop, type LoadResult, percentileLine, placeOrder } from "@lab/lab/load/load";
import { type Campus, startModel } from "@lab/lab/services/processes";
import { eventually } from "@lab/lab/host/waiting";

/** The three services on free ports, with databases in the run's folder. */
export function startCampus(run: Run, env: Record<string, string> = {}): Promise<Campus> {
  return startModel("sync-rest", { folder: run.folder, env });
}

/** Sends the n-th order of a run: one burger, recorded in the history. */
export function sendOrder(run: Run, campus: Campus) {
  return (n: number): Promise<Outcome> =>
    placeOrder(
      campus.order.url,
      { user_id: `u${n}`, items: [{ sku: "burger", qty: 1 }] },
      { history: run.history },
    );
}

/** Orders before the first measured phase. */
export const WARM_UP_ORDERS = 300;

/** Sends them, at 20 connections: at first a process takes several times as long, which says nothing about the fault. */
export async function warmUp(send: (n: number) => Promise<Outcome>): Promise<void> {
  await closedLoop({ count: WARM_UP_ORDERS, connections: 20, send });
}

/** Waits until no release and no confirmation is pending. */
export async function nothingOpen({ order }: Campus): Promise<void> {
  await eventually("no release is owed, no order is open", async () => {
    if ((await owedOf("releases", order.url)) > 0) return false;
    for (const status of ["placed", "reserved"]) {
      const page = await getJson(`${order.url}/orders?status=${status}&limit=1`);
      if ((page["orders"] as unknown[]).length > 0) return false;
    }
    return true;
  });
}

/** Checks the history against the stores, and records that there are no violations. */
export function holdsClean(run: Run, { order, inventory, downstream }: Campus): Verdict {
  const verdict = checkOrders({
    model: "sync-rest",
    operations: run.history.operations,
    orders: order.database,
    inventory: inventory.database,
    notification: downstream.database,
  });
  run.holds("the checker finds nothing illegal", violations(verdict), {});
  return verdict;
}

/** A chart of latency percentiles, one line per load. */
export function percentileSeries(run: Run, title: string, loads: Record<string, LoadResult>): void {
  run.series({
    id: "percentiles",
    title,
    x: { name: "percentile", unit: "percentile" },
    y: { name: "latency", unit: "ms", log: true },
    lines: Object.entries(loads).map(([name, result]) => ({
      name,
      points: percentileLine(result),
    })),
    shaded: [],
  });
}

/** What the client was told: one row per kind of answer. */
export function answersTable(run: Run, loads: Record<string, LoadResult>): void {
  run.table({
    id: "answers",
    title: "What the client was told",
    columns: [{ name: "phase" }, { name: "answer" }, { name: "orders" }],
    rows: Object.entries(loads).flatMap(([phase, { answers }]) =>
      Object.entries(answers).map(([answer, n]) => [phase, answer, n]),
    ),
  });
}

export async function getJson(url: string): Promise<Record<string, unknown>> {
  const response = await fetch(url);
  return (await response.json()) as Record<string, unknown>;
}
