/**
 * How a client of RabbitMQ keeps its connection, publishes, takes deliveries in
 * batches, acknowledges them and puts them back.
 */
import type { Socket } from "node:net";
import { CONTENT_TYPE, type LabEvent } from "@lab/contracts/events";
import { Backoff } from "@lab/runtime/backoff";
import { Batches } from "@lab/runtime/batches";
import { type Log, reasonOf } from "@lab/runtime/log";
import { mayPass } from "@lab/runtime/patience";
import { without } from "@lab/runtime/protections";
import { cutOff } from "@lab/runtime/service";
import type { Outbox, OutboxRow } from "@lab/store/outbox";
import { Type } from "@sinclair/typebox";
import {
  type Channel,
  type ChannelModel,
  type ConfirmChannel,
  connect,
  type ConsumeMessage,
  IllegalOperationError,
  type Options,
} from "amqplib";
import { deadQueue, declareTopology, ROUTING_KEYS, type Topology } from "./topology.ts";

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

/** A connection that comes back by itself. */
export interface Broker {
  connected(): boolean;
  close(): Promise<void>;
}

/** How long a stop waits for a RabbitMQ that may be hung. */
const GOODBYE_MS = 4_000;

/** A connection that lived for so long was a good one. */
const GOOD_AFTER_MS = 10_000;
/** Most that a new one is watched before anything is delivered over it. */
const WATCHED_MS = 2_000;

/**
 * A cut counts as a delivery of all that is outstanding: over a line that is cut
 * every tenth of a second good messages would reach their limit within one. So
 * with each cut in a row a new connection has to live for longer before it is used.
 */
function caution() {
  let pauseMs = 0;
  let usedSince = -Infinity;
  return async () => {
    const good = performance.now() - usedSince > GOOD_AFTER_MS;
    pauseMs = good ? 0 : Math.min(WATCHED_MS, Math.max(100, pauseMs * 2));
    await Bun.sleep(pauseMs);
    usedSince = performance.now();
  };
}

/**
 * Connects, now or as soon as the broker is there, and again whenever the
 * connection is lost; each time `setup` gets a fresh channel with the topology
 * declared. Channels die with their connection, so keep none across `setup`.
 */
export async function connectBroker(options: {
  url: string;
  names: Topology;
  log: Log;
  setup: (channel: ConfirmChannel) => Promise<void>;
}): Promise<Broker> {
  const { url, names, log, setup } = options;
  let connected = false;
  const watched = caution();
  const note = (error: unknown) => log.warn("broker_disconnected", { reason: reasonOf(error) });
  let hangUp = () => {};
  // Its outstanding confirms and closes then fail, as they do when RabbitMQ dies.
  cutOff(GOODBYE_MS, () => hangUp());
  const address = new URL(url);
  // A broker that went silent is noticed after two of these, in seconds.
  address.searchParams.set("heartbeat", "10");
  const connection = await connect(address.href, {
    timeout: 5000,
    recovery: {
      initialDelay: 100,
      maxDelay: 2000,
      factor: 2,
      jitter: 0.2,
      maxRetries: Infinity,
      // Orders are accepted while the broker is down, so a start goes on too.
      waitForConnect: false,
      async setup(model: ChannelModel) {
        const { stream } = model.connection as unknown as { stream: Socket };
        hangUp = () => void stream.destroy();
        model.on("error", note);
        const channel = await model.createConfirmChannel();
        channel.on("error", note);
        // A channel that dies alone (406, a deleted queue) takes its connection
        // along: one way to recover is enough.
        channel.on("close", () => void model.close().catch(() => {}));
        await declareTopology(channel, names);
        await watched();
        await setup(channel);
      },
    },
  });
  connection.on("connect", () => {
    connected = true;
    log.info("broker_connected");
  });
  connection.on("disconnect", (error) => {
    connected = false;
    note(error);
  });
  connection.on("connect-failed", note);
  connection.on("error", note);
  return { connected: () => connected, close: () => connection.close() };
}

/** RabbitMQ has not said that it stored the message: it may have, or not. */
class Unconfirmed extends Error {}

/** Whether neither RabbitMQ nor the database is to blame. Tried again, a bug would take the good messages of its batch along until they are dead. */
export function isBug(error: unknown): boolean {
  // The latter is what a closed channel throws.
  const brokers = error instanceof Unconfirmed || error instanceof IllegalOperationError;
  return !brokers && !mayPass(error);
}

/** Why a message is dead, where its consumer says so. */
type DeadReason = "id_reused" | "killed_its_consumer";

/** Publishes on one channel; each message is settled by the broker's word. */
export class Publisher {
  readonly #channel: ConfirmChannel;
  readonly #exchange: string;
  readonly #returned: unknown[] = [];

  constructor(channel: ConfirmChannel, exchange: string) {
    this.#channel = channel;
    this.#exchange = exchange;
    // An unroutable message is returned, and then confirmed all the same.
    channel.on("return", (message) => this.#returned.push(message.properties.messageId));
  }

  /**
   * Publishes an encoded event. Resolves once the broker has stored it in a queue. Rejects when it
   * was returned, refused, or the channel closed: then it may be stored or not.
   */
  publish(body: string): Promise<void> {
    const { id, type } = JSON.parse(body) as LabEvent;
    const properties = { messageId: id, contentType: CONTENT_TYPE };
    return this.#send(this.#exchange, ROUTING_KEYS[type], Buffer.from(body), properties);
  }

  /**
   * Puts a delivery among the dead letters of its queue, whole and with the reason, which a `reject`
   * can't say. Resolves once it lies there: then it is to be acknowledged.
   */
  bury(
    queue: string,
    message: ConsumeMessage,
    { reason, detail }: { reason: DeadReason; detail: string },
  ): Promise<void> {
    const { content, properties } = message;
    // It shall neither expire there, nor go to others too, nor be refused as another user's.
    const { CC: _, BCC: __, ...headers } = properties.headers ?? {};
    const { expiration: ___, userId: ____, ...kept } = properties;
    const died = {
      "dead-reason": reason,
      "dead-detail": detail,
      "dead-at": new Date().toISOString(),
      "dead-attempts": attemptOf(message),
    };
    return this.#send("", deadQueue(queue), content, { ...kept, headers: { ...headers, ...died } });
  }

  #send(exchange: string, key: string, body: Buffer, properties: Options.Publish): Promise<void> {
    const { messageId } = properties;
    return new Promise((resolve, reject) => {
      const settle = (error: unknown) => {
        const returned = this.#returned.indexOf(messageId);
        if (error) reject(new Unconfirmed((error as Error).message));
        else if (returned >= 0) {
          this.#returned.splice(returned, 1);
          reject(new Unconfirmed(`no queue for ${key}`));
        } else resolve();
      };
      const options = { mandatory: !without("mandatory"), persistent: !without("durable-queue") };
      this.#channel.publish(exchange, key, body, { ...properties, ...options }, settle);
      if (without("confirms")) resolve();
    });
  }
}

/** Events published at once, each confirmed on its own. */
const PUBLISH_BATCH = 500;
/** An event that ends its channel disturbs all others: it is tried once in so long. */
const DEADLY_PAUSE_MS = 60_000;

/**
 * What of an outbox is published next. An event that is refused waits longer each time, and the
 * others go on. One over which RabbitMQ ends the channel, as for its size, fails all that were
 * published with it: then half as many are tried, until it is alone.
 */
export class Pace {
  #limit = PUBLISH_BATCH;
  readonly #refused: Backoff<number>;

  constructor(retryEveryMs: number) {
    this.#refused = new Backoff(retryEveryMs);
  }

  next(outbox: Outbox): OutboxRow[] {
    return outbox.unsent(this.#limit, this.#refused.waiting());
  }

  /** Notes how the publishing of these events has ended. */
  note(sent: readonly OutboxRow[], refused: readonly OutboxRow[], channelEnded: boolean): void {
    for (const { seq } of sent) this.#refused.done(seq);
    const tried = sent.length + refused.length;
    this.#limit = channelEnded ? Math.ceil(tried / 2) : Math.min(PUBLISH_BATCH, this.#limit * 2);
    // Whose fault it is can't be told while it isn't alone.
    if (channelEnded && tried > 1) return;
    for (const { seq } of refused)
      this.#refused.failed(seq, channelEnded ? DEADLY_PAUSE_MS : undefined);
  }
}

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
  const consume = async (prefetch: number) => {
    await channel.prefetch(prefetch);
    const { consumerTag } = await channel.consume(
      queue,
      (message) => {
        // Cancelled by the broker: the queue was deleted. Begin again.
        if (!message) return void channel.close().catch(() => {});
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
  // "All up to this one" would take those along that wait to be put back.
  const othersWait = waitingToGoBack.get(channel) && !without("ack-own-work");
  if (othersWait) for (const { message } of work) channel.ack(message);
  else channel.ack(work.at(-1)!.message, true);
}

/** How many deliveries of a channel. */
const waitingToGoBack = new WeakMap<Channel, number>();

const RETRY_PAUSE_MS = 100;

/**
 * Puts a message back after a pause that doubles with each delivery. `reject`,
 * not `nack`: on every broker version it counts towards the delivery limit,
 * after which the message is dead.
 */
export function requeueLater(
  channel: Channel,
  { event, message }: Delivery<LabEvent>,
  error: unknown,
  log: Log,
): void {
  const attempt = attemptOf(message);
  log.warn("message_retried", { order_id: event.subject, attempt, reason: reasonOf(error) });
  const pauseMs = RETRY_PAUSE_MS * 2 ** Math.min(attempt - 1, 5);
  const count = (more: number) =>
    waitingToGoBack.set(channel, (waitingToGoBack.get(channel) ?? 0) + more);
  count(+1);
  setTimeout(() => {
    count(-1);
    try {
      channel.reject(message, true);
    } catch {
      // The channel is gone, and the broker took the message back with it.
    }
  }, pauseMs).unref();
}

/** Which delivery of the message this is, from 1, as the broker counts. */
function attemptOf({ properties }: ConsumeMessage): number {
  return 1 + (Number(properties.headers?.["x-delivery-count"]) || 0);
}
