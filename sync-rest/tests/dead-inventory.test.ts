/** A dead neighbour: orders are refused at once, and served again after its return. */
import { experiment } from "@lab/lab/experiment/experiment";
import { closedLoop, LATENCY_COLUMNS, latencies, latencyRow } from "@lab/lab/load/load";
import {
  answersTable,
  holdsClean,
  nothingOpen,
  sendOrder,
  startCampus,
  WARM_UP_ORDERS,
  warmUp,
} from "./campus.ts";

const ORDERS = 200;

experiment(
  {
    name: "dead-inventory",
    model: "sync-rest",
    question: "Inventory is dead: what is the customer told, and how soon?",
    method:
      "200 orders, SIGKILL of Inventory, 200 orders, restart, 200 orders, all at 20 connections.",
    disproof:
      "An answer other than 503 while it is dead, or other than 201 before and after, or stock that does not agree.",
    requirements: ["A4"],
    parameters: { orders_per_phase: ORDERS, connections: 20, warm_up_orders: WARM_UP_ORDERS },
  },
  async (run) => {
    await using campus = await startCampus(run);
    const send = sendOrder(run, campus);
    const load = { count: ORDERS, connections: 20, send };
    await warmUp(send);

    const alive = await closedLoop(load);
    run.progress("SIGKILL of Inventory");
    await campus.inventory.kill();
    const dead = await closedLoop(load);
    run.progress("Inventory is started again");
    await campus.inventory.restart();
    const back = await closedLoop(load);

    run.holds("alive: every answer is 201", alive.answers, {
      "ok 201": ORDERS,
    });
    run.holds("dead: every answer is 503", dead.answers, {
      "failed 503 inventory_unreachable": ORDERS,
    });
    run.holds("back: every answer is 201", back.answers, { "ok 201": ORDERS });
    await nothingOpen(campus);
    holdsClean(run, campus);

    const loads = { alive, "Inventory dead": dead, "back again": back };
    run.table({
      id: "latency",
      title: "Latency of POST /order",
      columns: LATENCY_COLUMNS,
      rows: Object.entries(loads).map(([name, load]) => latencyRow(name, load)),
      note: "The first two follow a warm-up. Back again is measured at once: a process that has just started is slower.",
    });
    answersTable(run, loads);
    const at = latencies(dead);
    run.figure("orders", ORDERS);
    run.figure("unreachable", dead.answers["failed 503 inventory_unreachable"] ?? 0);
    run.figure("unreachable_p50_ms", at.p50_ms);
    run.figure("unreachable_max_ms", at.max_ms);
    run.figure("confirmed_after", back.outcomes.ok);
  },
);
