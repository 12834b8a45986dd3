/** The last neighbour is dead: the order stays reserved, the confirmation is pending. */
import { experiment } from "@lab/lab/experiment/experiment";
import type { Outcome } from "@lab/lab/load/history";
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
    name: "dead-notification",
    model: "sync-rest",
    question: "Notification is dead: does the order fail?",
    method:
      "SIGKILL of Notification, 200 orders at 20 connections, SIGKILL and restart of the order service too, then restart of Notification.",
    disproof:
      "An answer other than 201 with a pending notification, or a confirmation that is not sent exactly once in the end.",
    requirements: ["A4"],
    parameters: { orders: ORDERS, connections: 20, warm_up_orders: WARM_UP_ORDERS },
  },
  async (run) => {
    await using campus = await startCampus(run, { RETRY_EVERY_MS: "100" });
    const send = sendOrder(run, campus);
    const notices: unknown[] = [];
    const load = {
      count: ORDERS,
      connections: 20,
      send: async (n: number): Promise<Outcome> => {
        const outcome = await send(n);
        notices.push((outcome.body as { notification: string }).notification);
        return outcome;
      },
    };

    await warmUp(send);
    const alive = await closedLoop(load);
    run.holds("alive: every confirmation is sent", count(notices), {
      sent: ORDERS,
    });
    run.progress("SIGKILL of Notification");
    await campus.downstream.kill();
    notices.length = 0;
    const dead = await closedLoop(load);
    run.holds("dead: every answer is 201", dead.answers, { "ok 201": ORDERS });
    const pending = count(notices);
    run.holds("dead: every confirmation is pending", pending, {
      pending: ORDERS,
    });

    run.progress("the order service is killed and started again");
    await campus.order.kill();
    await campus.order.restart();
    run.progress("Notification is started again");
    await campus.downstream.restart();
    const sinceS = run.elapsedS();
    await nothingOpen(campus);
    const catchUpS = run.elapsedS() - sinceS;
    const verdict = holdsClean(run, campus);
    run.holds("every order is confirmed", verdict.confirmed, WARM_UP_ORDERS + 2 * ORDERS);

    const loads = { alive, "Notification dead": dead };
    run.table({
      id: "latency",
      title: "Latency of POST /order",
      columns: LATENCY_COLUMNS,
      rows: Object.entries(loads).map(([name, load]) => latencyRow(name, load)),
    });
    answersTable(run, loads);
    run.figure("orders", ORDERS);
    run.figure("accepted", dead.outcomes.ok);
    run.figure("pending", pending["pending"] ?? 0);
    run.figure("answer_p50_ms", latencies(dead).p50_ms);
    run.figure("sent_after", verdict.confirmed - WARM_UP_ORDERS - alive.outcomes.ok);
    run.figure("sent_twice", verdict.doubled.length);
    run.figure("catch_up_s", Math.round(catchUpS * 1000) / 1000);
  },
);

function count(notices: readonly unknown[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const notice of notices) {
    counts[String(notice)] = (counts[String(notice)] ?? 0) + 1;
  }
  return counts;
}
