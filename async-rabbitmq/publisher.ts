/**
 * How a client of RabbitMQ publishes: with confirms, and each event that wasn't stored in a queue
 * is reported.
 */
import { CONTENT_TYPE, type LabEvent } from "@lab/contracts/events";
import { type Owed, owed } from "@lab/runtime/health";
import type { Log } from "@lab/runtime/log";
import { inSpan } from "@lab/runtime/trace";
import { isTransient } from "@lab/runtime/transient";
import { Backoff } from "@lab/runtime/work/backoff";
import type { Outbox, OutboxRow } from "@lab/store/outbox";
import {
  type ConfirmChannel,
  type ConsumeMessage,
  IllegalOperationError,
  type Options,
} from "amqplib";
import { deadQueue, ROUTING_KEYS } from "./topology.ts";

/** RabbitMQ has not confirmed the message: it may have stored it, or not. */
class Unconfirmed extends Error {}

/** Whether it is RabbitMQ's error: an unconfirmed message, or what a closed channel throws. */
export function isBrokerError(error: unknown): boolean {
  return error instanceof Unconfirmed || error instanceof IllegalOperationError;
}

/**
 * Whether neither RabbitMQ nor the database caused the error. With retries, a bug would cause the
 * good messages of its batch to be dead-lettered too.
 */
export function isBug(error: unknown): boolean {
  return !isBrokerError(error) && !isTransient(error);
}

/** Why a consumer dead-letters a message. */
export interface Death {
  reason: "failed_too_often" | "id_reused" | "killed_its_consumer";
  detail: string;
}

/** The pause between two attempts to publish what RabbitMQ doesn't accept. */
const RETRY_MS = 500;

/** Publishes on one channel; each message is settled by the broker's confirm. */
export class Publisher {
  readonly #channel: ConfirmChannel;
  readonly #exchange: string;
  readonly #log: Log;
  readonly #returned: unknown[] = [];
  /** When each unconfirmed message was published, oldest first. */
  readonly #waiting = new Map<symbol, number>();
  /** By routing key: why the last message wasn't stored, if it wasn't. */
  readonly #refusals = new Map<string, string>();
  #open = true;

  constructor(channel: ConfirmChannel, exchange: string, log: Log) {
    this.#channel = channel;
    this.#exchange = exchange;
    this.#log = log;
    // An unroutable message is returned, and then still confirmed.
    channel.on("return", (message) => this.#returned.push(message.properties.messageId));
    channel.on("close", () => (this.#open = false));
  }

  /** The messages that were published and are not confirmed. */
  unconfirmed(): Owed {
    const [oldest] = this.#waiting.values();
    return owed(this.#waiting.size, oldest);
  }

  /** The routing keys whose last message RabbitMQ didn't accept, and why. */
  refusals(): string[] {
    return [...this.#refusals].map(([key, reason]) => `RabbitMQ doesn't take ${key}: ${reason}`);
  }

  /**
   * Publishes an encoded event. Resolves once the broker has stored it in a queue. Rejects when it
   * was returned, refused, or the channel closed: then it may be stored or not.
   */
  publish(body: string): Promise<void> {
    return this.#sendEvent(body, undefined, (send) => send());
  }

  /**
   * The same for the answer to `cause`, retried until the broker has stored it: rejects only when
   * the channel closed. For a consumer, whose messages wait in the queue meanwhile: if such failures
   * counted as attempts, healthy messages would be dead-lettered.
   */
  publishUntilStored(body: string, cause: LabEvent): Promise<void> {
    return this.#sendEvent(body, cause, (send) => this.#untilStored(send));
  }

  /** A repeated answer has the `traceparent` of its first cause: it is sent because of this one. */
  #sendEvent(
    body: string,
    cause: LabEvent | undefined,
    how: (send: () => Promise<void>) => Promise<void>,
  ): Promise<void> {
    const event = JSON.parse(body) as LabEvent;
    const { id, subject, type } = event;
    const key = ROUTING_KEYS[type];
    const describe = () => {
      const destination = `${this.#exchange}:${key}`;
      const attributes = {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "send",
        "messaging.destination.name": destination,
        "messaging.rabbitmq.destination.routing_key": key,
        "messaging.message.id": id,
      };
      return {
        kind: "producer",
        name: `send ${destination}`,
        orderId: subject,
        attributes,
      } as const;
    };
    return inSpan(this.#log, (cause ?? event).traceparent, describe, (traceparent) => {
      const properties = { messageId: id, contentType: CONTENT_TYPE, headers: { traceparent } };
      return how(() => this.#send(this.#exchange, key, Buffer.from(body), properties));
    });
  }

  /**
   * Publishes a delivery to the dead queue of its queue, whole and with the reason, which a
   * `reject` can't carry. Resolves once it is stored: then the delivery is to be acknowledged.
   */
  async publishDeadLetter(
    queue: string,
    message: ConsumeMessage,
    why?: Death,
    attempts = attemptOf(message),
  ): Promise<void> {
    const { content, properties } = message;
    // It must not expire there, be routed to other queues too, or be refused because of another
    // user's id.
    const { CC: _, BCC: __, ...headers } = properties.headers ?? {};
    const { expiration: ___, userId: ____, ...kept } = properties;
    const died = {
      ...(why && { "dead-reason": why.reason, "dead-detail": why.detail }),
      "dead-at": new Date().toISOString(),
      "dead-attempts": attempts,
    };
    const put = (all: Options.Publish) =>
      this.#untilStored(() => this.#send("", deadQueue(queue), content, all));
    // Other programs write what amqplib can read and can't write: more headers than fit its buffer,
    // a time that is too large, a table with the key "!", an id that isn't UTF-8.
    for (const own of [headers, {}]) {
      try {
        return await put({ ...kept, headers: { ...own, ...died } });
      } catch (error) {
        if (isBrokerError(error)) throw error;
      }
    }
    await put({ headers: died });
  }

  async #untilStored(send: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        return await send();
      } catch (error) {
        if (!this.#open || !isBrokerError(error)) throw error;
        await Bun.sleep(RETRY_MS);
      }
    }
  }

  #send(exchange: string, key: string, body: Buffer, properties: Options.Publish): Promise<void> {
    const { messageId } = properties;
    const one = Symbol(key);
    return new Promise((resolve, reject) => {
      const settle = (error: unknown) => {
        this.#waiting.delete(one);
        const returned = this.#returned.indexOf(messageId);
        if (returned >= 0) this.#returned.splice(returned, 1);
        const noQueue = returned >= 0 ? `no queue for ${key}` : undefined;
        const reason = error ? (error as Error).message : noQueue;
        if (reason === undefined) {
          this.#refusals.delete(key);
          resolve();
        } else {
          // It is retried repeatedly: logged when the reason changes.
          if (this.#refusals.get(key) !== reason) this.#log.warn("call_failed", { key, reason });
          this.#refusals.set(key, reason);
          reject(new Unconfirmed(reason));
        }
      };
      const options = { mandatory: true, persistent: true };
      this.#channel.publish(exchange, key, body, { ...properties, ...options }, settle);
      this.#waiting.set(one, Date.now());
    });
  }
}

/** The number of this delivery of the message, from 1, as the broker counts. */
function attemptOf({ properties }: ConsumeMessage): number {
  const count: unknown = properties.headers?.["x-delivery-count"];
  // Converting an untrusted table may throw, since it may have a key `toString`.
  return 1 + (typeof count === "number" ? count : 0);
}

/** Events published at once, each confirmed on its own. */
const PUBLISH_BATCH = 500;
/** An event that closes its channel disturbs all others: it is tried only this often. */
const CHANNEL_KILLER_PAUSE_MS = 60_000;

/**
 * Selects the events of an outbox to publish next. A refused event waits longer each time, without
 * delaying the others. One because of which RabbitMQ closes the channel, such as one that is too
 * large, fails all that were published with it: then half as many are tried, until it is alone.
 */
export class Pace {
  #limit = PUBLISH_BATCH;
  readonly #refused: Backoff<number>;

  constructor(retryEveryMs: number) {
    this.#refused = new Backoff(retryEveryMs);
  }

  /** Whether no event is refused. */
  get isEmpty(): boolean {
    return this.#refused.isEmpty;
  }

  next(outbox: Outbox): OutboxRow[] {
    return outbox.unsent(this.#limit, this.#refused.waiting());
  }

  /** Records the results of publishing these events. */
  note(sent: readonly OutboxRow[], refused: readonly OutboxRow[], channelEnded: boolean): void {
    for (const { seq } of sent) this.#refused.done(seq);
    const tried = sent.length + refused.length;
    this.#limit = channelEnded ? Math.ceil(tried / 2) : Math.min(PUBLISH_BATCH, this.#limit * 2);
    // Among several it isn't known which event caused it.
    if (channelEnded && tried > 1) return;
    for (const { seq } of refused)
      this.#refused.failed(seq, channelEnded ? CHANNEL_KILLER_PAUSE_MS : undefined);
  }
}
