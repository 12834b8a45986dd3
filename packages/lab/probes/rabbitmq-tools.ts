import {
  type ChannelModel,
  type ConfirmChannel,
  connect,
  type ConsumeMessage,
  type Message,
  type Options,
} from "amqplib";
import type { Broker } from "../brokers/broker.ts";

/** All messages published to an exchange since the spy was bound, as UTF-8, oldest first. */
export interface Spy {
  readonly messages: { id: string; key: string; body: string }[];
}

/**
 * Inspects and changes a broker's queues. It connects at the first call, and reconnects after the
 * broker was down; a call that the broker doesn't answer throws.
 */
export class Rabbitmq implements AsyncDisposable {
  readonly #broker: Pick<Broker, "address" | "managementUrl">;
  #opened: Promise<{ model: ChannelModel; channel: ConfirmChannel }> | undefined;

  constructor(broker: Pick<Broker, "address" | "managementUrl">) {
    this.#broker = broker;
  }

  /**
   * Messages that are ready for a consumer now, without the unacknowledged ones. Throws when there
   * is no such queue.
   */
  async ready(queue: string): Promise<number> {
    const channel = await this.#channel();
    return (await channel.checkQueue(queue)).messageCount;
  }

  /** Consumers that the queue delivers to. Throws when there is no such queue. */
  async consumers(queue: string): Promise<number> {
    const channel = await this.#channel();
    return (await channel.checkQueue(queue)).consumerCount;
  }

  /**
   * Unacknowledged messages; the figure is up to two seconds old, the interval at which a quorum
   * queue reports it. Throws where the broker's management address isn't known.
   */
  async unacknowledged(queue: string): Promise<number> {
    // A new queue has no statistics yet.
    return (await this.#figures(queue)).messages_unacknowledged ?? 0;
  }

  /**
   * Deliveries to consumers since the queue was created; see `unacknowledged` for the figures' age
   * and the errors.
   */
  async deliveries(queue: string): Promise<{ delivered: number; acknowledged: number }> {
    const { message_stats: stats } = await this.#figures(queue);
    // The redelivery count includes more: a quorum queue requeues messages in transit to a consumer
    // that had cancelled, and counts those too.
    return { delivered: stats?.["deliver"] ?? 0, acknowledged: stats?.["ack"] ?? 0 };
  }

  async #figures(queue: string) {
    const { address, managementUrl } = this.#broker;
    if (managementUrl === undefined) {
      throw new Error("the management API's address isn't known");
    }
    const { username, password, pathname } = new URL(address);
    const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    const vhost = pathname.length > 1 ? pathname.slice(1) : "%2F";
    const answer = await fetch(
      `${managementUrl}/api/queues/${vhost}/${encodeURIComponent(queue)}`,
      {
        headers: { authorization: `Basic ${btoa(login)}` },
        signal: AbortSignal.timeout(5_000),
      },
    );
    if (!answer.ok) throw new Error(`${queue}: ${answer.status}`);
    return (await answer.json()) as {
      messages_unacknowledged?: number;
      message_stats?: Record<string, number>;
    };
  }

  /** Publishes any message to a queue; returns when the broker has stored it. */
  async put(
    queue: string,
    body: string | Uint8Array,
    options: Options.Publish = {},
  ): Promise<void> {
    await putConfirmed(await this.#channel(), queue, Buffer.from(body), options);
  }

  /** Removes and returns the oldest message of a queue; undefined when none is ready. */
  async take(queue: string): Promise<Message | undefined> {
    const channel = await this.#channel();
    const message = await channel.get(queue, { noAck: true });
    return message === false ? undefined : message;
  }

  /** Receives a copy of every message published to an exchange from now on. */
  async spy(exchange: string): Promise<Spy> {
    const channel = await this.#channel();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    await channel.bindQueue(queue, exchange, "#");
    const messages: Spy["messages"] = [];
    const hear = (message: ConsumeMessage | null) => {
      if (message === null) return;
      messages.push({
        id: String(message.properties.messageId),
        key: message.fields.routingKey,
        body: message.content.toString(),
      });
    };
    await channel.consume(queue, hear, { noAck: true });
    return { messages };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    // A connection that is already lost needs no close.
    await opened?.then(({ model }) => model.close()).catch(() => {});
  }

  async #channel(): Promise<ConfirmChannel> {
    this.#opened ??= this.#open();
    return (await this.#opened).channel;
  }

  #open() {
    const forget = () => {
      if (this.#opened === opening) this.#opened = undefined;
    };
    const opening = openChannel(this.#broker.address, forget);
    opening.catch(forget);
    return opening;
  }
}

/**
 * A connection with one channel. `onClose` is called when either of them is closed, for any reason:
 * a missing queue closes the channel.
 */
export async function openChannel(
  address: string,
  onClose: () => void = () => {},
): Promise<{ model: ChannelModel; channel: ConfirmChannel }> {
  const model = await connect(address, { timeout: 5_000 });
  // The failed call reports the error; without a listener the process would end.
  model.on("error", () => {});
  model.on("close", onClose);
  const channel = await model.createConfirmChannel();
  channel.on("error", () => {});
  channel.on("close", () => {
    onClose();
    void model.close().catch(() => {});
  });
  return { model, channel };
}

/**
 * Publishes to one queue, persistent; returns when the broker has stored it.
 * Throws when it refused, or when there is no such queue.
 */
export async function putConfirmed(
  channel: ConfirmChannel,
  queue: string,
  body: Buffer,
  options: Options.Publish,
): Promise<void> {
  // An unroutable message is returned, and then still confirmed.
  let returned = false;
  const onReturn = () => (returned = true);
  channel.on("return", onReturn);
  try {
    await new Promise<void>((resolve, reject) => {
      channel.sendToQueue(
        queue,
        body,
        { ...options, persistent: true, mandatory: true },
        (error: unknown) => (error ? reject(error as Error) : resolve()),
      );
    });
  } finally {
    channel.off("return", onReturn);
  }
  if (returned) throw new Error(`there is no queue ${queue}`);
}
