/**
 * How a service consumes deliveries in batches; one that may have killed a process before is
 * processed alone.
 */
import { Batches } from "@lab/runtime/work/batches";
import { type Log, reasonOf } from "@lab/runtime/log";
import { retryTransient } from "@lab/runtime/transient";
import { type Attempts, MAX_DEATHS } from "@lab/store/attempts";
import type { ConfirmChannel, ConsumeMessage } from "amqplib";
import { requeueLater, routeDeadLetters } from "./client.ts";
import { isBug, type Publisher } from "./publisher.ts";

/**
 * Outstanding deliveries of a consumer. Moderate, because a message that crashes its consumer
 * brings all outstanding ones a step closer to their limit.
 */
export const PREFETCH = 300;

/**
 * Ample time for a quorum queue to apply acks: it doesn't report when it has, and forgets some of
 * those that it received just before the channel closed (rabbitmq/rabbitmq-server#10327).
 */
const ACKS_NOTED_MS = 300;

/** A consumer that processes deliveries in batches. */
export interface Consumer {
  /** Takes no more deliveries, and resolves when those taken are settled. */
  stop(): Promise<void>;
}

interface ConsumerOptions {
  attempts: Attempts;
  channel: ConfirmChannel;
  /** The largest number of deliveries in a batch. */
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
  // When the channel closes, the broker requeues its deliveries.
  channel.on("close", () => batches.clear());
  routeDeadLetters(channel, publisher, queue);
  const consume = async (prefetch: number) => {
    await channel.prefetch(prefetch);
    const onMessage = (message: ConsumeMessage | null) => {
      if (!message) {
        // Cancelled by the broker. Start again.
        channel.emit("error", new Error(`queue ${queue} was deleted`));
        return void channel.close().catch(() => {});
      }
      batches.push(message);
      // RabbitMQ delivers redelivered messages first: there are no more of them.
      if (prefetch === 1 && !message.fields.redelivered) {
        consuming = widen();
        // The channel is closed, and with it this consumer.
        consuming.catch(() => {});
      }
    };
    const { consumerTag } = await channel.consume(queue, onMessage, { noAck: false });
    return consumerTag;
  };
  // Its only delivery is outstanding: no other is in transit that the broker would have to requeue.
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
      // the acks, and their messages would be redelivered.
      const answered = channel.checkQueue(queue).then(() => Bun.sleep(ACKS_NOTED_MS));
      // Where the channel is closed, the broker has requeued what it had not noted.
      await answered.catch(() => {});
    },
  };
}

/**
 * The same work, but attempts at a redelivered message are counted, and it is dead-lettered where
 * too many processes have died during them: a redelivery is the only trace of a message that kills
 * its process.
 */
function oneByOne({ attempts, channel, log, publisher, queue }: ConsumerOptions, work: Work): Work {
  return async (batch) => {
    const [message] = batch;
    if (!message?.fields.redelivered) return work(batch);
    // Identified by its content, which is what kills the process; an id may be missing or another
    // message's.
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
      // The process ends, and the attempt stays open.
      if (isBug(error)) throw error;
      return requeueLater(channel, { message }, error, log);
    }
    // For a dead-lettered one too: requeued by hand it is tried again.
    await retryTransient(log, async () => attempts.end(key)).catch((error: unknown) => {
      if (isBug(error)) throw error;
      log.warn("store_unavailable", { reason: reasonOf(error) });
    });
  };
}
