/** Every service of the asynchronous model killed in each of its gaps, under load. */
import { DeadLetters } from "@lab/lab/probes/dead-letters";
import {
  type CrashSituation,
  STARTING,
  stopping,
  testCrashPoints,
} from "@lab/proof/kills/crash-points";
import { Rabbitmq } from "@lab/lab/probes/rabbitmq-tools";
import { BROKER } from "../model.ts";

/** A message that can never be valid comes, and must be dead in the end: once. */
function poisoned(queue: string): CrashSituation {
  const body = `burger, please ${crypto.randomUUID()}`;
  return {
    title: "a message that is never valid",
    async happen({ broker, namespace }) {
      await using rabbit = new Rabbitmq(broker);
      await rabbit.put(`${namespace}${queue}`, body);
    },
    async wrong({ broker, namespace }) {
      await using letters = await DeadLetters.open(broker.address, namespace, BROKER);
      const found = (await letters.list(queue)).filter((letter) => letter.body.toString() === body);
      return found.length === 1 ? [] : [`${found.length} dead letters of one message`];
    },
  };
}

testCrashPoints({
  model: "async-rabbitmq",
  ratePerS: 100,
  lanes: 6,
  env: { INVENTORY_FAIL_RATE: "0.05", NOTIFICATION_FAIL_RATE: "0.05" },
  again: {
    "order-service published-before-confirm": { "inventory-service": true },
    "order-service confirmed-before-mark": { "inventory-service": true },
    "order-service marked": { "inventory-service": false },
    "inventory-service stored-before-publish": { "inventory-service": true },
    "inventory-service published-before-confirm": { "inventory-service": true },
    "inventory-service confirmed-before-ack": { "inventory-service": true },
    "inventory-service acked": { "inventory-service": false },
    "notification-service confirmed-before-ack": { "notification-service": true },
    "notification-service acked": { "notification-service": false },
  },
  points: [
    ["order-service", "placed-before-commit", 20],
    ["order-service", "stored-before-answer", 20],
    ["order-service", "published-before-confirm", 10],
    ["order-service", "confirmed-before-mark", 10],
    ["order-service", "marked", 10],
    ["order-service", "declared-before-consuming", 1, STARTING],
    ["order-service", "refused-before-reject", 1, poisoned("order.inventory-events")],
    ["order-service", "rejected", 1, poisoned("order.inventory-events")],
    ["order-service", "advanced-before-commit", 10],
    ["order-service", "advanced-before-ack", 10],
    ["order-service", "acked", 10],
    stopping("order-service", "intake-ended"),
    stopping("order-service", "consumer-stopped"),
    stopping("order-service", "outbox-ended"),
    stopping("order-service", "broker-left"),
    ["inventory-service", "opened-before-listening", 1, STARTING],
    ["inventory-service", "declared-before-consuming", 1, STARTING],
    ["inventory-service", "refused-before-reject", 1, poisoned("inventory.order-placed")],
    ["inventory-service", "rejected", 1, poisoned("inventory.order-placed")],
    ["inventory-service", "failed-before-requeue", 2],
    ["inventory-service", "decided-before-commit", 20],
    ["inventory-service", "stored-before-publish", 10],
    ["inventory-service", "published-before-confirm", 10],
    ["inventory-service", "confirmed-before-ack", 10],
    ["inventory-service", "acked", 10],
    stopping("inventory-service", "consumer-stopped"),
    stopping("inventory-service", "broker-left"),
    stopping("inventory-service", "http-stopped"),
    ["notification-service", "declared-before-consuming", 1, STARTING],
    [
      "notification-service",
      "refused-before-reject",
      1,
      poisoned("notification.inventory-reserved"),
    ],
    ["notification-service", "rejected", 1, poisoned("notification.inventory-reserved")],
    ["notification-service", "failed-before-requeue", 2],
    ["notification-service", "told-before-commit", 20],
    ["notification-service", "stored-before-publish", 10],
    ["notification-service", "published-before-confirm", 10],
    ["notification-service", "confirmed-before-ack", 10],
    ["notification-service", "acked", 10],
    stopping("notification-service", "consumer-stopped"),
    stopping("notification-service", "broker-left"),
    stopping("notification-service", "http-stopped"),
  ],
});
