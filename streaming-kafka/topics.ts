/** What the three services agree on: topics, keys and consumer groups. */
import type { Log } from "@lab/runtime/log";
import { Repeater } from "@lab/runtime/work/repeater";
import { Type } from "@sinclair/typebox";
import { type Admin, ConfigResourceTypes, type Kafka } from "kafkajs";
import { isBug } from "./kafka/errors.ts";
import { fetchIdentities } from "./kafka/topic-logs.ts";
import { partitionsOf, refusalOf, settingsOf, type TopicSettings } from "./kafka/topic-settings.ts";
import type { Troubles } from "./kafka/troubles.ts";

/** Both topics have the same number, so a kitchen has the same partition number in both. */
export const PARTITIONS = 6;

/** A record that fails this often is dead-lettered; one that is invalid, at once. */
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
 * Records are kept until they are deleted by hand: a replay reads all of them, a consumer that is
 * down for a week misses none, and dead letters wait for an operator.
 */
const KEEP_ALL = [
  { name: "cleanup.policy", value: "delete" },
  { name: "retention.ms", value: "-1" },
  { name: "retention.bytes", value: "-1" },
];

const LIMIT = "max.message.bytes";

/** The topics to create, with the settings on which the promises depend. */
function declared(names: Topics) {
  const settings = (bytes: number) => [{ name: LIMIT, value: String(bytes) }, ...KEEP_ALL];
  // Kafka's default; a producer's portion is smaller.
  const configEntries = settings(1_048_588);
  return [
    { topic: names.orderEvents, numPartitions: PARTITIONS, configEntries },
    { topic: names.inventoryEvents, numPartitions: PARTITIONS, configEntries },
    {
      topic: names.deadLetters,
      numPartitions: 1,
      // Room for the largest possible record, and the headers of its dead letter.
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
  /** Called when a topic was recreated, which its id shows. */
  onRecreated: (topic: string) => void;
  troubles: Troubles;
}

type Declared = ReturnType<typeof declared>[number];

/** The interval at which the topics are checked. */
const LOOK_MS = 5_000;

/**
 * Creates missing topics and sets unlimited retention, at the start and whenever that was changed,
 * and names in `troubles` what can't be corrected. Every service does, so that none must start
 * first.
 */
export function watchTopics({ brokers, kafka, log, names, onRecreated, troubles }: Watched) {
  // A client of its own: one that has fetched the offsets of a topic can't use it after it was
  // deleted.
  const admin = kafka.admin();
  const topics = declared(names);
  const identify = () =>
    fetchIdentities(
      brokers,
      topics.map(({ topic }) => topic),
    );
  let watching: Repeater | undefined;
  let stopped = false;
  const ids = new Map<string, string>();
  const look = async () => {
    let identities = await identify();
    let isAnyNew = false;
    const present: Declared[] = [];
    for (const wanted of topics) {
      if (stopped) return;
      const { numPartitions, topic } = wanted;
      const partitions = identities.get(topic)?.partitions ?? (await partitionsOf(admin, topic));
      if (partitions === undefined) {
        const isNew = await admin.createTopics({ waitForLeaders: true, topics: [wanted] });
        if (isNew) log.info("topic_declared", { topic });
        isAnyNew = true;
      } else if (partitions === numPartitions) {
        present.push(wanted);
      } else {
        const reason = `has ${partitions} partitions and needs ${numPartitions}; once deleted it is made anew, without its records`;
        troubles.note(topic, reason);
      }
    }
    const settings = await settingsOf(
      brokers,
      present.map(({ topic }) => topic),
    );
    for (const wanted of present) {
      const reason = await correctSettings(admin, wanted, settings.get(wanted.topic), log);
      if (reason) troubles.note(wanted.topic, reason);
      else troubles.clear(wanted.topic);
    }
    if (isAnyNew) identities = await identify();
    for (const [topic, { id }] of identities) {
      const known = ids.get(topic);
      if (id === undefined || id === known) continue;
      ids.set(topic, id);
      if (known === undefined) continue;
      log.warn("topic_made_anew", { topic });
      onRecreated(topic);
    }
    troubles.clear("topics");
  };
  return {
    /** Checks once, then at intervals. Throws while the broker is not available. */
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
      // A check in progress isn't waited for: Kafka may hang.
      void watching?.stop();
      await admin.disconnect();
    },
  };
}

/**
 * Sets a topic's retention, where it differs. Returns what is permanently wrong with its settings,
 * as text; throws transient errors.
 */
async function correctSettings(
  admin: Admin,
  { configEntries: wanted, topic }: Declared,
  settings: TopicSettings | undefined,
  log: Log,
): Promise<string | undefined> {
  if (settings === undefined) return undefined;
  const wrong = KEEP_ALL.filter(({ name, value }) => settings.get(name)?.value !== value);
  if (wrong.length > 0) {
    // A setting that isn't included is reset to the broker's default.
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

/**
 * The prefix of the names of topics and groups. Kafka allows no other characters, and no longer
 * names.
 */
export const Namespace = Type.String({ pattern: "^[a-zA-Z0-9._-]{0,200}$", default: "" });

const BROKER =
  "[^\\s:,]+:0*([1-9]\\d{0,3}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5])";

/** Kafka's addresses: `host:port`, with commas between. */
export const KafkaBrokers = Type.String({
  pattern: `^${BROKER}(,${BROKER})*$`,
  format: "host-ports",
  description: "host:port, with commas between",
  default: "127.0.0.1:9092",
});
