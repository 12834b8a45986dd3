/**
 * How a client of Kafka is set up, and what kafkajs needs around it: to come
 * back from whatever may pass, to finish its work when it is stopped, and to
 * end the process on a bug.
 */
import type { Socket } from "node:net";
import type { Log } from "@lab/runtime/log";
import { without } from "@lab/runtime/protections";
import { cutOff } from "@lab/runtime/service";
import { type Admin, type Consumer, type EachBatchPayload, Kafka, logLevel } from "kafkajs";
import { connectWatched } from "./connection.ts";
import { Hindrance, isBug, rootOf } from "./errors.ts";
import { standingStill } from "./partitions.ts";
import type { Troubles } from "./troubles.ts";

/**
 * A member that was killed is missed after this long, and its partitions stand
 * still until then. The shortest that a broker allows by default.
 */
export const SESSION_TIMEOUT_MS = 6000;
const HEARTBEAT_MS = 1000;

/** How long a consumer goes by the partitions that it knows. */
const METADATA_MAX_AGE_MS = 10_000;

/** How long a stop waits for a Kafka that may be hung. */
const GOODBYE_MS = 3_000;

/** A client for `brokers`, `host:port` with commas between. */
export function createKafka(brokers: string, clientId: string, log: Log): Kafka {
  const sockets = new Set<Socket>();
  let hungUp = false;
  // What is outstanding then fails, as it does when Kafka dies.
  cutOff(GOODBYE_MS, () => {
    hungUp = true;
    // Without an error kafkajs would not notice.
    for (const socket of sockets) socket.destroy(new Error("hung up"));
  });
  return new Kafka({
    clientId,
    brokers: brokers.split(","),
    socketFactory(address) {
      if (hungUp) throw Object.assign(new Error("hung up"), { code: "ECONNABORTED" });
      const socket = connectWatched(address);
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      return socket;
    },
    connectionTimeout: 3000,
    requestTimeout: 10_000,
    enforceRequestTimeout: true,
    // Few: whoever calls tries again by itself, and a stop must not wait for long.
    retry: { initialRetryTime: 100, maxRetryTime: 2000, retries: 4 },
    // Its errors include what is none ("topic exists"); what matters here is
    // told by `watchGroup` and by the calls that fail.
    logLevel: logLevel.WARN,
    logCreator:
      () =>
      ({ log: { message, partition, topic } }) => {
        // What was to be read next has left the log: that is told nowhere else.
        const isLoss = message.startsWith("Offset out of range");
        log[isLoss ? "warn" : "debug"]("broker_says", { reason: message, topic, partition });
      },
  });
}

/**
 * A consumer whose offsets are committed by hand, after the work. A partition of it that can't go on
 * stands still by itself, and is named in `troubles`.
 */
export function createConsumer(kafka: Kafka, groupId: string, troubles: Troubles): Consumer {
  return standingStill(finishingBatches(createMember(kafka, groupId)), troubles);
}

function createMember(kafka: Kafka, groupId: string): Consumer {
  return kafka.consumer({
    groupId,
    sessionTimeout: SESSION_TIMEOUT_MS,
    heartbeatInterval: HEARTBEAT_MS,
    // Small batches are not kept waiting for more.
    minBytes: 1,
    maxWaitTimeInMs: 100,
    allowAutoTopicCreation: false,
    // A topic that is given more partitions is read to its last one.
    metadataMaxAge: METADATA_MAX_AGE_MS,
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
 * kafkajs leaves the group while batches are worked on still: what they have done can't be
 * committed then, and is done again. Here a stop waits for them.
 */
function finishingBatches(consumer: Consumer): Consumer {
  const running = new Set<Promise<void>>();
  let stopping = false;
  const finish = async () => {
    stopping = true;
    await Promise.allSettled(running);
  };
  return {
    ...consumer,
    run({ eachBatch, ...config } = {}) {
      stopping = false;
      return consumer.run({
        ...config,
        async eachBatch(payload) {
          if (stopping) return;
          const isRunning = () => !stopping && payload.isRunning();
          const batch = eachBatch?.({ ...payload, isRunning }) ?? Promise.resolve();
          running.add(batch);
          await batch.finally(() => running.delete(batch));
        },
      });
    },
    // kafkajs joins its group anew when the broker says that it was put out of it or that the group
    // has changed, but here it would wrap that word in an error of its own, and die of it.
    async commitOffsets(offsets) {
      try {
        await consumer.commitOffsets(offsets);
      } catch (error) {
        const { cause, name } = error as Error;
        throw name === "KafkaJSNonRetriableError" && cause ? cause : error;
      }
    },
    async stop() {
      await finish();
      await consumer.stop();
    },
    async disconnect() {
      await finish();
      await consumer.disconnect();
    },
  };
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
    const reason = `group ${groupId} has ${members} members beside this one: stop them`;
    // One that was killed, as this one's earlier self, is missed by then.
    throw new Hindrance(reason, 2 * SESSION_TIMEOUT_MS);
  }
  const member = createMember(kafka, groupId);
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
 * Whether a consumer is a member of its group, as its own events tell. What
 * keeps it out is named in `troubles`, and it tries again; a bug ends the process.
 */
export function watchGroup(consumer: Consumer, log: Log, troubles: Troubles): () => boolean {
  let member = false;
  const { GROUP_JOIN, HEARTBEAT, CRASH, STOP, DISCONNECT } = consumer.events;
  const joined = (is: boolean) => () => {
    if (is !== member) log.info(is ? "broker_connected" : "broker_disconnected");
    member = is;
  };
  for (const event of [GROUP_JOIN, HEARTBEAT] as const) {
    consumer.on(event, joined(true));
  }
  consumer.on(GROUP_JOIN, () => troubles.clear("consumer group"));
  const { run, stop, disconnect } = consumer;
  let leaving = false;
  let again = async () => {};
  let crashedMs = 0;
  consumer.run = (config) => {
    leaving = false;
    again = async () => {
      await consumer.connect();
      if (!leaving) await run(config);
    };
    return run(config);
  };
  // Told to leave while it is on its way back, it must not join again.
  const leave = (way: () => Promise<void>) => () => {
    leaving = true;
    return way();
  };
  consumer.stop = leave(stop);
  consumer.disconnect = leave(disconnect);
  consumer.on(CRASH, ({ payload: { error, restart } }) => {
    if (isBug(error)) return crash(rootOf(error));
    troubles.noteError("consumer group", error);
    if (restart) return;
    // At once, unless it has just come back.
    const pauseMs = Date.now() - crashedMs < RESTLESS_MS ? PAUSE_MS : 0;
    crashedMs = Date.now();
    const comeBack = () => connectPersistently(troubles, () => leaving, again);
    void (pauseMs === 0 ? comeBack() : Bun.sleep(pauseMs).then(comeBack));
  });
  for (const event of [CRASH, STOP, DISCONNECT] as const) {
    consumer.on(event, joined(false));
  }
  return () => member;
}

/**
 * The same work, but a bug in it ends the process: kafkajs would repeat it for
 * ever. The broker's errors, and those of the database that may pass, are repeated.
 */
export function endingOnBugs(
  work: (payload: EachBatchPayload) => Promise<void>,
): (payload: EachBatchPayload) => Promise<void> {
  return async (payload) => {
    try {
      if (without("ack-after-commit")) await commitFirst(payload);
      await work(payload);
    } catch (error) {
      if (isBug(error)) crash(error);
      const { name } = error as Error;
      // Wrapped, "you are no member any more" would end the consumer; as it came, it joins again.
      throw name === "KafkaJSNonRetriableError" ? ((error as Error).cause ?? error) : error;
    }
  };
}

/** Commits a batch that nobody has worked on yet. */
async function commitFirst({ batch, commitOffsetsIfNecessary }: EachBatchPayload): Promise<void> {
  const { partition, topic } = batch;
  const partitions = [{ partition, offset: String(Number(batch.lastOffset()) + 1) }];
  await commitOffsetsIfNecessary({ topics: [{ topic, partitions }] });
}

/** Hands an error to the process' own crash handler. */
function crash(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

/** Between two attempts to come back. */
const PAUSE_MS = 500;
const RESTLESS_MS = 5_000;

/** Tries `connect` until it works or `stopped`: a start does not need the broker. A bug ends the process. */
export async function connectPersistently(
  troubles: Troubles,
  stopped: () => boolean,
  connect: () => Promise<void>,
): Promise<void> {
  while (!stopped()) {
    try {
      await connect();
      troubles.clear("connection");
      return;
    } catch (error) {
      if (isBug(error)) return crash(rootOf(error));
      troubles.noteError("connection", error);
      await Bun.sleep(PAUSE_MS);
    }
  }
}
