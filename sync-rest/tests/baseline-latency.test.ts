/** The REST model with nothing wrong: what one order costs, and how many fit. */
import { byLength } from "@lab/evidence/settings";
import { experiment } from "@lab/lab/experiment/experiment";
import {
  closedLoop,
  LATENCY_COLUMNS,
  latencies,
  latencyRow,
  openLoop,
  saturate,
} from "@lab/lab/load/load";
import {
  holdsClean,
  nothingOpen,
  percentileSeries,
  sendOrder,
  startCampus,
  WARM_UP_ORDERS,
  warmUp,
} from "./campus.ts";

const ORDERS = byLength({ short: 200, full: 1_000 });
const OPEN_S = byLength({ short: 3, full: 10 });
const SATURATED_S = byLength({ short: 2, full: 5 });
const RATE_PER_S = 200;
const MANY = ORDERS.toLocaleString("en");

experiment(
  {
    name: "baseline-latency",
    model: "sync-rest",
    question: "How long does a customer wait when everything works?",
    method: `After a warm-up: ${MANY} orders one after another, ${MANY} at 20 connections (closed loop), and ${OPEN_S} s at ${RATE_PER_S} orders/s (open loop, latency from the intended start). Then ${SATURATED_S} s at 50 connections, as fast as it goes.`,
    disproof: "An answer that is not 201, or an order that is not confirmed.",
    requirements: ["A1", "A2"],
    parameters: { warm_up_orders: WARM_UP_ORDERS, orders: ORDERS, rate_per_s: RATE_PER_S },
  },
  async (run) => {
    await using campus = await startCampus(run);
    const send = sendOrder(run, campus);
    await warmUp(send);

    run.progress(`${MANY} orders one after another`);
    const sequential = await closedLoop({
      count: ORDERS,
      connections: 1,
      send,
    });
    run.progress(`${MANY} orders at 20 connections`);
    const concurrent = await closedLoop({
      count: ORDERS,
      connections: 20,
      send,
    });
    run.progress(`${OPEN_S} s at ${RATE_PER_S} orders/s`);
    const open = await openLoop({ ratePerS: RATE_PER_S, durationS: OPEN_S, send });

    const loads = {
      "one after another": sequential,
      "20 connections": concurrent,
      "open loop, 200/s": open,
    };
    for (const [name, { answers, count }] of Object.entries(loads)) {
      run.holds(`${name}: every answer is 201`, answers, { "ok 201": count });
    }
    await nothingOpen(campus);
    const verdict = holdsClean(run, campus);
    run.holds("every order is confirmed", verdict.confirmed, verdict.attempted);

    run.progress(`${SATURATED_S} s at 50 connections`);
    const { orders, ordersPerS } = await saturate({
      url: `${campus.order.url}/order`,
      connections: 50,
      durationS: SATURATED_S,
      body: { user_id: "u1", items: [{ sku: "burger", qty: 1 }] },
    });

    run.table({
      id: "latency",
      title: "Latency of POST /order, three hops",
      columns: LATENCY_COLUMNS,
      rows: Object.entries(loads).map(([name, load]) => latencyRow(name, load)),
    });
    run.table({
      id: "saturation",
      title: "As many orders as fit",
      columns: [{ name: "connections" }, { name: "orders" }, { name: "rate", unit: "orders/s" }],
      rows: [[50, orders, ordersPerS]],
      note: "Closed loop: the next order waits for the answer of the last.",
    });
    percentileSeries(run, "Latency of POST /order", loads);

    const one = latencies(sequential);
    const twenty = latencies(concurrent);
    run.figure("sequential_orders", sequential.count);
    run.figure("sequential_p50_ms", one.p50_ms);
    run.figure("sequential_p99_ms", one.p99_ms);
    run.figure("sequential_rate_per_s", Math.round(sequential.perS));
    run.figure("connections_20_orders", concurrent.count);
    run.figure("connections_20_p50_ms", twenty.p50_ms);
    run.figure("connections_20_p99_ms", twenty.p99_ms);
    run.figure("connections_20_rate_per_s", Math.round(concurrent.perS));
    run.figure("open_loop_rate_per_s", RATE_PER_S);
    run.figure("open_loop_p50_ms", latencies(open).p50_ms);
    run.figure("open_loop_p99_ms", latencies(open).p99_ms);
    run.figure(
      "errors",
      Object.values(loads).reduce((sum, { count, outcomes }) => sum + count - outcomes.ok, 0),
    );
  },
);
