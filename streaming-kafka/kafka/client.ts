/** How a client of Kafka is set up, and a consumer that finishes its work when it is stopped. */
import type { Socket } from "node:net";
import type { Log } from "@lab/runtime/log";
import { onStopTimeout } from "@lab/runtime/service";
import { type Consumer, Kafka, logLevel } from "kafkajs";
import { connectWatched } from "./connection.ts";
import { isolatePartitions } from "./partitions.ts";
import type { Troubles } from "./troubles.ts";

// kafkajs sets a timer with a negative delay (tulios/kafkajs#1751), and Bun would print a warning into the log.
process.removeAllListeners("warning");

/**
 * A killed member is removed from its group after this long, and its partitions are not read until
 * then. The shortest that a broker allows by default.
 */
export const SESSION_TIMEOUT_MS = 6000;
const HEARTBEAT_MS = 1000;
/**
 * How long a fetch waits for records. Each costs some milliseconds of work; but kafkajs sends
 * heartbeats only between them, and a partition that is to be read again waits for the end of the
 * one before.
 */
const FETCH_WAIT_MS = 2000;

/** How long a consumer uses its cached list of partitions. */
const METADATA_MAX_AGE_MS = 10_000;

/** How long a stop waits for a Kafka that may hang. */
const CLOSE_TIMEOUT_MS = 3_000;

/** A client for `brokers`, `host:port` with commas between. */
export function createKafka(brokers: string, clientId: string, log: Log): Kafka {
  const sockets = new Set<Socket>();
  let hungUp = false;
  // Outstanding requests then fail, as they do when Kafka dies.
  onStopTimeout(CLOSE_TIMEOUT_MS, () => {
    hungUp = true;
    // Without an error kafkajs would not detect it.
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
    // kafkajs would look ten times a second, in each connection. Kafka answers in order, so that a
    // connection without an answer is silent, and `connectWatched` closes it.
    enforceRequestTimeout: false,
    // Few: the callers retry by themselves, and a stop must not wait for long.
    retry: { initialRetryTime: 100, maxRetryTime: 2000, retries: 4 },
    // Its error level includes non-errors ("topic exists"); the relevant errors are reported by
    // `watchGroup` and by the failing calls.
    logLevel: logLevel.WARN,
    logCreator:
      () =>
      ({ log: { message, partition, topic } }) => {
        // The next record has been deleted from the log: kafkajs reports that nowhere else.
        const isLoss = message.startsWith("Offset out of range");
        log[isLoss ? "warn" : "debug"]("broker_says", { reason: message, topic, partition });
      },
  });
}

/**
 * A consumer whose offsets are committed by hand, after the work. A partition that can't progress
 * is paused without the others, and is named in `troubles`.
 */
export function createConsumer(kafka: Kafka, groupId: string, troubles: Troubles): Consumer {
  return isolatePartitions(finishingBatches(createMember(kafka, groupId)), troubles);
}

/**
 * A consumer as kafkajs makes it, which commits nothing by itself. A record is fetched as soon as it
 * is there; where there is none, a fetch waits for `maxWaitMs`.
 */
export function createMember(kafka: Kafka, groupId: string, maxWaitMs = FETCH_WAIT_MS): Consumer {
  return kafka.consumer({
    groupId,
    sessionTimeout: SESSION_TIMEOUT_MS,
    heartbeatInterval: HEARTBEAT_MS,
    minBytes: 1,
    maxWaitTimeInMs: maxWaitMs,
    allowAutoTopicCreation: false,
    // When a topic gets more partitions, those are read too.
    metadataMaxAge: METADATA_MAX_AGE_MS,
    retry: {
      initialRetryTime: 100,
      maxRetryTime: 2000,
      // After a retriable error it continues from its last commit. For other errors kafkajs does
      // not call this; see `watchGroup`.
      restartOnFailure: async () => true,
    },
  });
}

/**
 * kafkajs leaves the group while batches are still being processed: their work can't be committed
 * then, and is repeated. Here a stop waits for them.
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
    // kafkajs rejoins its group when the broker reports a rebalance or that it is no longer a
    // member, but from this call it wraps that error in one of its own, which ends the consumer.
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
