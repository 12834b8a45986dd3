/**
 * How a client of RabbitMQ takes deliveries in batches, acknowledges them, puts
 * them back and gives them up.
 */
import type { LabEvent } from "@lab/contracts/events";
import { Batches } from "@lab/runtime/batches";
import { type Log, reasonOf } from "@lab/runtime/log";
import { without } from "@lab/runtime/protections";
import { Type } from "@sinclair/typebox";
import type { Channel, ConfirmChannel, ConsumeMessage } from "amqplib";
import { type Death, isBrokers, type Publisher } from "./publisher.ts";
import { DELIVERY_LIMIT } from "./topology.ts";

/** Where RabbitMQ is, with user and password if it wants one. */
export const AmqpUrl = Type.String({
  pattern: "^amqps?://[^\\s]+$",
  default: "amqp://127.0.0.1:5672",
});

/**
 * Deliveries outstanding at a consumer. Modest, because a message that crashes
 * its consumer takes all that are outstanding a step towards their limit.
 */
export const PREFETCH = 300;

/** A message that met its contract, and what it says. */
export interface Delivery<E extends LabEvent> {
  message: ConsumeMessage;
  event: E;
}

/** A consumer that takes deliveries in batches. */
export interface Consumer {
  /** Takes no more, and resolves when what was taken is settled. */
  stop(): Promise<void>;
}

/** Long for a quorum queue to note acks; it doesn't say when it has. */
const NOTED_MS = 300;

/**
 * Consumes a queue in batches: what arrives while one batch is worked on is
 * the next. `work` acknowledges or rejects each message of its batch itself.
 *
 * A process may have died of what was delivered before: that is a batch of its own. At first it is
 * delivered alone, too, since a crash takes all that are outstanding a step towards their limit.
 */
export async function consumeBatches(
  channel: ConfirmChannel,
  publisher: Publisher,
  queue: string,
  limit: () => number,
  work: (batch: ConsumeMessage[]) => Promise<void>,
): Promise<Consumer> {
  const batches = new Batches<ConsumeMessage>((waiting) => {
    const suspect = waiting.findIndex(({ fields }) => fields.redelivered);
    return Math.min(limit(), suspect === -1 ? Infinity : Math.max(1, suspect));
  }, work);
  // The broker takes its deliveries back with the channel.
  channel.on("close", () => batches.clear());
  const onArrival = without("ack-after-commit");
  // RabbitMQ counts it as acknowledged, and would end the channel over a second time.
  if (onArrival) Object.assign(channel, { ack() {}, reject() {} });
  graves.set(channel, { publisher, queue });
  const consume = async (prefetch: number) => {
    await channel.prefetch(prefetch);
    const { consumerTag } = await channel.consume(
      queue,
      (message) => {
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
      },
      { noAck: onArrival },
    );
    return consumerTag;
  };
  // Its only delivery is outstanding: none is on its way that the broker would have to take back.
  const widen = async () => {
    await channel.cancel(await consuming);
    return consume(PREFETCH);
  };
  let consuming = consume(onArrival ? PREFETCH : 1);
  await consuming;
  return {
    async stop() {
      await consuming.then((tag) => channel.cancel(tag)).catch(() => {});
      await batches.idle();
      // Answered after every ack that was sent before. The close of the connection could overtake
      // the acks, and their messages would be delivered again.
      await channel.checkQueue(queue).catch(() => {});
      if (waitingToGoBack.get(channel)) await Bun.sleep(NOTED_MS);
    },
  };
}

/**
 * Acknowledges a batch's work, with one multiple-ack unless other deliveries of the channel wait to be
 * requeued. Of single acks RabbitMQ's channel keeps back what goes beyond 32 that a quorum queue has
 * yet to note (the soft limit of rabbit_fifo_client.erl), and forgets them when it closes: the stop of
 * a busy consumer would have its work delivered again.
 */
export function acknowledge(channel: Channel, work: readonly Delivery<LabEvent>[]): void {
  for (const { event } of work) failures.delete(event.id);
  // "All up to this one" would take those along that wait to be put back.
  const othersWait = waitingToGoBack.get(channel) && !without("ack-own-work");
  if (othersWait) for (const { message } of work) channel.ack(message);
  else channel.ack(work.at(-1)!.message, true);
}

/** How many deliveries of a channel. */
const waitingToGoBack = new WeakMap<Channel, number>();

/** Where a channel's dead letters go, and by whom. */
const graves = new WeakMap<Channel, { publisher: Publisher; queue: string }>();

const RETRY_PAUSE_MS = 100;

/** How often work on a message has failed here, by its id; forgotten when it is done or dead. */
const failures = new Map<string, number>();
/** More are never remembered: some are done elsewhere, by another process. */
const MOST_FAILURES = 10_000;

/**
 * Puts a message back after a pause that doubles with each failure; after the last attempt that it
 * is allowed, it is dead. The failures are counted here: RabbitMQ counts every delivery, a look at
 * the message in its management page among them, and each that a lost connection took back.
 */
export function requeueLater(
  channel: Channel,
  { event, message }: { event?: LabEvent; message: ConsumeMessage },
  error: unknown,
  log: Log,
): void {
  // The channel is gone, and the broker took the message back with it: that is no failure of the message.
  if (isBrokers(error)) return;
  const id = event?.id ?? String(message.properties.messageId);
  const attempt = 1 + (failures.get(id) ?? 0);
  failures.set(id, attempt);
  if (failures.size > MOST_FAILURES) failures.delete([...failures.keys()][0]!);
  const reason = reasonOf(error);
  log.warn("message_retried", { order_id: event?.subject, attempt, reason });
  if (attempt > DELIVERY_LIMIT && !without("delivery-limit")) {
    failures.delete(id);
    const detail = `failed at each of ${attempt} attempts, at last with ${reason}`;
    void bury(channel, message, { reason: "failed_too_often", detail }, attempt);
    return;
  }
  const pauseMs = RETRY_PAUSE_MS * 2 ** Math.min(attempt - 1, 5);
  countWaiting(channel, +1);
  setTimeout(() => {
    countWaiting(channel, -1);
    try {
      channel.reject(message, true);
    } catch {
      // The channel is gone, and the broker took the message back with it.
    }
  }, pauseMs).unref();
}

/**
 * Gives up a message that can never be valid: RabbitMQ moves it to the dead queue. A message whose
 * `x-death` RabbitMQ hasn't written would end its dead-lettering of every queue until it is started
 * again (seen with 3.10): that one is put there from here.
 */
export async function giveUp(channel: Channel, message: ConsumeMessage): Promise<void> {
  const deaths: unknown = message.properties.headers?.["x-death"];
  if (Array.isArray(deaths) && !deaths.every(isDeath)) await bury(channel, message);
  else channel.reject(message, false);
}

function isDeath(one: unknown): boolean {
  const { count, queue, reason } = Object(one) as Record<string, unknown>;
  return typeof queue === "string" && typeof reason === "string" && Number.isInteger(count);
}

async function bury(
  channel: Channel,
  message: ConsumeMessage,
  why?: Death,
  attempts?: number,
): Promise<void> {
  const { publisher, queue } = graves.get(channel)!;
  countWaiting(channel, +1);
  try {
    await publisher.bury(queue, message, why, attempts);
    channel.ack(message);
  } catch (error) {
    // Else the channel is gone, and the broker took the message back with it.
    if (!isBrokers(error)) throw error;
  } finally {
    countWaiting(channel, -1);
  }
}

function countWaiting(channel: Channel, more: number): void {
  waitingToGoBack.set(channel, (waitingToGoBack.get(channel) ?? 0) + more);
}
