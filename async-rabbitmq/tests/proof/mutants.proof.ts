/** Each protection of the asynchronous model taken away, in a situation that needs it: does the checker find what that breaks? */
import { Database } from "bun:sqlite";
import { count, OUTBOX_DEPTH } from "@lab/lab/probes/databases";
import { fetchHealth } from "@lab/lab/services/health";
import {
  alike,
  ASKED_TWICE,
  dieAt,
  kill,
  killedUnderLoad,
  type MutantSituation,
  publishSome,
  restartBroker,
  SCARCE,
  sendSome,
  setFaults,
  ORDER_COUNT,
  testMutants,
  untilFailed,
} from "@lab/proof/kills/mutants";
import { QUEUE_SETTLES_S } from "@lab/lab/brokers/rabbitmq";
import { openChannel, Rabbitmq } from "@lab/lab/probes/rabbitmq-tools";
import { eventually, outage } from "@lab/lab/host/waiting";
import { MAX_ATTEMPTS, topology } from "../../topology.ts";

/** The longest pause before a message is put back, and some time to do it. */
const LAST_PAUSE_S = 4;
/** Six attempts, each of which waits 2 s for the lock, the pauses between them, and some time. */
const LOCKED_S = 18;

const KILLED_WITHOUT_BROKER: MutantSituation = {
  title: "RabbitMQ can't be reached, and Order is killed",
  happen: alike(async (subject) => {
    const { order } = subject.trial.campus;
    subject.struck.faults += 1;
    await order.restart({ AMQP_URL: "amqp://127.0.0.1:1" });
    await sendSome(subject);
    await kill(subject, order);
    await order.restart();
  }),
  mutants: [{ without: "outbox", breaks: { lost: ORDER_COUNT } }],
};

/** An order for which that service has a message. */
const STATUS_AT = { Inventory: "placed", Notification: "reserved" };

function killedWithMessages(who: keyof typeof STATUS_AT): MutantSituation {
  return {
    title: `${who} is killed with messages in hand`,
    happen: alike(async (subject) => {
      const { trial } = subject;
      const { inventory, order, downstream } = trial.campus;
      const { inventoryQueue, notificationQueue } = topology(trial.namespace);
      const [service, queue] =
        who === "Inventory" ? [inventory, inventoryQueue] : [downstream, notificationQueue];
      await using rabbit = new Rabbitmq(trial.broker);
      await setFaults(subject, service, { hang: true });
      await sendSome(subject);
      await eventually(`${who} has all of them`, async () => {
        const there = count(order, IN_STATUS, STATUS_AT[who]) === ORDER_COUNT;
        return there && count(order, OUTBOX_DEPTH) + (await rabbit.ready(queue)) === 0;
      });
      await kill(subject, service);
      await service.restart();
    }),
    mutants: [{ without: "ack-after-commit", breaks: { lost: ORDER_COUNT } }],
  };
}

/** Only the last message of an order is missed: another may take it further. */
const DIES_OF_CONFIRMATIONS: MutantSituation = {
  title: "Order dies with confirmations in hand",
  happen: alike(async (subject) => {
    const { order, downstream: notification } = subject.trial.campus;
    await setFaults(subject, notification, { hang: true });
    await sendSome(subject);
    await eventually("all are reserved", () => count(order, IN_STATUS, "reserved") === ORDER_COUNT);
    await dieAt(subject, order, "advanced-before-commit", () =>
      setFaults(subject, notification, {}),
    );
  }),
  // Their customers have been told, and Order doesn't know.
  mutants: [{ without: "ack-after-commit", breaks: { lost: "any", contradicted: "any" } }],
};

const IN_STATUS = "SELECT count(*) FROM orders WHERE status = ?";

const FAILS_AT_TIMES: MutantSituation = {
  title: "Inventory fails at some messages, and does others meanwhile",
  happen: alike(async (subject) => {
    const { inventory } = subject.trial.campus;
    await setFaults(subject, inventory, { fail_rate: 0.5 });
    await sendSome(subject);
    await untilFailed(subject, 1);
    await setFaults(subject, inventory, {});
  }),
  mutants: [{ without: "ack-own-work", breaks: { lost: "any" } }],
};

const QUEUE_GONE: MutantSituation = {
  title: "Inventory and its queue are gone for a while",
  happen: alike(async (subject) => {
    const { trial } = subject;
    const { inventory, order, downstream } = trial.campus;
    const { inventoryQueue } = topology(trial.namespace);
    await kill(subject, inventory);
    const { channel, model } = await openChannel(trial.broker.address, () => {});
    await channel.deleteQueue(inventoryQueue);
    // In its place stands another's, which nothing is bound to: the other services would put it back.
    await channel.assertQueue(inventoryQueue, { durable: true });
    subject.struck.faults += 1;
    await publishSome(subject);
    await channel.deleteQueue(inventoryQueue);
    await model.close();
    for (const { url } of [order, downstream]) {
      await eventually("it is back", async () => (await fetchHealth(url)).problems.length === 0);
    }
    await inventory.restart();
  }),
  mutants: [{ without: "mandatory", breaks: { lost: ORDER_COUNT } }],
};

const LOCKED: MutantSituation = {
  title: "Inventory's database is locked for longer than a message's attempts take",
  happen: alike(async (subject) => {
    using db = new Database(subject.trial.campus.inventory.database);
    db.run("BEGIN IMMEDIATE");
    subject.struck.faults += 1;
    // One alone: of several, each batch would wait for the lock by itself.
    await subject.trial.send();
    await outage(LOCKED_S);
  }),
  mutants: [{ without: "patience", breaks: { dead: 1 } }],
};

/** As after a lost confirm, and after a lost ack. */
const DELIVERED_TWICE: MutantSituation = {
  title: "every message is delivered twice",
  happen: alike(async (subject) => {
    const { trial } = subject;
    const names = topology(trial.namespace);
    await using rabbit = new Rabbitmq(trial.broker);
    const heard = await rabbit.spy(names.exchange);
    await sendSome(subject);
    await trial.settle();
    const first = [...heard.messages];
    const again = async (queue: string, key: string) => {
      for (const message of first.filter((one) => one.key === key)) {
        subject.struck.faults += 1;
        await rabbit.put(queue, message.body, { messageId: message.id });
      }
    };
    await again(names.inventoryQueue, "order.placed");
    await again(names.notificationQueue, "inventory.reserved");
    await trial.settle();
    // By now the orders are confirmed: the reservation comes late.
    await again(names.orderQueue, "inventory.reserved");
  }),
  mutants: [
    { without: "ledger", breaks: {}, heldBy: "idempotent-reserve and idempotent-send" },
    { without: "idempotent-reserve", breaks: {}, heldBy: "ledger" },
    { without: "ledger,idempotent-reserve", breaks: { unbalanced: ORDER_COUNT } },
    { without: "idempotent-send", breaks: {}, heldBy: "ledger" },
    { without: "ledger,idempotent-send", breaks: { doubled: ORDER_COUNT } },
    { without: "forward-only", breaks: { lost: ORDER_COUNT, contradicted: ORDER_COUNT } },
  ],
};

const FAILS_FOR_EVER: MutantSituation = {
  title: "Inventory fails at every message",
  dead: ORDER_COUNT,
  happen: alike(async (subject) => {
    await setFaults(subject, subject.trial.campus.inventory, { fail_rate: 1 });
    await sendSome(subject);
    await untilFailed(subject, ORDER_COUNT * MAX_ATTEMPTS);
    await outage(LAST_PAUSE_S);
  }),
  mutants: [
    { without: "delivery-limit", breaks: { lost: ORDER_COUNT, endless: ORDER_COUNT } },
    { without: "dead-letter", breaks: { lost: ORDER_COUNT } },
  ],
};

const BROKER_KILLED: MutantSituation = {
  title: "RabbitMQ is killed with messages in its queues and on their way",
  async happen(subjects, broker) {
    await outage(QUEUE_SETTLES_S);
    // Nobody consumes: the orders wait in the queue.
    await alike((subject) => kill(subject, subject.trial.campus.inventory))(subjects);
    await alike(publishSome)(subjects);
    // It reads nothing any more: the orders wait in its socket.
    await broker.pause();
    await alike(publishSome)(subjects);
    await restartBroker(subjects, broker);
    await alike(({ trial }) => trial.campus.inventory.restart())(subjects);
  },
  mutants: [
    { without: "confirms", breaks: { lost: ORDER_COUNT } },
    { without: "durable-queue", breaks: { lost: ORDER_COUNT } },
  ],
};

testMutants({
  model: "async-rabbitmq",
  stuckMs: 4_000,
  first: [BROKER_KILLED],
  lanes: [
    [LOCKED, FAILS_AT_TIMES, QUEUE_GONE, SCARCE],
    [
      FAILS_FOR_EVER,
      ASKED_TWICE,
      DIES_OF_CONFIRMATIONS,
      killedUnderLoad("Inventory", { contradicted: "any" }),
      killedUnderLoad("Notification", { contradicted: "any" }),
    ],
    [
      DELIVERED_TWICE,
      killedWithMessages("Inventory"),
      killedWithMessages("Notification"),
      KILLED_WITHOUT_BROKER,
      killedUnderLoad("Order", { lost: "any", leaked: "any", contradicted: "any" }),
    ],
  ],
});
