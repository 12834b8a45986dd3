/** What the three services agree on: topics, keys and consumer groups. */
import type { Log } from "@lab/runtime/log";
import { Repeater } from "@lab/runtime/work/repeater";
import { Type } from "@sinclair/typebox";
import {
  type Admin,
  ConfigResourceTypes,
  ConfigSource,
  type Kafka,
  type KafkaJSProtocolError,
} from "kafkajs";
import { isBug, rootOf } from "./kafka/errors.ts";
import type { Troubles } from "./kafka/troubles.ts";

/**
 * Both topics have as many, so the same kitchen has the same partition number
 * in both.
 */
export const PARTITIONS = 6;

/** A record that fails this often is dead. */
export const MAX_ATTEMPTS = 5;

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

/** What the broker is asked for, and what would break the promises if it were otherwise. */
function declared(names: Topics) {
  // Kafka's default; what is sent at once keeps below it.
  const configEntries = [{ name: "max.message.bytes", value: "1048588" }, ...KEPT];
  return [
    { topic: names.orderEvents, numPartitions: PARTITIONS, configEntries },
    { topic: names.inventoryEvents, numPartitions: PARTITIONS, configEntries },
    {
      topic: names.deadLetters,
      numPartitions: 1,
      // The largest record that there can be, and why it is dead.
      configEntries: [{ name: "max.message.bytes", value: String(2 * 1024 * 1024) }],
    },
  ];
}

/** How often somebody looks whether all topics are there. */
const LOOK_MS = 3_000;

/**
 * Creates what is missing of the topics, at first and whenever somebody has taken it away, and names
 * in `troubles` what can't be put right. Every service does, so that none must start first.
 */
export function watchTopics(kafka: Kafka, names: Topics, log: Log, troubles: Troubles) {
  // Of its own: one that was asked for the offsets of a topic can't do a thing once that is deleted.
  const admin = kafka.admin();
  const topics = declared(names);
  let watching: Repeater | undefined;
  let stopped = false;
  const look = async () => {
    for (const wanted of topics) {
      if (stopped) return;
      const { topic } = wanted;
      const reason = await wrongWith(admin, wanted);
      if (reason === "missing") {
        const isNew = await admin.createTopics({ waitForLeaders: true, topics: [wanted] });
        if (isNew) log.info("topic_declared", { topic });
      } else if (reason) troubles.note(topic, reason);
      else troubles.clear(topic);
    }
    troubles.clear("topics");
  };
  return {
    /** Throws while the broker can't be asked; looks after them from then on. */
    async declare() {
      await admin.connect();
      await look();
      watching ??= new Repeater(log, LOOK_MS, async () => {
        try {
          await look();
        } catch (error) {
          if (stopped) return;
          if (isBug(error)) throw error;
          troubles.noteError("topics", error);
        }
      });
    },
    async stop() {
      stopped = true;
      // A look that is under way isn't waited for: Kafka may be hung.
      void watching?.stop();
      await admin.disconnect();
    },
  };
}

/** What is wrong with a topic, if anything is. */
async function wrongWith(
  admin: Admin,
  { topic, numPartitions, configEntries }: ReturnType<typeof declared>[number],
): Promise<string | undefined> {
  const partitions = await partitionsOf(admin, topic);
  if (partitions === undefined) return "missing";
  if (partitions !== numPartitions) {
    return `has ${partitions} partitions and needs ${numPartitions}; once deleted it is made anew, without its records`;
  }
  const is = await configOf(admin, topic);
  if (is.get("cleanup.policy")?.includes("compact")) {
    return "has cleanup.policy=compact, which deletes all but the last record of a kitchen";
  }
  const short = configEntries.find(({ name, value }) => Number(is.get(name)) < Number(value));
  return short && `has ${short.name}=${is.get(short.name)} and needs ${short.value}`;
}

/** How many there are; undefined where there is no such topic, or, for once, where nobody could be asked. */
async function partitionsOf(admin: Admin, name: string): Promise<number | undefined> {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [name] });
    return topics[0]?.partitions.length;
  } catch (error) {
    // Of a topic that was there kafkajs swallows the broker's word, and stumbles over the answer that it hasn't.
    if (error instanceof TypeError) return undefined;
    if (rootOf(error).type === "UNKNOWN_TOPIC_OR_PARTITION") return undefined;
    throw error;
  }
}

/** A topic's settings; none where they aren't ours to see. */
async function configOf(admin: Admin, name: string): Promise<Map<string, string>> {
  try {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: ConfigResourceTypes.TOPIC, name }],
    });
    const entries = resources.flatMap(({ configEntries }) => configEntries);
    return new Map(entries.map(({ configName, configValue }) => [configName, configValue]));
  } catch (error) {
    if (rootOf(error).type?.endsWith("AUTHORIZATION_FAILED")) return new Map();
    throw error;
  }
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

/** Begins the names of topics and groups. Kafka takes no other characters, and no more. */
export const Namespace = Type.String({ pattern: "^[a-zA-Z0-9._-]{0,200}$", default: "" });

const BROKER =
  "[^\\s:,]+:0*([1-9]\\d{0,3}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5])";

/** Where Kafka is: `host:port`, with commas between. */
export const KafkaBrokers = Type.String({
  pattern: `^${BROKER}(,${BROKER})*$`,
  default: "127.0.0.1:9092",
});
