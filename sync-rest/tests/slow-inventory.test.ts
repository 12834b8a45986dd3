/** A slow neighbour in the REST model: whose wait is it? */
import { setFaults } from "@lab/lab/services/set-faults";
import { experiment } from "@lab/lab/experiment/experiment";
import { closedLoop, LATENCY_COLUMNS, latencies, latencyRow } from "@lab/lab/load/load";
import {
  holdsClean,
  nothingOpen,
  percentileSeries,
  sendOrder,
  startCampus,
  WARM_UP_ORDERS,
  warmUp,
} from "./campus.ts";

const ORDERS = 100;
const CONNECTIONS = 20;
const DELAY_MS = 2000;
const DELAY = `${DELAY_MS / 1_000} s`;

experiment(
  {
    name: "slow-inventory",
    model: "sync-rest",
    question: `Inventory takes ${DELAY} longer: what does the customer see?`,
    method: `100 orders at 20 connections, without and then with a delay of ${DELAY} before every reservation.`,
    disproof: `An answer that is not 201, or one that came in less than ${DELAY} under the delay.`,
    requirements: ["A3", "D2"],
    parameters: {
      delay_ms: DELAY_MS,
      orders: ORDERS,
      connections: CONNECTIONS,
      warm_up_orders: WARM_UP_ORDERS,
    },
  },
  async (run) => {
    await using campus = await startCampus(run);
    const send = sendOrder(run, campus);
    const load = { count: ORDERS, connections: CONNECTIONS, send };
    await warmUp(send);

    run.progress("100 orders without the delay");
    const baseline = await closedLoop(load);
    run.progress(`100 orders with ${DELAY} of delay`);
    await setFaults(campus.inventory, { delay_ms: DELAY_MS });
    const slow = await closedLoop(load);

    run.holds("without the delay every answer is 201", baseline.answers, {
      "ok 201": ORDERS,
    });
    run.holds("with the delay every answer is 201", slow.answers, {
      "ok 201": ORDERS,
    });
    run.holds("no answer came before the delay", slow.minUs >= DELAY_MS * 1000, true);
    await nothingOpen(campus);
    holdsClean(run, campus);

    const before = latencies(baseline);
    const after = latencies(slow);
    run.table({
      id: "latency",
      title: "Latency of POST /order, without and with the delay",
      columns: LATENCY_COLUMNS,
      rows: [latencyRow("no delay", baseline), latencyRow(`${DELAY} delay in Inventory`, slow)],
    });
    run.table({
      id: "difference",
      title: "The difference",
      columns: [
        { name: "figure" },
        { name: "no delay" },
        { name: `${DELAY} delay` },
        { name: "difference" },
      ],
      rows: [
        ["p50, ms", before.p50_ms, after.p50_ms, round(after.p50_ms - before.p50_ms)],
        ["p99, ms", before.p99_ms, after.p99_ms, round(after.p99_ms - before.p99_ms)],
        ["orders/s", round(baseline.perS), round(slow.perS), round(slow.perS - baseline.perS)],
      ],
    });
    percentileSeries(run, "Latency of POST /order, with and without the delay", {
      "no delay": baseline,
      [`${DELAY} delay`]: slow,
    });
    run.figure("delay_ms", DELAY_MS);
    run.figure("orders", ORDERS);
    run.figure("connections", CONNECTIONS);
    run.figure("baseline_p50_ms", before.p50_ms);
    run.figure("baseline_p99_ms", before.p99_ms);
    run.figure("baseline_rate_per_s", round(baseline.perS));
    run.figure("slow_min_ms", after.min_ms);
    run.figure("slow_p50_ms", after.p50_ms);
    run.figure("slow_p99_ms", after.p99_ms);
    run.figure("slow_rate_per_s", round(slow.perS));
  },
);

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
