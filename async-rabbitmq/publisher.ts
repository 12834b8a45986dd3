/** How a client of RabbitMQ publishes: each event until it is stored in a queue, and what isn't is known. */
import { CONTENT_TYPE, type LabEvent } from "@lab/contracts/events";
import { type Owed, owed } from "@lab/runtime/health";
import type { Log } from "@lab/runtime/log";
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

/** RabbitMQ has not said that it stored the message: it may have, or not. */
class Unconfirmed extends Error {}

/** Whether it is RabbitMQ's: not confirmed, or what a closed channel throws. */
export function isBrokers(error: unknown): boolean {
  return error instanceof Unconfirmed || error instanceof IllegalOperationError;
}

/** Whether neither RabbitMQ nor the database is to blame. Tried again, a bug would take the good messages of its batch along until they are dead. */
export function isBug(error: unknown): boolean {
  return !isBrokers(error) && !isTransient(error);
}

/** Why a message is dead, where its consumer says so. */
export interface Death {
  reason: "failed_too_often" | "id_reused" | "killed_its_consumer";
  detail: string;
}

/** Between two attempts at what RabbitMQ doesn't take. */
const AGAIN_MS = 500;

/** Publishes on one channel; each message is settled by the broker's word. */
export class Publisher {
  readonly #channel: ConfirmChannel;
  readonly #exchange: string;
  readonly #log: Log;
  readonly #returned: unknown[] = [];
  /** When each was published that is not confirmed, the oldest first. */
  readonly #waiting = new Map<symbol, number>();
  /** By routing key: what became of the last message, where it wasn't stored. */
  readonly #refusals = new Map<string, string>();
  #open = true;

  constructor(channel: ConfirmChannel, exchange: string, log: Log) {
    this.#channel = channel;
    this.#exchange = exchange;
    this.#log = log;
    // An unroutable message is returned, and then confirmed all the same.
    channel.on("return", (message) => this.#returned.push(message.properties.messageId));
    channel.on("close", () => (this.#open = false));
  }

  /** What it has published and RabbitMQ has not confirmed. */
  unconfirmed(): Owed {
    const [oldest] = this.#waiting.values();
    return owed(this.#waiting.size, oldest);
  }

  /** What RabbitMQ doesn't take at present, and why. */
  refusals(): string[] {
    return [...this.#refusals].map(([key, reason]) => `RabbitMQ doesn't take ${key}: ${reason}`);
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
   * The same, tried until the broker has stored it: rejects only when the channel closed. For a
   * consumer, whose messages wait in the queue meanwhile: to count its failures as attempts at them
   * would make healthy ones dead.
   */
  publishUntilStored(body: string): Promise<void> {
    return this.#untilStored(() => this.publish(body));
  }

  /**
   * Puts a delivery among the dead letters of its queue, whole and with the reason, which a `reject`
   * can't say. Resolves once it lies there: then it is to be acknowledged.
   */
  async publishDeadLetter(
    queue: string,
    message: ConsumeMessage,
    why?: Death,
    attempts = attemptOf(message),
  ): Promise<void> {
    const { content, properties } = message;
    // It shall neither expire there, nor go to others too, nor be refused as another user's.
    const { CC: _, BCC: __, ...headers } = properties.headers ?? {};
    const { expiration: ___, userId: ____, ...kept } = properties;
    const died = {
      ...(why && { "dead-reason": why.reason, "dead-detail": why.detail }),
      "dead-at": new Date().toISOString(),
      "dead-attempts": attempts,
    };
    const put = (all: Options.Publish) =>
      this.#untilStored(() => this.#send("", deadQueue(queue), content, all));
    // Others write what amqplib can read and can't write: more headers than it has room for, a time
    // that is too large, a table with the key "!", an id that isn't UTF-8.
    for (const own of [headers, {}]) {
      try {
        return await put({ ...kept, headers: { ...own, ...died } });
      } catch (error) {
        if (isBrokers(error)) throw error;
      }
    }
    await put({ headers: died });
  }

  async #untilStored(send: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        return await send();
      } catch (error) {
        if (!this.#open || !isBrokers(error)) throw error;
        await Bun.sleep(AGAIN_MS);
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
          // Tried again and again: said when it changes.
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

/** Which delivery of the message this is, from 1, as the broker counts. */
function attemptOf({ properties }: ConsumeMessage): number {
  const count: unknown = properties.headers?.["x-delivery-count"];
  // To convert another's table may throw, since it may have a key `toString`.
  return 1 + (typeof count === "number" ? count : 0);
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
