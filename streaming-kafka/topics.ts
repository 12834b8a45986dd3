/** What the three services agree on: topics, keys and consumer groups. */
import type { Log } from "@lab/runtime/log";
import { Repeater } from "@lab/runtime/work/repeater";
import { Type } from "@sinclair/typebox";
import { type Admin, ConfigResourceTypes, ConfigSource, type Kafka } from "kafkajs";
import { isBug, rootOf } from "./kafka/errors.ts";
import { fetchIdentities } from "./kafka/topic-logs.ts";
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
 * Records stay until somebody deletes them: a replay computes from all of them, a consumer that is
 * away for a week misses none, and a dead letter waits for whoever looks at it.
 */
const KEPT = [
  { name: "cleanup.policy", value: "delete" },
  { name: "retention.ms", value: "-1" },
  { name: "retention.bytes", value: "-1" },
];

const LIMIT = "max.message.bytes";

/** What the broker is asked for, and what would break the promises if it were otherwise. */
function declared(names: Topics) {
  const settings = (bytes: number) => [{ name: LIMIT, value: String(bytes) }, ...KEPT];
  // Kafka's default; what is sent at once keeps below it.
  const configEntries = settings(1_048_588);
  return [
    { topic: names.orderEvents, numPartitions: PARTITIONS, configEntries },
    { topic: names.inventoryEvents, numPartitions: PARTITIONS, configEntries },
    {
      topic: names.deadLetters,
      numPartitions: 1,
      // The largest record that there can be, and why it is dead.
      configEntries: settings(2 * 1024 * 1024),
    },
  ];
}

interface Watched {
  /** `host:port`, with commas between. */
  brokers: string;
  kafka: Kafka;
  log: Log;
  names: Topics;
  /** Called when another topic has that name than before, by its id. */
  onAnew: (topic: string) => void;
  troubles: Troubles;
}

type Declared = ReturnType<typeof declared>[number];

/** How often somebody looks whether all topics are there. */
const LOOK_MS = 3_000;

/**
 * Creates what is missing of the topics and has them keep their records, at first and whenever
 * somebody has changed that, and names in `troubles` what can't be put right. Every service does, so
 * that none must start first.
 */
export function watchTopics({ brokers, kafka, log, names, onAnew, troubles }: Watched) {
  // Of its own: one that was asked for the offsets of a topic can't do a thing once that is deleted.
  const admin = kafka.admin();
  const topics = declared(names);
  let watching: Repeater | undefined;
  let stopped = false;
  const ids = new Map<string, string>();
  const look = async () => {
    for (const wanted of topics) {
      if (stopped) return;
      const { numPartitions, topic } = wanted;
      const partitions = await partitionsOf(admin, topic);
      if (partitions === undefined) {
        const isNew = await admin.createTopics({ waitForLeaders: true, topics: [wanted] });
        if (isNew) log.info("topic_declared", { topic });
        continue;
      }
      const reason =
        partitions === numPartitions
          ? await putRight(admin, wanted, log)
          : `has ${partitions} partitions and needs ${numPartitions}; once deleted it is made anew, without its records`;
      if (reason) troubles.note(topic, reason);
      else troubles.clear(topic);
    }
    for (const [topic, { id }] of await fetchIdentities(
      brokers,
      topics.map((one) => one.topic),
    )) {
      const known = ids.get(topic);
      if (id === undefined || id === known) continue;
      ids.set(topic, id);
      if (known === undefined) continue;
      log.warn("topic_made_anew", { topic });
      onAnew(topic);
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

/**
 * Has a topic keep its records, where it was made otherwise or somebody has changed it. Gives what
 * is wrong with its settings and stays so, in words; throws what may pass.
 */
async function putRight(
  admin: Admin,
  { configEntries: wanted, topic }: Declared,
  log: Log,
): Promise<string | undefined> {
  const settings = await settingsOf(admin, topic);
  if (settings.size === 0) return undefined;
  const wrong = KEPT.filter(({ name, value }) => settings.get(name)?.value !== value);
  if (wrong.length > 0) {
    // What isn't named again goes back to the broker's default.
    const own = [...settings].filter(([, { isOwn }]) => isOwn);
    const values = new Map(own.map(([name, { value }]) => [name, value]));
    for (const { name, value } of wrong) values.set(name, value);
    const configEntries = [...values].map(([name, value]) => ({ name, value }));
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic, configEntries };
    const refusal = await refusalOf(
      admin.alterConfigs({ validateOnly: false, resources: [resource] }),
    );
    if (refusal) return `its retention can't be set: ${refusal}`;
    log.warn("topic_altered", { topic, settings: wrong });
  }
  const has = settings.get(LIMIT)?.value;
  const needed = wanted.find(({ name }) => name === LIMIT)?.value;
  return Number(has) < Number(needed) ? `has ${LIMIT}=${has} and needs ${needed}` : undefined;
}

/** Why the broker refuses for good, in its words; throws what may pass. */
async function refusalOf(change: Promise<unknown>): Promise<string | undefined> {
  try {
    await change;
    return undefined;
  } catch (error) {
    const { message, retriable, type } = rootOf(error);
    if (type === undefined || retriable) throw error;
    return message;
  }
}

/** A topic's settings, and which of them are its own; none where they aren't ours to see. */
async function settingsOf(
  admin: Admin,
  name: string,
): Promise<Map<string, { value: string; isOwn: boolean }>> {
  try {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: ConfigResourceTypes.TOPIC, name }],
    });
    const entries = resources.flatMap(({ configEntries }) => configEntries);
    return new Map(
      entries.map(({ configName, configSource, configValue }) => [
        configName,
        { value: configValue, isOwn: configSource === ConfigSource.TOPIC_CONFIG },
      ]),
    );
  } catch (error) {
    if (rootOf(error).type?.endsWith("AUTHORIZATION_FAILED")) return new Map();
    throw error;
  }
}

/** Begins the names of topics and groups. Kafka takes no other characters, and no more. */
export const Namespace = Type.String({ pattern: "^[a-zA-Z0-9._-]{0,200}$", default: "" });

const BROKER =
  "[^\\s:,]+:0*([1-9]\\d{0,3}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5])";

/** Where Kafka is: `host:port`, with commas between. */
export const KafkaBrokers = Type.String({
  pattern: `^${BROKER}(,${BROKER})*$`,
  format: "host-ports",
  description: "host:port, with commas between",
  default: "127.0.0.1:9092",
});
