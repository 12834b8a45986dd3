/** What the three services agree on: topics, keys and consumer groups. */
import { Type } from "@sinclair/typebox";
import type { Admin } from "kafkajs";

/**
 * Both topics have as many, so the same kitchen has the same partition number
 * in both.
 */
export const PARTITIONS = 6;

/** Records sent at once. */
export const SEND_BATCH = 1000;

/** The names, each prefixed with `namespace`, so that two labs can share a broker. */
export function topics(namespace: string) {
  return {
    orderEvents: `${namespace}order-events`,
    inventoryEvents: `${namespace}inventory-events`,
    deadLetters: `${namespace}order-events.dead`,
    /** Consumer groups. */
    inventoryGroup: `${namespace}inventory`,
    analyticsGroup: `${namespace}analytics`,
    statusGroup: `${namespace}order-status`,
  };
}
export type Topics = ReturnType<typeof topics>;

/** Creates what is missing. Every service does, so that none must start first. */
export async function declareTopics(admin: Admin, names: Topics): Promise<void> {
  await admin.createTopics({
    waitForLeaders: true,
    topics: [
      { topic: names.orderEvents, numPartitions: PARTITIONS },
      { topic: names.inventoryEvents, numPartitions: PARTITIONS },
      {
        topic: names.deadLetters,
        numPartitions: 1,
        // The largest record that there can be, and why it is dead.
        configEntries: [{ name: "max.message.bytes", value: String(2 * 1024 * 1024) }],
      },
    ],
  });
}

/** Where Kafka is: `host:port`, with commas between. */
export const KafkaBrokers = Type.String({
  pattern: "^[^\\s:,]+:\\d+(,[^\\s:,]+:\\d+)*$",
  default: "127.0.0.1:9092",
});
