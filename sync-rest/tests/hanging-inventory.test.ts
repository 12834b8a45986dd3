/** A neighbour that does not answer: not knowing is not "no". */
import { setFaults } from "@lab/lab/services/set-faults";
import { Database } from "bun:sqlite";
import { experiment } from "@lab/lab/experiment/experiment";
import { closedLoop, LATENCY_COLUMNS, latencies, latencyRow } from "@lab/lab/load/load";
import type { Campus } from "@lab/lab/services/processes";
import { eventually, sample } from "@lab/lab/host/waiting";
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

const ORDERS = 40;
const CONNECTIONS = 20;
const TIMEOUT_MS = 1000;

experiment(
  {
    name: "hanging-inventory",
    model: "sync-rest",
    question: "Inventory hangs past the timeout and then comes back: who holds the stock?",
    method:
      "40 orders at 20 connections while Inventory's reservations hang, and again while its whole process is paused (SIGSTOP); each time it comes back, finds the late reservations, and the releases that the order service owes. Then the order service is killed while 20 of its calls hang, and started again.",
    disproof:
      "An answer other than 504, one before the timeout, an order that is still open, or a unit of stock held by a failed one at the end.",
    requirements: ["A4", "D2"],
    parameters: {
      orders_per_phase: ORDERS,
      connections: CONNECTIONS,
      inventory_timeout_ms: TIMEOUT_MS,
      warm_up_orders: WARM_UP_ORDERS,
    },
  },
  async (run) => {
    await using campus = await startCampus(run, {
      INVENTORY_TIMEOUT_MS: String(TIMEOUT_MS),
      RETRY_EVERY_MS: "100",
    });
    const send = sendOrder(run, campus);
    const load = { count: ORDERS, connections: CONNECTIONS, send };
    await warmUp(send);
    const healthy = await closedLoop({ ...load, count: 100 });
    run.holds("while Inventory answers, every answer is 201", healthy.answers, {
      "ok 201": 100,
    });

    run.progress("reservations hang; a release wins over them");
    await setFaults(campus.inventory, { hang: true });
    const hung = await closedLoop(load);
    await nothingOpen(campus);
    await setFaults(campus.inventory, {});
    run.holds("every answer is 504", hung.answers, {
      "failed 504 inventory_timeout": ORDERS,
    });
    run.holds("none came before the timeout", hung.minUs >= TIMEOUT_MS * 1000, true);

    run.progress("the process is paused; late reservations, then releases");
    await campus.inventory.pause();
    const paused = await closedLoop(load);
    await using held = sample(() => heldByFailed(campus), {
      everyMs: 5,
      zeroUs: run.zeroUs,
    });
    await campus.inventory.resume();
    run.holds("every answer is 504 again", paused.answers, {
      "failed 504 inventory_timeout": ORDERS,
    });

    await nothingOpen(campus);
    await held.stop();

    run.progress("the order service is killed while its calls hang");
    await setFaults(campus.inventory, { hang: true });
    const halfway = closedLoop({ ...load, count: CONNECTIONS });
    await eventually("every order is placed, none is answered", async () => {
      const page = await getJson(`${campus.order.url}/orders?status=placed`);
      return (page["orders"] as unknown[]).length === CONNECTIONS;
    });
    await campus.order.kill();
    const killed = await halfway;
    run.holds("nobody knows what became of these", killed.outcomes, {
      ok: 0,
      failed: 0,
      unknown: CONNECTIONS,
    });
    await campus.order.restart();
    await setFaults(campus.inventory, {});
    await nothingOpen(campus);

    const again = await closedLoop({ ...load, count: 100 });
    run.holds("once it is back, every answer is 201", again.answers, {
      "ok 201": 100,
    });
    const verdict = holdsClean(run, campus);
    const heldAfter = heldByFailed(campus);
    run.holds(
      "each order of the killed service has come to its end",
      verdict.recovered.length,
      CONNECTIONS,
    );
    run.holds("no stock is held by a failed order", heldAfter, 0);
    run.holds("every order that was given up is released", verdict.released, 2 * ORDERS);

    run.table({
      id: "latency",
      title: "Latency of POST /order",
      columns: LATENCY_COLUMNS,
      rows: [
        latencyRow("healthy", healthy),
        latencyRow("reservations hang", hung),
        latencyRow("process paused", paused),
        latencyRow("healthy again", again),
      ],
      note: "Healthy again is measured at once after OrderService's restart: a process that has just started is slower.",
    });
    answersTable(run, {
      healthy,
      "reservations hang": hung,
      "process paused": paused,
      "order service killed": killed,
      "healthy again": again,
    });
    const at = latencies(hung);
    run.figure("timeout_ms", TIMEOUT_MS);
    run.figure("orders", 2 * ORDERS);
    run.figure("timed_out", hung.outcomes.failed + paused.outcomes.failed);
    run.figure("hung_min_ms", at.min_ms);
    run.figure("hung_p50_ms", at.p50_ms);
    run.figure("hung_max_ms", at.max_ms);
    run.figure("held_during_units", Math.max(0, ...held.points.map(([, units]) => units)));
    run.figure("held_after_units", heldAfter);
    run.figure("released", verdict.released);
  },
);

/** Units of stock reserved for orders that the order service has failed. */
function heldByFailed({ order, inventory }: Campus): number {
  using db = new Database(inventory.database, { readonly: true });
  db.run("PRAGMA busy_timeout = 2000");
  db.run("ATTACH DATABASE ? AS o", [order.database]);
  return (
    db
      .query<{ units: number }, []>(
        `SELECT count(*) AS units FROM reservations r
         JOIN o.orders ON o.orders.order_id = r.order_id
         WHERE r.state = 'reserved' AND o.orders.status = 'failed'`,
      )
      .get()?.units ?? 0
  );
}
