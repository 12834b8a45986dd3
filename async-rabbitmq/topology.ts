/** What the three services agree on: exchange, queues, dead queues, and what goes where. */
import type { EventType } from "@lab/contracts/events";
import type { Channel } from "amqplib";

/** A message that fails this often is dead-lettered. */
export const MAX_ATTEMPTS = 6;

/**
 * RabbitMQ's own limit, for a message that kills its consumer before that can count. RabbitMQ also
 * counts every view of the message: the limit is far above the number that people need.
 */
export const BROKERS_LIMIT = 100;

/** The header of a letter that was put back from a dead queue. */
export const REDRIVEN = "redriven";

/** How each event is addressed on the topic exchange. */
export const ROUTING_KEYS: Record<EventType, string> = {
  OrderPlaced: "order.placed",
  InventoryReserved: "inventory.reserved",
  InventoryFailed: "inventory.failed",
  ConfirmationSent: "notification.sent",
};

/** The names, each prefixed with `namespace`, so that two labs can share a broker. */
export function topology(namespace: string) {
  return {
    exchange: `${namespace}orders`,
    inventoryQueue: `${namespace}inventory.order-placed`,
    notificationQueue: `${namespace}notification.inventory-reserved`,
    orderQueue: `${namespace}order.inventory-events`,
  };
}
export type Topology = ReturnType<typeof topology>;

/** The events that each queue gets. */
export function subscriptions(names: Topology): Record<string, EventType[]> {
  return {
    [names.inventoryQueue]: ["OrderPlaced"],
    [names.notificationQueue]: ["InventoryReserved"],
    [names.orderQueue]: ["InventoryReserved", "InventoryFailed", "ConfirmationSent"],
  };
}

/** The queue where a queue's dead letters go. */
export function deadQueue(queue: string): string {
  return `${queue}.dead`;
}

/** Declares all of it. Every service does, so that none must start first. */
export async function declareTopology(channel: Channel, names: Topology): Promise<void> {
  await channel.assertExchange(names.exchange, "topic", { durable: true });
  for (const [queue, types] of Object.entries(subscriptions(names))) {
    await channel.assertQueue(deadQueue(queue), {
      durable: true,
      arguments: {
        "x-queue-type": "quorum",
        // Viewing a dead letter counts as a delivery: with RabbitMQ 4's default limit of 20 the 21st view would delete it.
        "x-delivery-limit": 1_000_000_000,
      },
    });
    await channel.assertQueue(queue, {
      durable: true,
      arguments: queueArguments(queue),
    });
    for (const type of types) {
      await channel.bindQueue(queue, names.exchange, ROUTING_KEYS[type]);
    }
  }
}

function queueArguments(queue: string): Record<string, string | number> {
  return {
    "x-queue-type": "quorum",
    // RabbitMQ 4 has a limit of 20 by default, 3.x has none.
    "x-delivery-limit": BROKERS_LIMIT,
    // The default exchange routes by queue name.
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": deadQueue(queue),
    // A dead letter must not get lost in transit; this needs reject-publish.
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
  };
}
