/**
 * What the three services agree on: topics, keys, consumer groups, and how a
 * client is set up.
 */
import { SQLiteError } from "bun:sqlite";
import { Problem } from "@lab/contracts/problem";
import { type Log, reasonOf } from "@lab/runtime/log";
import { Type } from "@sinclair/typebox";
import {
  type Admin,
  type Consumer,
  type EachBatchPayload,
  Kafka,
  logLevel,
  Partitioners,
} from "kafkajs";

/**
 * Both topics have as many, so the same kitchen has the same partition number
 * in both.
 */
export const PARTITIONS = 6;

/**
 * A member that was killed is missed after this long, and its partitions stand
 * still until then. The shortest that a broker allows by default.
 */
export const SESSION_TIMEOUT_MS = 6000;
const HEARTBEAT_MS = 1000;

/** Records sent at once. */
export const SEND_BATCH = 1000;

/** The names, each behind `namespace`, so that two labs can share a broker. */
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
      { topic: names.deadLetters, numPartitions: 1 },
    ],
  });
}

/** Where Kafka is: `host:port`, with commas between. */
export const KafkaBrokers = Type.String({
  pattern: "^[^\\s:,]+:\\d+(,[^\\s:,]+:\\d+)*$",
  default: "127.0.0.1:9092",
});

/** A client for `brokers`, `host:port` with commas between. */
export function createKafka(brokers: string, clientId: string, log: Log): Kafka {
  return new Kafka({
    clientId,
    brokers: brokers.split(","),
    connectionTimeout: 3000,
    requestTimeout: 10_000,
    enforceRequestTimeout: true,
    // Few: whoever calls tries again by itself, and a stop must not wait for long.
    retry: { initialRetryTime: 100, maxRetryTime: 2000, retries: 4 },
    // Its errors include what is none ("topic exists"); what matters here is
    // told by `watchGroup` and by the calls that fail.
    logLevel: logLevel.WARN,
    logCreator: () => (entry) => log.debug("broker_says", { reason: entry.log.message }),
  });
}

/**
 * The producer of every service here. Not kafkajs' idempotent one: after a lost
 * reply that one keeps a sequence number which the broker refuses from then on,
 * and nothing is sent any more. A retry that is written twice carries the same
 * event id, and every reader here knows it by that.
 */
export function createProducer(kafka: Kafka) {
  return kafka.producer({
    createPartitioner: Partitioners.DefaultPartitioner,
    allowAutoTopicCreation: false,
    idempotent: false,
    maxInFlightRequests: 1,
  });
}

/** A consumer whose offsets are committed by hand, after the work. */
export function createConsumer(kafka: Kafka, groupId: string) {
  return kafka.consumer({
    groupId,
    sessionTimeout: SESSION_TIMEOUT_MS,
    heartbeatInterval: HEARTBEAT_MS,
    // Small batches are not kept waiting for more.
    minBytes: 1,
    maxWaitTimeInMs: 100,
    allowAutoTopicCreation: false,
    retry: {
      initialRetryTime: 100,
      maxRetryTime: 2000,
      // What may pass, passes: it reads on from its last commit. For what may not
      // kafkajs does not ask; see `watchGroup`.
      restartOnFailure: async () => true,
    },
  });
}

/**
 * Sets the offsets of a group that has no members; throws where it has some,
 * as Kafka's own tools do. kafkajs has `setOffsets` for this, but that waits
 * out a fetch of 5 s for each topic.
 */
export async function setGroupOffsets(
  kafka: Kafka,
  admin: Admin,
  groupId: string,
  offsets: { topic: string; partition: number; offset: string }[],
): Promise<void> {
  const { groups } = await admin.describeGroups([groupId]);
  const members = groups[0]?.members.length ?? 0;
  if (members > 0) {
    throw new Error(`group ${groupId} has ${members} members: stop them first`);
  }
  const member = createConsumer(kafka, groupId);
  const joined = new Promise((resolve) => {
    member.on(member.events.GROUP_JOIN, resolve);
  });
  const names = [...new Set(offsets.map(({ topic }) => topic))];
  await member.connect();
  try {
    await member.subscribe({ topics: names, fromBeginning: true });
    await member.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: async () => {},
    });
    member.pause(names.map((topic) => ({ topic })));
    await joined;
    await member.commitOffsets(offsets);
  } finally {
    await member.disconnect();
  }
}

/**
 * Whether a consumer is a member of its group, as its own events tell. A crash
 * that kafkajs does not come back from ends the process.
 */
export function watchGroup(consumer: Consumer, log: Log): () => boolean {
  let member = false;
  const { GROUP_JOIN, HEARTBEAT, CRASH, STOP, DISCONNECT } = consumer.events;
  const joined = (is: boolean) => () => {
    if (is !== member) log.info(is ? "broker_connected" : "broker_disconnected");
    member = is;
  };
  for (const event of [GROUP_JOIN, HEARTBEAT] as const) {
    consumer.on(event, joined(true));
  }
  consumer.on(CRASH, ({ payload }) => {
    if (!payload.restart) crash(payload.error);
  });
  for (const event of [CRASH, STOP, DISCONNECT] as const) {
    consumer.on(event, joined(false));
  }
  return () => member;
}

/**
 * The same work, but a bug in it ends the process: kafkajs would repeat it for
 * ever. The broker's errors and the database's may pass, and are repeated.
 */
export function endingOnBugs(
  work: (payload: EachBatchPayload) => Promise<void>,
): (payload: EachBatchPayload) => Promise<void> {
  return async (payload) => {
    try {
      await work(payload);
    } catch (error) {
      const { name } = error as Error;
      const mayPass = error instanceof SQLiteError || error instanceof Problem;
      if (!mayPass && !name.startsWith("KafkaJS")) crash(error);
      throw error;
    }
  };
}

/** Hands an error to the process' own crash handler. */
function crash(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

/** Tries `connect` until it works or `stopped`: a start does not need the broker. */
export async function connectPersistently(
  log: Log,
  stopped: () => boolean,
  connect: () => Promise<void>,
): Promise<void> {
  while (!stopped()) {
    try {
      await connect();
      return;
    } catch (error) {
      log.warn("broker_disconnected", { reason: reasonOf(error) });
      await Bun.sleep(500);
    }
  }
}
