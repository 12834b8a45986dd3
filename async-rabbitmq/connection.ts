/**
 * How a service stays connected to RabbitMQ, restores deleted parts of the topology, and reports
 * what is wrong with either.
 */
import type { Socket } from "node:net";
import { type Owed } from "@lab/runtime/health";
import type { Log } from "@lab/runtime/log";
import { onStopTimeout } from "@lab/runtime/service";
import { type ChannelModel, type ConfirmChannel, connect } from "amqplib";
import { crash, isProgrammingError, logOnChange } from "./problems.ts";
import { Publisher } from "./publisher.ts";
import { declareTopology, type Topology } from "./topology.ts";

/** How long a stop waits for a RabbitMQ that may hang. */
const CLOSE_TIMEOUT_MS = 4_000;
/** Between two checks of the topology, and the longest that RabbitMQ may take for one. */
const LOOK_EVERY_MS = 5_000;
/** A confirm takes milliseconds. Shorter than the heartbeat, which ends a silent connection. */
const CONFIRM_S = 5;

/** A connection that was up for so long counts as stable. */
const GOOD_AFTER_MS = 10_000;
/** The longest that a new connection is observed before anything is delivered over it. */
const WATCHED_MS = 2_000;
/** Until a new connection consumes. A busy RabbitMQ takes seconds, and another adds to its work. */
const SETUP_TIMEOUT_MS = 20_000;

interface ConnectionOptions {
  /** `amqp://user:password@host:port/vhost`. */
  url: string;
  names: Topology;
  /** The queue that `setup` consumes. */
  queue: string;
  log: Log;
  /**
   * Called at each connection with a new channel, the topology declared. Channels close with their
   * connection: keep none beyond it.
   */
  setup: (channel: ConfirmChannel, publisher: Publisher) => Promise<void>;
}

/**
 * A connection that reconnects without limit: it connects now, or as soon as the broker is
 * available.
 */
export class Connection {
  readonly #address: URL;
  readonly #options: ConnectionOptions;
  readonly #reporter: ReturnType<typeof logOnChange>;
  readonly #backoff = reconnectBackoff();
  #connection: { close(): Promise<void> } | undefined;
  #connected = false;
  #publisher: Publisher | undefined;
  /** RabbitMQ's reason for blocking publishers: memory, disk. */
  #blocked: string | undefined;
  /** Why there is no connection. */
  #lost = "it is being made";
  /**
   * Why RabbitMQ refused the last connection or declaration, and the permanent error that closed
   * the last channel.
   */
  #refused: string | undefined;
  #ended: string | undefined;
  #cause: unknown;
  #lookedAtMs: number | undefined;
  #destroy = () => {};

  /** Use `connectBroker`. */
  constructor(options: ConnectionOptions) {
    const { log, url } = options;
    this.#options = options;
    this.#address = new URL(url);
    // In seconds. A broker that doesn't answer is detected after two heartbeats.
    this.#address.searchParams.set("heartbeat", "10");
    this.#reporter = logOnChange(log);
    // Outstanding confirms and closes then fail, as they do when RabbitMQ dies; without a close it
    // would reconnect, and a stop would wait again.
    onStopTimeout(CLOSE_TIMEOUT_MS, () => {
      void this.close();
      this.#destroy();
    });
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** Events that were published and that RabbitMQ has not confirmed. */
  get unconfirmed(): Owed {
    return this.#publisher?.unconfirmed() ?? { count: 0, oldest_s: 0 };
  }

  /** For `GET /health`, as text. */
  get waitsFor(): string[] {
    const waitsFor: string[] = [];
    const { oldest_s } = this.unconfirmed;
    const silentMs = performance.now() - (this.#lookedAtMs ?? Infinity);
    if (!this.#connected) {
      const isReported = [this.#refused, this.#ended].includes(this.#lost);
      if (!isReported) waitsFor.push(`no connection to RabbitMQ: ${this.#lost}`);
    } else if (this.#blocked !== undefined) {
      waitsFor.push(`RabbitMQ takes no events: ${this.#blocked}`);
    } else if (oldest_s > CONFIRM_S) waitsFor.push(`RabbitMQ confirms nothing for ${oldest_s} s`);
    else if (silentMs > LOOK_EVERY_MS) waitsFor.push("RabbitMQ doesn't answer");
    waitsFor.push(...(this.#publisher?.refusals() ?? []));
    return waitsFor;
  }

  get problems(): string[] {
    return [...new Set([this.#refused, this.#ended].filter((one) => one !== undefined))];
  }

  async close(): Promise<void> {
    await this.#connection?.close();
  }

  async start(): Promise<void> {
    const address = this.#address;
    const connection = await connect(address.href, {
      timeout: 5000,
      recovery: {
        initialDelay: 100,
        maxDelay: 2000,
        factor: 2,
        jitter: 0.2,
        maxRetries: Infinity,
        // Orders are accepted while the broker is down, so a start doesn't wait for it either.
        waitForConnect: false,
        setup: (model: ChannelModel) => this.#setUp(model),
      },
    });
    this.#connection = connection;
    connection.on("connect", (model: ChannelModel) => {
      this.#connected = true;
      this.#refused = this.#cause = undefined;
      this.#reporter.connected();
      void this.#lookAfter(model);
    });
    connection.on("disconnect", (error) => {
      this.#connected = false;
      this.#blocked = this.#lookedAtMs = undefined;
      const why = this.#cause ?? error;
      this.#ended = this.#reporter.problem(why, address);
      this.#lost = this.#ended ?? this.#reporter.disconnected(why);
    });
    connection.on("connect-failed", (error) => {
      this.#refused = this.#reporter.problem(error, address);
      this.#lost = this.#refused ?? this.#reporter.disconnected(error);
    });
    connection.on("error", () => {});
  }

  async #setUp(model: ChannelModel): Promise<void> {
    const { log, names, queue, setup } = this.#options;
    const { stream } = model.connection as unknown as { stream: Socket };
    this.#destroy = () => void stream.destroy();
    // The disconnect event reports the same error.
    model.on("error", () => {});
    model.on("blocked", (reason) => {
      this.#blocked = reason;
      log.warn("broker_blocked", { reason });
    });
    model.on("unblocked", () => {
      this.#blocked = undefined;
      log.info("broker_unblocked");
    });
    const channel = await model.createConfirmChannel();
    let open = true;
    channel.on("error", (error) => {
      // An exception in one of our handlers closes the channel.
      if (isProgrammingError(error)) crash(error);
      this.#cause = error;
    });
    // When only the channel is closed (406, a deleted queue), the connection is closed too: one way
    // of recovery is enough.
    channel.on("close", () => {
      open = false;
      this.#publisher = undefined;
      void model.close().catch(() => {});
    });
    // On a queue that has lost its leader `consume` is never answered, and no error is reported.
    let silence: Error | undefined;
    const tooLong = setTimeout(() => {
      silence = new Error(`RabbitMQ doesn't answer over the queue ${queue}`);
      stream.destroy();
    }, SETUP_TIMEOUT_MS);
    try {
      await declareTopology(channel, names);
      await this.#backoff();
      this.#publisher = new Publisher(channel, names.exchange, log);
      await setup(channel, this.#publisher);
    } catch (error) {
      // On a channel that was closed meanwhile, amqplib itself throws a TypeError.
      if (open && isProgrammingError(error)) crash(error);
      throw silence ?? error;
    } finally {
      clearTimeout(tooLong);
    }
  }

  /**
   * Redeclares the topology at intervals, so that a deleted exchange, queue or binding is restored.
   */
  async #lookAfter(model: ChannelModel): Promise<void> {
    let open = true;
    model.on("close", () => (open = false));
    for (;;) {
      await Bun.sleep(LOOK_EVERY_MS);
      if (!open) return;
      this.#lookedAtMs = performance.now();
      try {
        const channel = await model.createChannel();
        // The failed call reports the error.
        channel.on("error", () => {});
        await declareTopology(channel, this.#options.names);
        await channel.close();
        this.#refused = this.#ended = undefined;
        this.#reporter.recovered();
      } catch (error) {
        if (open) this.#refused = this.#reporter.problem(error, this.#address);
      }
      this.#lookedAtMs = undefined;
    }
  }
}

/** Connects; resolves at once, whether the broker is available or not. */
export async function connectBroker(options: ConnectionOptions): Promise<Connection> {
  const connection = new Connection(options);
  await connection.start();
  return connection;
}

/**
 * A lost connection counts as a delivery of every outstanding message: over a line that is cut
 * every tenth of a second good messages would reach their limit within a second. So with each loss
 * in a row, the wait before a new connection is used gets longer.
 */
function reconnectBackoff() {
  let pauseMs = 0;
  let usedSince = -Infinity;
  return async () => {
    const good = performance.now() - usedSince > GOOD_AFTER_MS;
    pauseMs = good ? 0 : Math.min(WATCHED_MS, Math.max(100, pauseMs * 2));
    await Bun.sleep(pauseMs);
    usedSince = performance.now();
  };
}
