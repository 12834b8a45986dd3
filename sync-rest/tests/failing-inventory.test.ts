/**
 * A neighbour that answers with errors: which answers do clients get, and what do the services
 * store?
 */
import { setFaults } from "@lab/lab/services/set-faults";
import { experiment } from "@lab/lab/experiment/experiment";
import { closedLoop, LATENCY_COLUMNS, latencies, latencyRow } from "@lab/lab/load/load";
import { failsAt } from "@lab/runtime/faults";
import {
  answersTable,
  getJson,
  holdsClean,
  nothingOpen,
  sendOrder,
  startCampus,
  WARM_UP_ORDERS,
  warmUp,
} from "./campus.ts";

const ALL_FAIL = 200;
const ORDERS = 1000;
const FAIL_RATE = 0.05;

experiment(
  {
    name: "failing-inventory",
    model: "sync-rest",
    question: "Inventory answers with errors: what is the customer told?",
    method:
      "200 orders while every reservation fails; then 1,000 orders, one after another, of which the seed fails 5 %.",
    disproof:
      "A 502 where the seed has none, a 201 where it has one, stock gone for a failed order, or a confirmation sent for one.",
    requirements: ["A4", "D2", "D3"],
    parameters: {
      all_fail_orders: ALL_FAIL,
      orders: ORDERS,
      fail_rate: FAIL_RATE,
      warm_up_orders: WARM_UP_ORDERS,
    },
  },
  async (run) => {
    await using campus = await startCampus(run, {
      INVENTORY_FAIL_RATE: "1",
      FAULT_SEED: String(run.seed),
    });
    const send = sendOrder(run, campus);

    await warmUp(send);
    run.progress("200 orders while every reservation fails");
    const failing = await closedLoop({
      count: ALL_FAIL,
      connections: 20,
      send,
    });
    run.holds("every answer is 502", failing.answers, {
      "failed 502 inventory_error": ALL_FAIL,
    });

    run.progress("1,000 orders, 5 % failing by the seed");
    await setFaults(campus.inventory, {
      fail_rate: FAIL_RATE,
      seed: run.seed,
    });
    const statuses: (number | undefined)[] = [];
    const seeded = await closedLoop({
      count: ORDERS,
      connections: 1,
      send: async (n) => {
        const outcome = await send(n);
        statuses.push(outcome.status);
        return outcome;
      },
    });
    const expected = statuses.map((_, n) =>
      failsAt({ fail_rate: FAIL_RATE, seed: run.seed }, n + 1) ? 502 : 201,
    );
    run.holds("502 exactly where the seed says", statuses, expected);

    await nothingOpen(campus);
    const verdict = holdsClean(run, campus);
    const confirmed = expected.filter((status) => status === 201).length;
    const left = await stockOf(campus.inventory.url, "burger");
    run.holds("stock is untouched by the failed orders", left, 100_000 - confirmed);
    run.holds("who was confirmed was told, and nobody else", verdict.confirmed, confirmed);

    run.table({
      id: "latency",
      title: "Latency of POST /order",
      columns: LATENCY_COLUMNS,
      rows: [latencyRow("every reservation fails", failing), latencyRow("5 % fail", seeded)],
    });
    answersTable(run, {
      "every reservation fails": failing,
      "5 % fail": seeded,
    });
    run.figure("all_fail_orders", ALL_FAIL);
    run.figure("all_fail_refused", failing.answers["failed 502 inventory_error"] ?? 0);
    run.figure("all_fail_p50_ms", latencies(failing).p50_ms);
    run.figure("fail_rate", FAIL_RATE);
    run.figure("orders", ORDERS);
    run.figure("refused", statuses.filter((status) => status === 502).length);
    run.figure("refused_expected", ORDERS - confirmed);
    run.figure("confirmed", statuses.filter((status) => status === 201).length);
    run.figure("stock_missing_units", 100_000 - confirmed - left);
    run.figure("wrongly_notified", verdict.contradicted.length);
  },
);

async function stockOf(url: string, sku: string): Promise<number> {
  const rows = (await getJson(`${url}/stock?kitchen=main`)) as unknown as {
    sku: string;
    quantity: number;
  }[];
  return rows.find((row) => row.sku === sku)?.quantity ?? Number.NaN;
}
