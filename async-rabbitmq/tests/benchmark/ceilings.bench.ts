/** The model with messages beside what RabbitMQ and one service of it cost at least. */
import { holdRatios, sampleTable } from "@lab/bench/ratios";
import { acceptedPerS, OPENING_STOCK, ORDER, SATURATED_S } from "@lab/bench/load";
import { interleave, ROUNDS, sampleOf } from "@lab/bench/rounds";
import { runYardstick, startBunHops } from "@lab/bench/yardstick";
import { encodeEvent, newEvent } from "@lab/contracts/events";
import { byLength } from "@lab/evidence/settings";
import { experiment } from "@lab/lab/experiment/experiment";
import { eventually, nowUs } from "@lab/lab/host/waiting";
import { closedLoop, latencies, placeOrder, post } from "@lab/lab/load/load";
import { read } from "@lab/lab/probes/databases";
import { openChannel } from "@lab/lab/probes/rabbitmq-tools";
import { startService } from "@lab/lab/services/processes";
import { DEFAULT_KITCHEN } from "@lab/workflow/menu";
import { mkdir } from "node:fs/promises";
import { PREFETCH } from "../../consumer.ts";
import { ROUTING_KEYS } from "../../topology.ts";
import { type Lab, nothingOpen, startLab } from "../campus.ts";

const BACKLOG = byLength({ short: 2_000, full: 10_000 });
const ONE_BY_ONE = byLength({ short: 50, full: 300 });
/** As many bytes as an event has. */
const EVENT_BYTES = 400;

const OURS = "async-rabbitmq";
const ALONE = "the same route without a broker";
const RELAY = "consume, publish, acknowledge";
const HOPS = "two raw hops";

experiment(
  {
    name: "ceilings",
    model: "async-rabbitmq",
    question: "How close is the model with messages to what RabbitMQ gives at most?",
    method: `Ours and the yardsticks in turn, ${ROUNDS} rounds: orders accepted in ${SATURATED_S} s at 100 connections with all services and RabbitMQ on this machine, and by OrderService alone, without a broker; a backlog of ${BACKLOG.toLocaleString("en")} drained by one Inventory, and by a program that only consumes, publishes confirmed and acknowledges, with the same queues and prefetch; ${ONE_BY_ONE} orders one at a time, from the answer to the confirmation, and two hops on raw Bun.serve.`,
    disproof: "A ratio that isn't reached.",
    requirements: [],
    parameters: {
      rounds: ROUNDS,
      saturated_s: SATURATED_S,
      backlog: BACKLOG,
      one_by_one: ONE_BY_ONE,
    },
  },
  async (run) => {
    const broker = await run.broker("rabbitmq");
    const env = { LAB_FAULTS: "off", OPENING_STOCK };
    await using lab = await startLab(run, broker, env);
    await mkdir(`${run.folder}/alone`, { recursive: true });
    await using alone = await startService({
      model: OURS,
      service: "order-service",
      folder: `${run.folder}/alone`,
      // Nobody listens there.
      env: { ...env, AMQP_URL: "amqp://127.0.0.1:1" },
    });
    const accepted = await interleave(run, "accepted orders", [
      {
        name: OURS,
        async measure() {
          const perS = await acceptedPerS(lab.campus.order.url, 100);
          await nothingOpen(lab);
          return perS;
        },
      },
      { name: ALONE, measure: () => acceptedPerS(alone.url, 100) },
    ]);

    await using hops = await startBunHops(`${run.folder}/hops`, "NORMAL");
    const told = await interleave(run, "from the answer to the confirmation", [
      { name: OURS, measure: () => confirmationMs(lab) },
      { name: HOPS, measure: () => twoHopsMs(hops.neighbours) },
    ]);

    for (const service of lab.campus.services) await service.stop();
    const drained = await interleave(run, `a backlog of ${BACKLOG}`, [
      { name: OURS, measure: () => drainPerS(lab, broker.address) },
      {
        name: RELAY,
        async measure() {
          await fill(lab, broker.address);
          const { exchange, inventoryQueue } = lab.names;
          const key = ROUTING_KEYS.InventoryReserved;
          const words = [broker.address, inventoryQueue, exchange, key, BACKLOG, PREFETCH];
          return runYardstick("rabbitmq-relay", words);
        },
      },
    ]);
    const words = [
      broker.address,
      lab.names.exchange,
      ROUTING_KEYS.InventoryReserved,
      BACKLOG,
      EVENT_BYTES,
      PREFETCH,
    ];
    run.figure("confirmed_publishing_per_s", await runYardstick("rabbitmq-publish", words));
    for (const service of lab.campus.services) await service.restart();

    sampleTable(
      run,
      { id: "throughput", title: "Messages a second", unit: "1/s" },
      { "accepted at 100 connections": accepted, "backlog drained": drained },
    );
    sampleTable(
      run,
      { id: "latency", title: "One order at a time: median", unit: "ms" },
      { "from the answer to the confirmation": told },
    );
    holdRatios(run, [
      {
        figure: "orders accepted a second at 100 connections",
        unit: "1/s",
        ours: accepted.samples[OURS]!.median,
        beside: ALONE,
        yardstick: accepted.samples[ALONE]!.median,
        bound: { least: 0.65 },
      },
      {
        figure: `a backlog of ${BACKLOG.toLocaleString("en")} drained by one Inventory`,
        unit: "1/s",
        ours: drained.samples[OURS]!.median,
        beside: RELAY,
        yardstick: drained.samples[RELAY]!.median,
        bound: { least: 0.75 },
      },
      {
        figure: "from the answer to the confirmation",
        unit: "ms",
        ours: told.samples[OURS]!.median,
        beside: `${HOPS} and 5 ms`,
        yardstick: told.samples[HOPS]!.median + 5,
        bound: { most: 1 },
      },
    ]);
  },
);

/** The median time from the answer of an order until it is confirmed, one order at a time. */
async function confirmationMs({ campus }: Lab): Promise<number> {
  const { url } = campus.order;
  const times: number[] = [];
  for (let n = 0; n < ONE_BY_ONE; n += 1) {
    const { order_id } = await placeOrder(url, ORDER);
    const fromUs = nowUs();
    for (;;) {
      const order = (await (await fetch(`${url}/orders/${order_id}`)).json()) as { status: string };
      if (order.status === "confirmed") break;
    }
    times.push((nowUs() - fromUs) / 1_000);
  }
  return sampleOf(times).median;
}

/** The median time of one call after the other to both. */
async function twoHopsMs(urls: readonly string[]): Promise<number> {
  const send = async () => {
    const order_id = Bun.randomUUIDv7();
    for (const url of urls) await post(url, { order_id, ...ORDER });
    return { kind: "ok" as const };
  };
  return latencies(await closedLoop({ count: ONE_BY_ONE, connections: 1, send })).p50_ms;
}

/** Empties all queues, and puts the backlog into Inventory's. */
async function fill({ names }: Lab, address: string): Promise<void> {
  const { channel, model } = await openChannel(address);
  const { exchange, inventoryQueue, notificationQueue, orderQueue } = names;
  for (const queue of [inventoryQueue, notificationQueue, orderQueue]) {
    await channel.purgeQueue(queue);
  }
  for (let n = 0; n < BACKLOG; n += 1) {
    const data = {
      order_id: Bun.randomUUIDv7(),
      user_id: "u1",
      kitchen: DEFAULT_KITCHEN,
      items: ORDER.items,
    };
    const event = newEvent("OrderPlaced", "order-service", data);
    channel.publish(exchange, ROUTING_KEYS.OrderPlaced, Buffer.from(encodeEvent(event)), {
      persistent: true,
      messageId: event.id,
    });
  }
  await channel.waitForConfirms();
  await model.close();
}

/** The rate at which one Inventory processes the backlog, from its first message to its last. */
async function drainPerS(lab: Lab, address: string): Promise<number> {
  const { inventory } = lab.campus;
  await fill(lab, address);
  const { n: before } = totals(inventory);
  await inventory.restart();
  await eventually("all are processed", () => totals(inventory).n === before + BACKLOG);
  await inventory.stop();
  const { from, to } = totals(inventory, before);
  return BACKLOG / ((Date.parse(to) - Date.parse(from)) / 1_000);
}

/** The rows of the ledger: how many, and when the first and the last were processed, of those after the first `skipped`. */
function totals(service: { database: string }, skipped = 0) {
  const sql = `SELECT count(*) AS n, min(processed_at) AS "from", max(processed_at) AS "to"
    FROM (SELECT processed_at FROM ledger ORDER BY processed_at LIMIT -1 OFFSET ?)`;
  return read<{ n: number; from: string; to: string }>(service, sql, skipped)[0]!;
}
