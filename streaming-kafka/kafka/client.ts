/** How a client of Kafka is set up, and a consumer that finishes its work when it is stopped. */
import type { Socket } from "node:net";
import type { Log } from "@lab/runtime/log";
import { onStopTimeout } from "@lab/runtime/service";
import { type Consumer, Kafka, logLevel } from "kafkajs";
import { connectWatched } from "./connection.ts";
import { standingStill } from "./partitions.ts";
import type { Troubles } from "./troubles.ts";

// kafkajs sets a timer into the past (tulios/kafkajs#1751), and Bun would print that in the middle of everything.
process.removeAllListeners("warning");

/**
 * A member that was killed is missed after this long, and its partitions stand
 * still until then. The shortest that a broker allows by default.
 */
export const SESSION_TIMEOUT_MS = 6000;
const HEARTBEAT_MS = 1000;

/** How long a consumer goes by the partitions that it knows. */
const METADATA_MAX_AGE_MS = 10_000;

/** How long a stop waits for a Kafka that may be hung. */
const CLOSE_TIMEOUT_MS = 3_000;

/** A client for `brokers`, `host:port` with commas between. */
export function createKafka(brokers: string, clientId: string, log: Log): Kafka {
  const sockets = new Set<Socket>();
  let hungUp = false;
  // What is outstanding then fails, as it does when Kafka dies.
  onStopTimeout(CLOSE_TIMEOUT_MS, () => {
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

/** A consumer as kafkajs makes it, which commits nothing by itself. */
export function createMember(kafka: Kafka, groupId: string): Consumer {
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
