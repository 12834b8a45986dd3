/**
 * How a service stays connected to RabbitMQ, puts back what somebody takes away
 * of the topology, and says what is wrong with either.
 */
import type { Socket } from "node:net";
import { ConfigError } from "@lab/runtime/env";
import { type Owed } from "@lab/runtime/health";
import type { Log } from "@lab/runtime/log";
import { onStopTimeout } from "@lab/runtime/service";
import { type ChannelModel, type ConfirmChannel, connect } from "amqplib";
import { crash, isProgrammingError, sayOnChange } from "./problems.ts";
import { Publisher } from "./publisher.ts";
import { declareTopology, type Topology } from "./topology.ts";

/** How long a stop waits for a RabbitMQ that may be hung. */
const CLOSE_TIMEOUT_MS = 4_000;
/** Between two looks at the topology, and the longest that RabbitMQ may need for one. */
const LOOK_EVERY_MS = 5_000;
/** A confirm takes milliseconds. Shorter than a heartbeat, which ends the connection of a silent RabbitMQ. */
const CONFIRM_S = 5;

/** A connection that lived for so long was a good one. */
const GOOD_AFTER_MS = 10_000;
/** Most that a new one is watched before anything is delivered over it. */
const WATCHED_MS = 2_000;
/** The longest that RabbitMQ may need until something is delivered over a new one. */
const SETUP_TIMEOUT_MS = WATCHED_MS + LOOK_EVERY_MS;

interface ConnectionOptions {
  /** `amqp://user:password@host:port/vhost`. */
  url: string;
  names: Topology;
  /** The one that `setup` consumes. */
  queue: string;
  log: Log;
  /** Gets a fresh channel with the topology declared, at each connection. Channels die with their connection: keep none across. */
  setup: (channel: ConfirmChannel, publisher: Publisher) => Promise<void>;
}

/** A connection that comes back by itself, for ever: now, or as soon as the broker is there. */
export class Connection {
  readonly #address: URL;
  readonly #options: ConnectionOptions;
  readonly #told: ReturnType<typeof sayOnChange>;
  readonly #backoff = reconnectBackoff();
  #connection: { close(): Promise<void> } | undefined;
  #connected = false;
  #publisher: Publisher | undefined;
  /** RabbitMQ's reason for taking nothing from a publisher: memory, disk. */
  #blocked: string | undefined;
  /** Why there is no connection. */
  #lost: string | undefined;
  /** What was refused when it was last asked for, and over what the last channel ended. */
  #refused: string | undefined;
  #ended: string | undefined;
  #cause: unknown;
  #lookedAtMs: number | undefined;
  #destroy = () => {};

  /** Use `connectBroker`. */
  constructor(options: ConnectionOptions) {
    const { log, url } = options;
    if (!URL.canParse(url)) throw new ConfigError("bad environment:\n  AMQP_URL is no URL");
    this.#options = options;
    this.#address = new URL(url);
    // A broker that went silent is noticed after two of these, in seconds.
    this.#address.searchParams.set("heartbeat", "10");
    this.#told = sayOnChange(log);
    // Its outstanding confirms and closes then fail, as they do when RabbitMQ dies.
    onStopTimeout(CLOSE_TIMEOUT_MS, () => this.#destroy());
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** Events that were published and that RabbitMQ has not confirmed. */
  get unconfirmed(): Owed {
    return this.#publisher?.unconfirmed() ?? { count: 0, oldest_s: 0 };
  }

  /** For `GET /health`, in words. */
  get waitsFor(): string[] {
    const waitsFor: string[] = [];
    const { oldest_s } = this.unconfirmed;
    const silentMs = performance.now() - (this.#lookedAtMs ?? Infinity);
    if (!this.#connected) {
      const isTold = [this.#refused, this.#ended].includes(this.#lost);
      if (!isTold) waitsFor.push(`no connection to RabbitMQ: ${this.#lost}`);
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
        // Orders are accepted while the broker is down, so a start goes on too.
        waitForConnect: false,
        setup: (model: ChannelModel) => this.#setUp(model),
      },
    });
    this.#connection = connection;
    connection.on("connect", (model: ChannelModel) => {
      this.#connected = true;
      this.#refused = this.#cause = undefined;
      this.#told.connected();
      void this.#lookAfter(model);
    });
    connection.on("disconnect", (error) => {
      this.#connected = false;
      this.#blocked = this.#lookedAtMs = undefined;
      const why = this.#cause ?? error;
      this.#ended = this.#told.problem(why, address);
      this.#lost = this.#ended ?? this.#told.disconnected(why);
    });
    connection.on("connect-failed", (error) => {
      this.#refused = this.#told.problem(error, address);
      this.#lost = this.#refused ?? this.#told.disconnected(error);
    });
    connection.on("error", () => {});
  }

  async #setUp(model: ChannelModel): Promise<void> {
    const { log, names, queue, setup } = this.#options;
    const { stream } = model.connection as unknown as { stream: Socket };
    this.#destroy = () => void stream.destroy();
    // It is told again with the disconnect.
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
      // What a handler of ours throws ends the channel.
      if (isProgrammingError(error)) crash(error);
      this.#cause = error;
    });
    // A channel that dies alone (406, a deleted queue) takes its connection
    // along: one way to recover is enough.
    channel.on("close", () => {
      open = false;
      this.#publisher = undefined;
      void model.close().catch(() => {});
    });
    // A queue that has lost its leader never gets a consumer, and nothing would be said of it.
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
      // On a channel that was closed meanwhile amqplib throws a TypeError itself.
      if (open && isProgrammingError(error)) crash(error);
      throw silence ?? error;
    } finally {
      clearTimeout(tooLong);
    }
  }

  /** Whatever somebody takes away while it runs, exchange, queue or binding, is there again. */
  async #lookAfter(model: ChannelModel): Promise<void> {
    let open = true;
    model.on("close", () => (open = false));
    for (;;) {
      await Bun.sleep(LOOK_EVERY_MS);
      if (!open) return;
      this.#lookedAtMs = performance.now();
      try {
        const channel = await model.createChannel();
        // The call that failed says why.
        channel.on("error", () => {});
        await declareTopology(channel, this.#options.names);
        await channel.close();
        this.#refused = this.#ended = undefined;
        this.#told.good();
      } catch (error) {
        if (open) this.#refused = this.#told.problem(error, this.#address);
      }
      this.#lookedAtMs = undefined;
    }
  }
}

/** Connects; resolves at once, whether the broker is there or not. */
export async function connectBroker(options: ConnectionOptions): Promise<Connection> {
  const connection = new Connection(options);
  await connection.start();
  return connection;
}

/**
 * A cut counts as a delivery of all that is outstanding: over a line that is cut
 * every tenth of a second good messages would reach their limit within one. So
 * with each cut in a row a new connection has to live for longer before it is used.
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
