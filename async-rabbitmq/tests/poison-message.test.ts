/**
 * A message that can never be valid is dead-lettered at once, one that fails too often after its
 * last attempt; both can be replayed.
 */
import { count, read } from "@lab/lab/probes/databases";
import { setFaults } from "@lab/lab/services/set-faults";
import type { Broker } from "@lab/lab/brokers/broker";
import { type DeadLetter, DeadLetters, letterText } from "@lab/lab/probes/dead-letters";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import { repoFolder } from "@lab/evidence/folders";
import { placeOrder } from "@lab/lab/load/load";
import type { ServiceProcess } from "@lab/lab/services/processes";
import { eventually, settled } from "@lab/lab/host/waiting";
import { deadQueue, MAX_ATTEMPTS } from "../topology.ts";
import { BROKER } from "./model.ts";
import {
  deadCounts,
  holdsClean,
  type Lab,
  NO_DEAD_LETTERS,
  nothingOpen,
  shootQueue,
  startLab,
} from "./campus.ts";
import { foreignReservation, type Poison, POISONS } from "./poison.ts";

experiment(
  {
    name: "poison-message",
    model: "async-rabbitmq",
    question: "What does a message that can never be valid do to those behind it?",
    method:
      "Seven kinds of poison on each of the three queues, each between good orders; in the first two the consumer is dead meanwhile, so that they stand in that very order. Then an order that fails at every attempt. Then `dlq replay`: of the spoilt events repaired, of the order as it is.",
    disproof:
      "A poison that is not in its dead queue with its reason, a good order that isn't processed, a replayed message without an effect or with two.",
    requirements: ["B6", "D4"],
    parameters: {
      kinds: POISONS.map(({ kind }) => kind).join(", "),
      max_attempts: MAX_ATTEMPTS,
    },
  },
  async (run) => {
    const broker = await run.broker("rabbitmq");
    await using lab = await startLab(run, broker);
    await using dead = await DeadLetters.open(broker.address, run.namespace, BROKER);
    const { campus, names } = lab;

    const spoilt = await spoiltOrders(run, lab);
    const good = await behindDead(run, lab, campus.inventory, names.inventoryQueue, (poison) =>
      poison.spoil(spoilt.get(poison)!.event),
    );
    good.push(
      ...(await behindDead(run, lab, campus.downstream, names.notificationQueue, (poison) =>
        poison.spoil(foreignReservation()),
      )),
      ...(await whileAlive(run, lab)),
    );
    const letters = await holdsDead(run, dead);
    await shootQueue(run, broker, "rabbitmq-ui", names.inventoryQueue, "list");
    await shootQueue(run, broker, "dlq-rabbitmq", deadQueue(names.inventoryQueue), "queue");
    const listed = await dlq(run, broker, ["list"]);
    run.excerpt({
      id: "dlq-list",
      title: "`scripts/lab dlq list`",
      text: listed,
    });
    run.holds("dlq list shows them all", listed.split("\n").length, 1 + letters.length);
    const goodProcessed = confirmedOf(lab, good);
    run.holds("every good order is confirmed", goodProcessed, good.length);

    const tired = await failsTooOften(run, lab, dead);
    const effects = await replayAll(run, lab, broker, dead, spoilt);
    await dead.replay("inventory.order-placed", "all");
    await eventually(
      "the order that had failed is confirmed",
      () => confirmedOf(lab, [tired]) === 1,
    );
    const purged = [
      await dead.purge("notification.inventory-reserved", "all"),
      await dead.purge("order.inventory-events", "all"),
    ].map((gone) => gone.length);
    run.holds("purge deletes the others", purged, [POISONS.length, POISONS.length]);

    await nothingOpen(lab);
    run.holds("no dead letters are left", await deadCounts(lab), NO_DEAD_LETTERS);
    const verdict = holdsClean(run, lab);
    run.holds("every order is confirmed", verdict.confirmed, good.length + spoilt.size + 1);

    run.figure("poison_messages", 3 * POISONS.length);
    run.figure("dead_lettered", letters.length);
    run.figure("good_orders", good.length);
    run.figure("good_processed", goodProcessed);
    run.figure("replayed", spoilt.size);
    run.figure("replay_effects", effects);
  },
);

/** An order whose event was taken off the queue before Inventory saw it. */
interface Spoilt {
  orderId: string;
  event: string;
}

/** For each poison an order, whose event will be corrupted on its way. Leaves Inventory dead. */
async function spoiltOrders(run: Run, lab: Lab): Promise<Map<Poison, Spoilt>> {
  const { campus, names, rabbit } = lab;
  await campus.inventory.kill();
  const spoilt = new Map<Poison, Spoilt>();
  for (const poison of POISONS) {
    const orderId = await place(run, lab);
    const message = await eventually("its event", () => rabbit.take(names.inventoryQueue));
    spoilt.set(poison, { orderId, event: message.content.toString() });
  }
  await campus.inventory.restart();
  return spoilt;
}

/** Queues good orders with a poison between each two for a dead consumer, and starts it; returns the orders. */
async function behindDead(
  run: Run,
  lab: Lab,
  consumer: ServiceProcess,
  queue: string,
  spoil: (poison: Poison) => Uint8Array,
): Promise<string[]> {
  const { rabbit } = lab;
  run.progress(`${consumer.name} is dead: good and poison, in turn`);
  await consumer.kill();
  // What it had answered and not acknowledged comes back.
  let waiting = await settled("what it leaves", () => rabbit.ready(queue));
  const queued = () => {
    waiting += 1;
    return eventually(`${waiting} wait`, async () => (await rabbit.ready(queue)) === waiting);
  };
  const good = [await place(run, lab)];
  await queued();
  for (const poison of POISONS) {
    await rabbit.put(queue, spoil(poison), { messageId: poison.kind });
    await queued();
    good.push(await place(run, lab));
    await queued();
  }
  await consumer.restart();
  await eventually("the good orders are confirmed", () => confirmedOf(lab, good) === good.length);
  return good;
}

/** OrderService must be alive to place an order: so a poison, a good order and its end, in turn. */
async function whileAlive(run: Run, lab: Lab): Promise<string[]> {
  run.progress("OrderService's queue: good and poison, in turn");
  const good: string[] = [];
  const placeAndWait = async () => {
    const orderId = await place(run, lab);
    await eventually("it is confirmed", () => confirmedOf(lab, [orderId]) === 1);
    good.push(orderId);
  };
  await placeAndWait();
  for (const poison of POISONS) {
    await lab.rabbit.put(lab.names.orderQueue, poison.spoil(foreignReservation()), {
      messageId: poison.kind,
    });
    await placeAndWait();
  }
  return good;
}

/** Checks the dead letters of all three queues against what was put there, and shows them. */
async function holdsDead(run: Run, dead: DeadLetters): Promise<DeadLetter[]> {
  const expected = POISONS.map(({ kind, reason }) => `${kind}: ${reason}, rejected`);
  const letters: DeadLetter[] = [];
  for (const queue of Object.keys(BROKER.queues)) {
    const found = await eventually(`dead letters of ${queue}`, async () => {
      const list = await dead.list(queue);
      return list.length >= POISONS.length && list;
    });
    run.holds(
      `${queue}.dead has each poison once, refused at once, with its reason`,
      found.map((one) => `${one.message_id}: ${one.reason}, ${one.died_by}`).toSorted(),
      expected.toSorted(),
    );
    letters.push(...found);
  }
  run.table({
    id: "dead-letters",
    title: "The dead letters",
    columns: [
      { name: "queue" },
      { name: "poison" },
      { name: "size", unit: "bytes" },
      { name: "reason" },
      { name: "detail" },
      { name: "attempts" },
    ],
    rows: letters.map((one) => [
      one.queue,
      one.message_id,
      one.size_bytes,
      one.reason,
      one.detail,
      one.attempts,
    ]),
    note: "Reason and detail are the contract's, validated again when the dead queue is read.",
  });
  const shown = letters.find(({ message_id: id }) => id === "qty a string");
  if (shown) {
    run.excerpt({
      id: "dead-letter",
      title: "One of them, as `lab dlq show` prints it",
      text: letterText(shown),
    });
  }
  return letters;
}

/**
 * An order that fails at every attempt is dead-lettered after the last of them, and not before;
 * returns its id.
 */
async function failsTooOften(run: Run, lab: Lab, dead: DeadLetters): Promise<string> {
  const { inventory } = lab.campus;
  run.progress("an order that fails at every attempt");
  const before = await retries(inventory);
  await setFaults(inventory, { fail_rate: 1 });
  const orderId = await place(run, lab);
  const letter = await eventually("it is dead", async () =>
    (await dead.list("inventory.order-placed")).find(({ body }) => body.includes(orderId)),
  );
  await setFaults(inventory, {});
  const attempts = (await retries(inventory)) - before;
  run.holds(
    "a valid message dies after the last attempt that its queue allows",
    { reason: letter.reason, attempts: letter.attempts, by_the_log: attempts },
    {
      reason: "failed_too_often",
      attempts: MAX_ATTEMPTS,
      by_the_log: MAX_ATTEMPTS,
    },
  );
  run.excerpt({
    id: "failed-too-often",
    title: "A valid message that failed at each attempt",
    text: letterText(letter),
  });
  return orderId;
}

/**
 * Replays the corrupted orders' letters with their bodies repaired; returns how many reservations
 * that made.
 */
async function replayAll(
  run: Run,
  lab: Lab,
  broker: Broker,
  dead: DeadLetters,
  spoilt: Map<Poison, Spoilt>,
): Promise<number> {
  run.progress("replay");
  const queue = "inventory.order-placed";
  const made = () => count(lab.campus.inventory, "SELECT count(*) AS n FROM reservations");
  const before = made();
  const refusal = await dead.replay(queue, POISONS[0]!.kind).then(
    () => "replayed",
    (error: Error) => error.message.split(",")[0],
  );
  run.holds("a letter isn't put back to die again", refusal, "it would die again");
  const [byCommand, ...others] = spoilt;
  const [{ kind }, { event }] = byCommand!;
  await dlq(run, broker, ["replay", "inventory", kind, "--body", "-"], event);
  for (const [other, { event: repaired }] of others) {
    await dead.replay(queue, other.kind, new TextEncoder().encode(repaired));
  }
  // Put back twice, as by a replay that was killed before it removed the dead letter.
  await lab.rabbit.put(lab.names.inventoryQueue, event);
  const ids = [...spoilt.values()].map(({ orderId }) => orderId);
  await eventually("the repaired orders are confirmed", () => confirmedOf(lab, ids) === ids.length);
  const effects = made() - before;
  run.holds("each replay had one effect", effects, spoilt.size);
  return effects;
}

/** What `scripts/lab dlq` prints. Throws when it fails. */
async function dlq(run: Run, { address }: Broker, words: string[], stdin = ""): Promise<string> {
  const command = [process.execPath, "scripts/lab.ts", "dlq", ...words];
  const child = Bun.spawn(command, {
    cwd: repoFolder,
    env: { ...process.env, AMQP_URL: address, LAB_NAMESPACE: run.namespace },
    stdin: new TextEncoder().encode(stdin),
    stderr: "pipe",
  });
  const [out, error] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(error);
  return out.trimEnd();
}

async function place(run: Run, lab: Lab): Promise<string> {
  const outcome = await placeOrder(
    lab.campus.order.url,
    { user_id: "u1", items: [{ sku: "burger", qty: 2 }] },
    { history: run.history },
  );
  return outcome.order_id ?? "";
}

function confirmedOf({ campus }: Lab, ids: readonly string[]): number {
  const confirmed = new Set(
    read<{ order_id: string }>(
      campus.order,
      "SELECT order_id FROM orders WHERE status = 'confirmed'",
    ).map(({ order_id: id }) => id),
  );
  return ids.filter((id) => confirmed.has(id)).length;
}

/** How often that process has requeued a message, by its log. */
async function retries({ logFile }: ServiceProcess): Promise<number> {
  const log = await Bun.file(logFile).text();
  return log.split('"event":"message_retried"').length - 1;
}
