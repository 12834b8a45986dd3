import { count, OUTBOX_DEPTH, read } from "@lab/lab/probes/databases";
import type { Broker } from "@lab/lab/brokers/broker";
import { checkOrders, type Verdict, violations } from "@lab/lab/check/checker";
import type { Run } from "@lab/lab/experiment/experiment";
import type { Outcome } from "@lab/lab/load/history";
import { placeOrder } from "@lab/lab/load/load";
import { type Campus, startModel } from "@lab/lab/services/processes";
import { Rabbitmq } from "@lab/lab/probes/rabbitmq-tools";
import { eventually, settled } from "@lab/lab/host/waiting";
import { byLength } from "@lab/evidence/settings";
import { shootManagementPage } from "@lab/lab/probes/management-page";
import { bulkOrder, OFF_MENU_SKU } from "@lab/workflow/bulk";
import { deadQueue, topology, type Topology } from "../topology.ts";

/** The three services, and the tools to inspect and change their queues. */
export interface Lab extends AsyncDisposable {
  campus: Campus;
  names: Topology;
  rabbit: Rabbitmq;
}

/** The services on free ports, with databases in the run's folder, on that broker. */
export async function startLab(
  run: Run,
  broker: Broker,
  env: Record<string, string> = {},
): Promise<Lab> {
  const campus = await startModel("async-rabbitmq", {
    folder: run.folder,
    env,
    broker,
    namespace: run.namespace,
  });
  const rabbit = new Rabbitmq(broker);
  return {
    campus,
    names: topology(run.namespace),
    rabbit,
    async [Symbol.asyncDispose]() {
      await rabbit[Symbol.asyncDispose]();
      await campus[Symbol.asyncDispose]();
    },
  };
}

const WITH_PICTURES = byLength({ short: false, full: true });

/**
 * Takes a picture of RabbitMQ's own page for the hand-in, and stores it beside the evidence.
 * Nothing may be timed meanwhile, and no check rests on it.
 */
export async function shootQueue(
  run: Run,
  broker: Broker,
  name: string,
  ...of: [queue: string, view: "list" | "queue"]
): Promise<void> {
  if (!WITH_PICTURES) return;
  try {
    const png = await shootManagementPage(broker, ...of);
    if (png !== undefined) await Bun.write(run.fileBeside(`${name}.png`), png);
  } catch (error) {
    run.progress(`no picture of the management page: ${String(error)}`);
  }
}

/** The share of the orders of `sendOrder` that ask for an item that isn't on the menu. */
export const FAIL_RATE = 0.05;

/** The n-th order of the run's seeded stream over all kitchens. */
function seededOrder(run: Run, n: number) {
  return bulkOrder({ seed: run.seed, kitchens: 25, failRate: FAIL_RATE }, n);
}

/** Sends the n-th order of the run, n counted on from `first`; recorded in the history. */
export function sendOrder(run: Run, { campus }: Lab, first = 0) {
  return (n: number): Promise<Outcome> =>
    placeOrder(campus.order.url, seededOrder(run, first + n), {
      history: run.history,
      // An order that is accepted late still counts as accepted.
      timeoutMs: 120_000,
    });
}

/**
 * Waits until every order has ended, and the outbox and the queues are empty. Orders that stay open
 * although nothing is pending end the wait too: the checker will call them lost.
 */
export async function nothingOpen(lab: Lab): Promise<void> {
  const { order } = lab.campus;
  const open = () =>
    count(order, "SELECT count(*) AS n FROM orders WHERE status IN ('placed', 'reserved')");
  await eventually(
    "every order has ended, outbox and queues are empty",
    async () => {
      const waiting = await waitingCounts(lab);
      const left = Object.values(waiting).some((n) => n > 0);
      if (left) throw new Error(JSON.stringify(waiting));
      // Longer than the longest pause before a message's next attempt.
      if (open() > 0) await settled("open orders", open, { forMs: 10_000 });
      return true;
    },
    { timeoutMs: 120_000 },
  );
}

/** The events in the outbox, and the messages that are ready in the queues. */
export async function waitingCounts({ campus, names, rabbit }: Lab) {
  return {
    outbox: count(campus.order, OUTBOX_DEPTH),
    inventory: await rabbit.ready(names.inventoryQueue),
    notification: await rabbit.ready(names.notificationQueue),
    order: await rabbit.ready(names.orderQueue),
  };
}

/** Messages in the three dead queues, by queue without its namespace. */
export async function deadCounts({ names, rabbit }: Lab) {
  const of = (queue: string) => rabbit.ready(deadQueue(queue));
  return {
    inventory: await of(names.inventoryQueue),
    notification: await of(names.notificationQueue),
    order: await of(names.orderQueue),
  };
}
export const NO_DEAD_LETTERS = { inventory: 0, notification: 0, order: 0 };

/** Checks the history against the stores, and records that there are no violations. */
export function holdsClean(run: Run, { campus }: Lab): Verdict {
  const verdict = checkOrders({
    model: "async-rabbitmq",
    operations: run.history.operations,
    orders: campus.order.database,
    inventory: campus.inventory.database,
    notification: campus.downstream.database,
  });
  run.holds("the checker finds nothing illegal", violations(verdict), {});
  return verdict;
}

/**
 * Checks that each accepted order of `sendOrder` ended as the seed determines: those that ask for
 * an item that isn't on the menu failed.
 */
export function holdsOutcomes(run: Run, verdict: Verdict): void {
  const accepted = verdict.acknowledged;
  const offMenu = Array.from({ length: accepted }, (_, n) => seededOrder(run, n)).filter(
    ({ items }) => items[0]?.sku === OFF_MENU_SKU,
  ).length;
  run.holds(
    "every accepted order ended once, as the seed says",
    { confirmed: verdict.confirmed, failed: verdict.failed },
    { confirmed: accepted - offMenu, failed: offMenu },
  );
}

/** How many orders were sent and accepted between those moments of `nowUs`. */
export function acceptedBetween(run: Run, fromUs: number, toUs: number) {
  return run.history.operations.filter(
    ({ outcome, started_us, ended_us }) =>
      outcome === "ok" && started_us >= fromUs && ended_us <= toUs,
  ).length;
}

/** That moment in seconds since the run's start. */
export function secondsOf(run: Run, us: number): number {
  return rounded((us - run.zeroUs) / 1_000_000, 3);
}

/** The outcomes of the orders, as the checker counts them. */
export function verdictTable(run: Run, verdict: Verdict): void {
  run.table({
    id: "orders",
    title: "What became of the orders",
    columns: [{ name: "orders" }, { name: "count" }],
    rows: [
      ["attempted", verdict.attempted],
      ["accepted (202)", verdict.acknowledged],
      ["refused", verdict.refused],
      ["unknown to the client", verdict.unknown],
      ["confirmed", verdict.confirmed],
      ["failed (not on the menu)", verdict.failed],
      ["lost", verdict.lost.length],
      ["doubled", verdict.doubled.length],
      ["stock difference, units", verdict.stock_difference_units],
    ],
  });
}

/** Milliseconds from placing an order to its end, for each that ended, by the services' own times. */
export function completionsMs({ campus }: Lab): Map<string, number> {
  const ended = read<{ order_id: string; placed_at: string; at: string }>(
    campus.order,
    `SELECT o.order_id, o.placed_at, s.at FROM orders o JOIN order_steps s USING (order_id)
     WHERE s.status = o.status AND o.status IN ('confirmed', 'failed')`,
  );
  return new Map(
    ended.map(({ order_id, placed_at, at }) => [order_id, Date.parse(at) - Date.parse(placed_at)]),
  );
}

/** The median; 0 for no values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

export function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
