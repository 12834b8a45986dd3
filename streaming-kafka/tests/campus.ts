import type { LabEvent } from "@lab/contracts/events";
import { checkOrders, type Verdict, violations } from "@lab/lab/check/checker";
import type { Run } from "@lab/lab/experiment/experiment";
import { owedOf } from "@lab/lab/services/health";
import { post } from "@lab/lab/load/load";
import { type Campus, startModel } from "@lab/lab/services/processes";
import { fetchMetrics, type ShownMetrics } from "@lab/lab/probes/replay";
import { eventually } from "@lab/lab/host/waiting";
import type { Bulk, BulkRequest } from "@lab/contracts/bulk";
import { bulkOrder, OFF_MENU_SKU } from "@lab/workflow/bulk";
import { OPENING_STOCK } from "@lab/workflow/menu";
import type { Metrics } from "@lab/workflow/metrics";
import { topics, type Topics } from "../topics.ts";

/** The three services, the broker's address and the run's own names on it. */
export interface Stream {
  campus: Campus;
  brokers: string;
  names: Topics;
}

/** The services on free ports, with databases in the run's folder and a namespace of their own. */
export async function startStream(run: Run): Promise<Stream> {
  const broker = await run.broker("kafka");
  const campus = await startModel("streaming-kafka", {
    folder: run.folder,
    broker,
    namespace: run.namespace,
  });
  return { campus, brokers: broker.address, names: topics(run.namespace) };
}

/** A bulk stream as it is asked for; without a rate in one burst. */
export type BulkOrders = Required<Omit<BulkRequest, "rate_per_s">> & {
  rate_per_s?: number;
};

/** Starts a bulk stream, recorded in the history. */
export async function placeBulk(run: Run, { order }: Campus, request: BulkOrders): Promise<Bulk> {
  const { body, status } = await run.history.record("place_bulk", request, () =>
    post(`${order.url}/orders/bulk`, request),
  );
  if (status !== 202) throw new Error(`POST /orders/bulk: ${Bun.inspect(body)}`);
  return body as Bulk;
}

/** Waits until that many orders of the stream are placed; returns the stream. */
export function placedOf({ order }: Campus, { bulk_id }: Bulk, count: number): Promise<Bulk> {
  return eventually(
    `${count} orders are placed`,
    async () => {
      const bulk = await getJson<Bulk>(`${order.url}/orders/bulk/${bulk_id}`);
      if (bulk.placed < count) throw new Error(`${bulk.placed} are`);
      return bulk;
    },
    { timeoutMs: 120_000, everyMs: 20 },
  );
}

/** Waits until every order that was accepted has ended, as the producer sees it. */
export async function allEnded({ order }: Campus): Promise<void> {
  await eventually(
    "every order has ended",
    async () => {
      const outbox = await owedOf("outbox", order.url);
      if (outbox > 0) throw new Error(`${outbox} wait in the outbox`);
      const { orders } = await getJson<{ orders: unknown[] }>(
        `${order.url}/orders?status=placed&limit=1`,
      );
      return orders.length === 0;
    },
    { timeoutMs: 120_000, everyMs: 20 },
  );
}

/** Waits until Analytics has counted that many orders and the end of each. */
export function metricsOver(campus: Campus, orders: number): Promise<ShownMetrics> {
  return eventually(
    `Analytics has counted ${orders} orders to their end`,
    async () => {
      const shown = await fetchMetrics(campus.downstream.url);
      const { failed, placed, reserved } = shown.metrics;
      if (placed < orders || reserved + failed < orders) {
        throw new Error(`${placed} orders, ${reserved + failed} ends`);
      }
      return shown;
    },
    { timeoutMs: 120_000, everyMs: 20 },
  );
}

/** The expected result of bulk streams, computed from the seed without any service. */
export interface Expected {
  placed: number;
  reserved: number;
  failed: number;
  kitchens: Record<string, { placed: number; reserved: number; failed: number }>;
  /** Units left, by kitchen and sku; without items that nobody ordered. */
  stock: Record<string, number>;
}

/** Computes the expected result of those streams. */
export function expectedOf(streams: readonly BulkOrders[]): Expected {
  const sum: Expected = {
    placed: 0,
    reserved: 0,
    failed: 0,
    kitchens: {},
    stock: {},
  };
  for (const { count, fail_rate, kitchens, seed } of streams) {
    for (let n = 0; n < count; n += 1) {
      const order = bulkOrder({ seed, kitchens, failRate: fail_rate }, n);
      const end = order.items.some(({ sku }) => sku === OFF_MENU_SKU) ? "failed" : "reserved";
      const own = (sum.kitchens[order.kitchen] ??= {
        placed: 0,
        reserved: 0,
        failed: 0,
      });
      for (const counts of [sum, own]) {
        counts.placed += 1;
        counts[end] += 1;
      }
      if (end === "failed") continue;
      for (const { qty, sku } of order.items) {
        const at = `${order.kitchen} ${sku}`;
        sum.stock[at] = (sum.stock[at] ?? OPENING_STOCK) - qty;
      }
    }
  }
  return sum;
}

/** The counts of the metrics, without times and rates, to compare with `expectedOf`. */
export function countsOf({ failed, kitchens, placed, reserved }: Metrics) {
  return {
    placed,
    reserved,
    failed,
    kitchens: Object.fromEntries(
      Object.entries(kitchens).map(([name, own]) => [
        name,
        { placed: own.placed, reserved: own.reserved, failed: own.failed },
      ]),
    ),
  };
}

/** Orders by minute of event time. */
export function byMinute(events: readonly LabEvent[]): Record<string, number> {
  const minutes: Record<string, number> = {};
  for (const { time, type } of events) {
    if (type !== "OrderPlaced") continue;
    const minute = `${time.slice(0, 16)}Z`;
    minutes[minute] = (minutes[minute] ?? 0) + 1;
  }
  return minutes;
}

/** Checks the history against the stores, and records that there are no violations. */
export function holdsClean(run: Run, { inventory, order }: Campus): Verdict {
  const verdict = checkOrders({
    model: "streaming-kafka",
    operations: run.history.operations,
    orders: order.database,
    inventory: inventory.database,
  });
  run.holds("the checker finds nothing illegal", violations(verdict), {});
  return verdict;
}

export async function getJson<T>(url: string): Promise<T> {
  const response = await fetch(url);
  if (!response.ok && response.status !== 503) {
    throw new Error(`GET ${url}: ${await response.text()}`);
  }
  return (await response.json()) as T;
}
