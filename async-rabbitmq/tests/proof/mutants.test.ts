/** Each protection of the asynchronous model taken away, in a situation that needs it: does the checker find what that breaks? */
import { count } from "@lab/lab/databases";
import {
  alike,
  ASKED_TWICE,
  kill,
  killedUnderLoad,
  OUTBOX_DEPTH,
  publishSome,
  restartBroker,
  sendSome,
  setFaults,
  type Situation,
  SOME,
  testMutants,
  triedInVain,
} from "@lab/lab/proof/mutants";
import { Rabbitmq } from "@lab/lab/rabbitmq-tools";
import { eventually, outage } from "@lab/lab/waiting";
import { DELIVERY_LIMIT, topology } from "../../topology.ts";

/** The longest pause before a message is put back, and some time to do it. */
const LAST_PAUSE_S = 4;
/** A quorum queue of RabbitMQ 3.10 that is killed a moment after it was declared doesn't come back. */
const YOUNG_S = 5;

const KILLED_WITHOUT_BROKER: Situation = {
  title: "RabbitMQ can't be reached, and Order is killed",
  happen: alike(async (subject) => {
    const { order } = subject.trial.campus;
    subject.struck.faults += 1;
    await order.restart({ AMQP_URL: "amqp://127.0.0.1:1" });
    await sendSome(subject);
    await kill(subject, order);
    await order.restart();
  }),
  mutants: [{ without: "outbox", breaks: ["lost"] }],
};

const KILLED_WITH_MESSAGES: Situation = {
  title: "Inventory is killed with messages in hand",
  happen: alike(async (subject) => {
    const { trial } = subject;
    const { inventory, order } = trial.campus;
    await using rabbit = new Rabbitmq(trial.broker);
    await setFaults(subject, inventory, { hang: true });
    await sendSome(subject);
    await eventually("Inventory has all of them", async () => {
      const waiting = await rabbit.ready(topology(trial.namespace).inventoryQueue);
      return count(order, OUTBOX_DEPTH) + waiting === 0;
    });
    await kill(subject, inventory);
    await inventory.restart();
  }),
  mutants: [{ without: "ack-after-commit", breaks: ["lost"] }],
};

/** As a publisher does that has missed the broker's word, and a broker that has missed an ack. */
const DELIVERED_TWICE: Situation = {
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
    { without: "ledger", breaks: [], heldBy: "idempotent-reserve and idempotent-send" },
    { without: "idempotent-reserve", breaks: [], heldBy: "ledger" },
    { without: "ledger,idempotent-reserve", breaks: ["unbalanced"] },
    { without: "idempotent-send", breaks: [], heldBy: "ledger" },
    { without: "ledger,idempotent-send", breaks: ["doubled"] },
    { without: "forward-only", breaks: ["lost", "contradicted"] },
  ],
};

const FAILS_FOR_EVER: Situation = {
  title: "Inventory fails at every message",
  happen: alike(async (subject) => {
    await setFaults(subject, subject.trial.campus.inventory, { fail_rate: 1 });
    await sendSome(subject);
    await triedInVain(subject, SOME * (DELIVERY_LIMIT + 1));
    await outage(LAST_PAUSE_S);
  }),
  mutants: [
    { without: "delivery-limit", breaks: ["lost", "endless"] },
    { without: "dead-letter", breaks: ["lost"] },
  ],
};

const BROKER_KILLED: Situation = {
  title: "RabbitMQ is killed with messages in its queues and on their way",
  async happen(subjects, broker) {
    await outage(YOUNG_S);
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
    { without: "confirms", breaks: ["lost"] },
    { without: "durable-queue", breaks: ["lost"] },
  ],
};

testMutants({
  model: "async-rabbitmq",
  timeoutS: 300,
  lanes: [
    [FAILS_FOR_EVER, ASKED_TWICE],
    [
      DELIVERED_TWICE,
      KILLED_WITH_MESSAGES,
      KILLED_WITHOUT_BROKER,
      killedUnderLoad(["lost", "leaked", "contradicted"]),
    ],
  ],
  afterwards: [BROKER_KILLED],
});
