/** How a service takes deliveries in batches; one that may have killed a process before is worked on alone. */
import { Batches } from "@lab/runtime/work/batches";
import { type Log, reasonOf } from "@lab/runtime/log";
import { retryTransient } from "@lab/runtime/transient";
import { type Attempts, MAX_DEATHS } from "@lab/store/attempts";
import type { ConfirmChannel, ConsumeMessage } from "amqplib";
import { hasPendingRequeues, requeueLater, routeDeadLetters } from "./client.ts";
import { isBug, type Publisher } from "./publisher.ts";

/**
 * Deliveries outstanding at a consumer. Modest, because a message that crashes
 * its consumer takes all that are outstanding a step towards their limit.
 */
export const PREFETCH = 300;

/** Long for a quorum queue to note acks; it doesn't say when it has. */
const ACKS_NOTED_MS = 300;

/** A consumer that takes deliveries in batches. */
export interface Consumer {
  /** Takes no more, and resolves when what was taken is settled. */
  stop(): Promise<void>;
}

interface ConsumerOptions {
  attempts: Attempts;
  channel: ConfirmChannel;
  /** How many deliveries make a batch at most. */
  limit?: () => number;
  log: Log;
  publisher: Publisher;
  queue: string;
}

type Work = (batch: ConsumeMessage[]) => Promise<void>;

/**
 * Consumes a queue in batches: what arrives while one batch is worked on is
 * the next. `work` acknowledges or rejects each message of its batch itself.
 *
 * A process may have died of what was delivered before: that is a batch of its own. At first it is
 * delivered alone, too, since a crash takes all that are outstanding a step towards their limit.
 */
export async function consumeBatches(options: ConsumerOptions, work: Work): Promise<Consumer> {
  const { channel, limit = () => PREFETCH, publisher, queue } = options;
  const batches = new Batches<ConsumeMessage>(
    (waiting) => {
      const suspect = waiting.findIndex(({ fields }) => fields.redelivered);
      return Math.min(limit(), suspect === -1 ? Infinity : Math.max(1, suspect));
    },
    oneByOne(options, work),
  );
  // The broker takes its deliveries back with the channel.
  channel.on("close", () => batches.clear());
  routeDeadLetters(channel, publisher, queue);
  const consume = async (prefetch: number) => {
    await channel.prefetch(prefetch);
    const onMessage = (message: ConsumeMessage | null) => {
      if (!message) {
        // Cancelled by the broker. Begin again.
        channel.emit("error", new Error(`queue ${queue} was deleted`));
        return void channel.close().catch(() => {});
      }
      batches.push(message);
      // RabbitMQ delivers first what was delivered before: there is no more of it.
      if (prefetch === 1 && !message.fields.redelivered) {
        consuming = widen();
        // The channel is gone, and with it this consumer.
        consuming.catch(() => {});
      }
    };
    const { consumerTag } = await channel.consume(queue, onMessage, { noAck: false });
    return consumerTag;
  };
  // Its only delivery is outstanding: none is on its way that the broker would have to take back.
  const widen = async () => {
    await channel.cancel(await consuming);
    return consume(PREFETCH);
  };
  let consuming = consume(1);
  await consuming;
  return {
    async stop() {
      await consuming.then((tag) => channel.cancel(tag)).catch(() => {});
      await batches.idle();
      // Answered after every ack that was sent before. The close of the connection could overtake
      // the acks, and their messages would be delivered again.
      await channel.checkQueue(queue).catch(() => {});
      if (hasPendingRequeues(channel)) await Bun.sleep(ACKS_NOTED_MS);
    },
  };
}

/**
 * The same work, but a delivery that comes again is counted while it is worked on, and dead-lettered
 * where too many processes have died meanwhile: of a message that kills its process that alone is seen.
 */
function oneByOne({ attempts, channel, log, publisher, queue }: ConsumerOptions, work: Work): Work {
  return async (batch) => {
    const [message] = batch;
    if (!message?.fields.redelivered) return work(batch);
    // By what it says: what kills is its content, and an id may be missing or another's.
    const key = new Bun.CryptoHasher("sha256").update(message.content).digest("hex");
    try {
      if ((await retryTransient(log, async () => attempts.begin(key))) === "try") await work(batch);
      else {
        const reason = "killed_its_consumer";
        const detail = `${MAX_DEATHS} processes died with it alone in their hands`;
        log.warn("message_refused", { message_id: message.properties.messageId, reason, detail });
        await publisher.publishDeadLetter(queue, message, { reason, detail });
        channel.ack(message);
      }
    } catch (error) {
      // The process ends, and the attempt never does.
      if (isBug(error)) throw error;
      return requeueLater(channel, { message }, error, log);
    }
    // Of a dead one too: put back by hand it is tried again.
    await retryTransient(log, async () => attempts.end(key)).catch((error: unknown) => {
      if (isBug(error)) throw error;
      log.warn("store_unavailable", { reason: reasonOf(error) });
    });
  };
}
