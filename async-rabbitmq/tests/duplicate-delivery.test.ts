/**
 * At-least-once delivery, exactly one effect: the ledger, the order id as key, and the answer
 * published again.
 */
import { setFaults } from "@lab/lab/services/set-faults";
import type { OrderPlaced } from "@lab/contracts/events";
import { newId } from "@lab/contracts/ids";
import type { Broker } from "@lab/lab/brokers/broker";
import { experiment } from "@lab/lab/experiment/experiment";
import { type ServiceProcess, startService } from "@lab/lab/services/processes";
import { eventually, settled } from "@lab/lab/host/waiting";
import { join } from "node:path";
import { Bench, QTY } from "./bench.ts";
import { deadCounts, holdsClean, NO_DEAD_LETTERS, nothingOpen, startLab } from "./campus.ts";

/** Odd: RabbitMQ delivers round-robin, so an order's copy goes to the other consumer. */
const SHARED_ORDERS = 101;

experiment(
  {
    name: "duplicate-delivery",
    model: "async-rabbitmq",
    question: "The same OrderPlaced is delivered twice: what is reserved?",
    method:
      "Duplicates of every kind on Inventory's queue: the same event; the same order under another event id; the same event after SIGKILL and restart; redeliveries after a kill before the commit, and between commit and ack; two Inventories on one database. A spy on the exchange hears every answer.",
    disproof:
      "More than one reservation or confirmation of an order, stock down twice, a duplicate without an answer, or one that is told something else than the first time.",
    requirements: ["B5", "D2"],
    parameters: { qty: QTY, orders_for_two_consumers: SHARED_ORDERS },
  },
  async (run) => {
    await using broker = await run.ownBroker("rabbitmq");
    // The debug log shows which process has decided which order.
    await using lab = await startLab(run, broker, { LOG_LEVEL: "debug" });
    const bench = new Bench(lab, await lab.rabbit.spy(lab.names.exchange), run);

    const first = await bench.published(await bench.place());
    await bench.note("one delivery");
    await bench.put(first);
    await bench.note("the same event again");
    await bench.put({ ...first, id: newId() });
    await bench.note("the same order under another event id");
    await afterRestart(bench, first);
    await killedBeforeCommit(bench);
    await killedBeforeAck(bench, broker);
    await twoAtOnce(bench, broker);

    await nothingOpen(lab);
    run.holds("an answer said again is the same", bench.contradicted(), []);
    run.holds("no dead letters", await deadCounts(lab), NO_DEAD_LETTERS);
    const verdict = holdsClean(run, lab);
    const { reservations, confirmations, stock, answersRepeated } = bench.totals();
    const { deliveries, openingStock, orders } = bench;
    run.holds(
      "one reservation and one confirmation an order, stock down once",
      { reservations, confirmations, units: openingStock - stock },
      { reservations: orders, confirmations: orders, units: orders * QTY },
    );
    run.holds("every order is confirmed", verdict.confirmed, orders);

    bench.show(first);
    run.figure("deliveries", deliveries);
    run.figure("orders", orders);
    run.figure("reservations", reservations);
    run.figure("stock_before_units", openingStock);
    run.figure("stock_after_units", stock);
    run.figure("ordered_units", orders * QTY);
    run.figure("answers_repeated", answersRepeated);
    run.figure("confirmations", confirmations);
  },
);

/** The ledger survives a kill: it is a table in the stock's database, not a set in memory. */
async function afterRestart(bench: Bench, event: OrderPlaced): Promise<void> {
  const { lab, run } = bench;
  run.progress("SIGKILL of Inventory, the event again, restart");
  await lab.campus.inventory.kill();
  await bench.put(event);
  await lab.campus.inventory.restart();
  await bench.note("the same event after SIGKILL and restart");
}

/** Killed while processing an order: it was not acknowledged, so RabbitMQ still has it. */
async function killedBeforeCommit(bench: Bench): Promise<void> {
  const { inventory } = bench.lab.campus;
  bench.run.progress("SIGKILL of Inventory before its commit");
  await orderInHand(bench);
  await inventory.kill();
  bench.redelivered();
  await inventory.restart();
  await bench.note("killed before the commit, redelivered");
}

/** Places an order, and returns its event once a hanging Inventory has it. */
async function orderInHand(bench: Bench): Promise<OrderPlaced> {
  const { campus, names, rabbit } = bench.lab;
  await setFaults(campus.inventory, { hang: true });
  const event = await bench.published(await bench.place());
  await bench.allDelivered();
  await settled("the order stays with the hanging Inventory", () =>
    rabbit.ready(names.inventoryQueue),
  );
  return event;
}

/**
 * The worst moment: committed, and killed before the ack. The broker is paused meanwhile, so that
 * Inventory's answer isn't confirmed and it can't go on.
 */
async function killedBeforeAck(bench: Bench, broker: Broker): Promise<void> {
  const { inventory } = bench.lab.campus;
  bench.run.progress("SIGKILL of Inventory between commit and ack");
  const event = await orderInHand(bench);
  await broker.pause();
  try {
    await setFaults(inventory, {});
    await eventually("the reservation is committed", async () => {
      const path = `reservations/${event.subject}`;
      return (await fetch(`${inventory.url}/${path}`)).ok;
    });
    await inventory.kill();
  } finally {
    await broker.resume();
  }
  bench.redelivered();
  await inventory.restart();
  await bench.note("killed between commit and ack, redelivered");
}

/**
 * Two processes, one database file: the first to commit decides, the other finds the decision in
 * the ledger.
 */
async function twoAtOnce(bench: Bench, broker: Broker): Promise<void> {
  const { lab, run } = bench;
  const { inventory } = lab.campus;
  run.progress("two Inventories on one database");
  await using second = await startService({
    model: "async-rabbitmq",
    service: "inventory-service",
    folder: join(run.folder, "second"),
    env: {
      DATABASE: inventory.database,
      AMQP_URL: broker.address,
      LAB_NAMESPACE: run.namespace,
      LAB_FAULTS: "on",
      LOG_LEVEL: "debug",
    },
  });
  await second.healthy();
  const both = [inventory, second];
  // Slow at first: one gets the even orders, the other the odd ones, and then each gets the other's.
  const decidedBefore = await Promise.all(both.map(decisions));
  await race(bench, both, { throttle_ms: 5 });
  await bench.note("two consumers, each order decided by either");
  const decided = await Promise.all(both.map(decisions));
  run.holds(
    "both consumers have decided orders",
    decided.map((n, at) => n > decidedBefore[at]!),
    [true, true],
  );
  // Then at full speed: both process the same orders at the same moment.
  await race(bench, both, {});
  await bench.note("two consumers, all orders at the same moment");
}

/**
 * Delivers each order to one consumer and its copy to the other while both hang, then releases
 * both.
 */
async function race(
  bench: Bench,
  both: ServiceProcess[],
  faults: Record<string, number>,
): Promise<void> {
  await Promise.all(both.map((one) => setFaults(one, { hang: true })));
  const events: OrderPlaced[] = [];
  for (let n = 0; n < SHARED_ORDERS; n += 1) {
    events.push(await bench.published(await bench.place()));
  }
  for (const event of events) await bench.put(event);
  await bench.allDelivered();
  await Promise.all(both.map((one) => setFaults(one, faults)));
}

/** How many orders that process has decided itself since its start. */
async function decisions({ logFile }: ServiceProcess): Promise<number> {
  const log = await Bun.file(logFile).text();
  return log.split('"event":"stock_decided"').length - 1;
}
