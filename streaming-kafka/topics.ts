/** What the three services agree on: topics, keys and consumer groups. */
import { Type } from "@sinclair/typebox";
import type { Log } from "@lab/runtime/log";
import { type Admin, ConfigResourceTypes, ConfigSource, type KafkaJSProtocolError } from "kafkajs";

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

/**
 * Records stay until somebody deletes them: a replay computes from all of them, and a consumer that
 * is away for a week misses none.
 */
const KEPT = [
  { name: "cleanup.policy", value: "delete" },
  { name: "retention.ms", value: "-1" },
  { name: "retention.bytes", value: "-1" },
];

/** Creates what is missing. Every service does, so that none must start first. */
export async function declareTopics(admin: Admin, names: Topics): Promise<void> {
  await admin.createTopics({
    waitForLeaders: true,
    topics: [
      { topic: names.orderEvents, numPartitions: PARTITIONS, configEntries: KEPT },
      { topic: names.inventoryEvents, numPartitions: PARTITIONS, configEntries: KEPT },
      {
        topic: names.deadLetters,
        numPartitions: 1,
        // The largest record that there can be, and why it is dead.
        configEntries: [{ name: "max.message.bytes", value: String(2 * 1024 * 1024) }],
      },
    ],
  });
}

/**
 * Sets what keeps the records, where the topics were made without it or somebody has changed it.
 * Gives what the broker doesn't allow, in words; throws what may pass.
 */
export async function keepRecords(admin: Admin, names: Topics, log: Log): Promise<string[]> {
  try {
    for (const topic of await keptAgain(admin, names)) log.warn("topic_altered", { topic });
    return [];
  } catch (error) {
    const { message, retriable, type } = ((error as Error).cause ?? error) as KafkaJSProtocolError;
    if (type === undefined || retriable) throw error;
    return [`the retention of topics can't be set: ${message}`];
  }
}

async function keptAgain(admin: Admin, names: Topics): Promise<string[]> {
  const type = ConfigResourceTypes.TOPIC;
  const wanted = [names.orderEvents, names.inventoryEvents];
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: wanted.map((name) => ({ type, name })),
  });
  const altered = [];
  for (const { configEntries, resourceName: name } of resources) {
    const isKept = KEPT.every((kept) =>
      configEntries.some((has) => has.configName === kept.name && has.configValue === kept.value),
    );
    if (isKept) continue;
    // What isn't named again goes back to the broker's default.
    const others = configEntries
      .filter(({ configName, configSource }) => {
        const isOwn = configSource === ConfigSource.TOPIC_CONFIG;
        return isOwn && !KEPT.some((kept) => kept.name === configName);
      })
      .map(({ configName, configValue }) => ({ name: configName, value: configValue }));
    const resource = { type, name, configEntries: [...others, ...KEPT] };
    await admin.alterConfigs({ validateOnly: false, resources: [resource] });
    altered.push(name);
  }
  return altered;
}

/** Where Kafka is: `host:port`, with commas between. */
export const KafkaBrokers = Type.String({
  pattern: "^[^\\s:,]+:\\d+(,[^\\s:,]+:\\d+)*$",
  default: "127.0.0.1:9092",
});
