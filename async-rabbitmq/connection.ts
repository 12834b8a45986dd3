/**
 * How a service stays connected to RabbitMQ, puts back what somebody takes away
 * of the topology, and says what is wrong with either.
 */
import type { Socket } from "node:net";
import { ConfigError } from "@lab/runtime/env";
import type { Owed } from "@lab/runtime/health";
import { type Log, reasonOf } from "@lab/runtime/log";
import { cutOff } from "@lab/runtime/service";
import { type ChannelModel, type ConfirmChannel, connect } from "amqplib";
import { Publisher } from "./publisher.ts";
import { declareTopology, type Topology } from "./topology.ts";

/** A connection that comes back by itself. */
export interface Broker {
  connected(): boolean;
  /** Events that were published and that RabbitMQ has not confirmed. */
  unconfirmed(): Owed;
  /** For `GET /health`, in words. */
  waitsFor(): string[];
  problems(): string[];
  close(): Promise<void>;
}

/** How long a stop waits for a RabbitMQ that may be hung. */
const GOODBYE_MS = 4_000;
/** Between two looks at the topology, and the longest that RabbitMQ may need for one. */
const LOOK_EVERY_MS = 5_000;
/** A confirm takes milliseconds. Shorter than a heartbeat, which ends the connection of a silent RabbitMQ. */
const CONFIRM_S = 5;
/** What goes on is said again after so long. */
const SAY_AGAIN_MS = 60_000;

/** A connection that lived for so long was a good one. */
const GOOD_AFTER_MS = 10_000;
/** Most that a new one is watched before anything is delivered over it. */
const WATCHED_MS = 2_000;
/** The longest that RabbitMQ may need until something is delivered over a new one. */
const SET_UP_MS = WATCHED_MS + LOOK_EVERY_MS;

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
  /** The one that `setup` consumes. */
  queue: string;
  log: Log;
  setup: (channel: ConfirmChannel, publisher: Publisher) => Promise<void>;
}): Promise<Broker> {
  const { url, names, queue, log, setup } = options;
  if (!URL.canParse(url)) throw new ConfigError("bad environment:\n  AMQP_URL is no URL");
  const address = new URL(url);
  // A broker that went silent is noticed after two of these, in seconds.
  address.searchParams.set("heartbeat", "10");
  const watched = caution();
  const said = sayOnChange(log);
  let connected = false;
  let publisher: Publisher | undefined;
  /** RabbitMQ's reason for taking nothing from a publisher: memory, disk. */
  let blocked: string | undefined;
  /** Why there is no connection. */
  let lost: string | undefined;
  /** What was refused when it was last asked for, and over what the last channel ended. */
  let refused: string | undefined;
  let ended: string | undefined;
  let cause: unknown;
  let lookedAtMs: number | undefined;
  let hangUp = () => {};
  // Its outstanding confirms and closes then fail, as they do when RabbitMQ dies.
  cutOff(GOODBYE_MS, () => hangUp());

  /** Whatever somebody takes away while it runs, exchange, queue or binding, is there again. */
  async function lookAfter(model: ChannelModel): Promise<void> {
    let open = true;
    model.on("close", () => (open = false));
    for (;;) {
      await Bun.sleep(LOOK_EVERY_MS);
      if (!open) return;
      lookedAtMs = performance.now();
      try {
        const channel = await model.createChannel();
        // The call that failed says why.
        channel.on("error", () => {});
        await declareTopology(channel, names);
        await channel.close();
        refused = ended = undefined;
        said.good();
      } catch (error) {
        if (open) refused = said.problem(error, address);
      }
      lookedAtMs = undefined;
    }
  }

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
        // It is told again with the disconnect.
        model.on("error", () => {});
        model.on("blocked", (reason) => {
          blocked = reason;
          log.warn("broker_blocked", { reason });
        });
        model.on("unblocked", () => {
          blocked = undefined;
          log.info("broker_unblocked");
        });
        const channel = await model.createConfirmChannel();
        let open = true;
        channel.on("error", (error) => {
          // What a handler of ours throws ends the channel.
          if (isProgrammingError(error)) crash(error);
          cause = error;
        });
        // A channel that dies alone (406, a deleted queue) takes its connection
        // along: one way to recover is enough.
        channel.on("close", () => {
          open = false;
          publisher = undefined;
          void model.close().catch(() => {});
        });
        // A queue that has lost its leader never gets a consumer, and nothing would be said of it.
        let silence: Error | undefined;
        const tooLong = setTimeout(() => {
          silence = new Error(`RabbitMQ doesn't answer over the queue ${queue}`);
          stream.destroy();
        }, SET_UP_MS);
        try {
          await declareTopology(channel, names);
          await watched();
          publisher = new Publisher(channel, names.exchange, log);
          await setup(channel, publisher);
        } catch (error) {
          // On a channel that was closed meanwhile amqplib throws a TypeError itself.
          if (open && isProgrammingError(error)) crash(error);
          throw silence ?? error;
        } finally {
          clearTimeout(tooLong);
        }
      },
    },
  });
  connection.on("connect", (model: ChannelModel) => {
    connected = true;
    refused = cause = undefined;
    said.connected();
    void lookAfter(model);
  });
  connection.on("disconnect", (error) => {
    connected = false;
    blocked = undefined;
    lookedAtMs = undefined;
    const why = cause ?? error;
    ended = said.problem(why, address);
    lost = ended ?? said.disconnected(why);
  });
  connection.on("connect-failed", (error) => {
    refused = said.problem(error, address);
    lost = refused ?? said.disconnected(error);
  });
  connection.on("error", () => {});

  const unconfirmed = () => publisher?.unconfirmed() ?? { count: 0, oldest_s: 0 };
  return {
    connected: () => connected,
    unconfirmed,
    waitsFor() {
      const waitsFor: string[] = [];
      const { oldest_s } = unconfirmed();
      const silentMs = performance.now() - (lookedAtMs ?? Infinity);
      if (!connected) {
        if (lost !== undefined && lost !== refused && lost !== ended)
          waitsFor.push(`no connection to RabbitMQ: ${lost}`);
      } else if (blocked !== undefined) waitsFor.push(`RabbitMQ takes no events: ${blocked}`);
      else if (oldest_s > CONFIRM_S) waitsFor.push(`RabbitMQ confirms nothing for ${oldest_s} s`);
      else if (silentMs > LOOK_EVERY_MS) waitsFor.push("RabbitMQ doesn't answer");
      waitsFor.push(...(publisher?.refusals() ?? []));
      return waitsFor;
    },
    problems: () => [...new Set([refused, ended].filter((one) => one !== undefined))],
    close: () => connection.close(),
  };
}

/** Logs what is wrong when it changes, and now and then while it goes on: it is met twice a second. */
function sayOnChange(log: Log) {
  let last: string | undefined;
  let lastMs = -Infinity;
  let silent = false;
  const say = (level: "warn" | "error", reason: string) => {
    silent = reason === last && performance.now() - lastMs < SAY_AGAIN_MS;
    if (silent) return;
    last = reason;
    lastMs = performance.now();
    log[level](level === "error" ? "broker_problem" : "broker_disconnected", { reason });
  };
  return {
    connected: () => silent || log.info("broker_connected"),
    /** It works for longer than it takes to fail. */
    good: () => void (last = undefined),
    disconnected(error: unknown): string {
      const reason = reasonOf(error);
      say("warn", reason);
      return reason;
    },
    /** What waiting doesn't mend; undefined for what it may. */
    problem(error: unknown, address: URL): string | undefined {
      const problem = problemOf(error as Error & { code?: unknown }, address);
      if (problem !== undefined) say("error", problem);
      return problem;
    },
  };
}

/** The server's codes for what it will refuse again: access, a locked queue, other arguments, and what it doesn't know. */
const FOR_GOOD = /\b(?:402|403|405|406|503|530|540) \(.*?\) with message "(.*)"/s;

function problemOf(error: Error & { code?: unknown }, address: URL): string | undefined {
  const { message } = error;
  const said = FOR_GOOD.exec(message)?.[1];
  if (said !== undefined) return `RabbitMQ says ${said}`;
  // All that amqplib tells of a refusal at that moment.
  if (message.includes("got <ConnectionClose")) {
    const { pathname, username } = address;
    return `RabbitMQ has no virtual host ${pathname.slice(1) || "/"} for ${username || "guest"}`;
  }
  if (message.includes("exceeds maxFrameSize")) return `no AMQP is spoken at ${address.host}`;
  if (/^(ERR_SSL|ERR_TLS|CERT|UNABLE_TO|SELF_SIGNED|DEPTH_ZERO)/.test(String(error.code))) {
    return `TLS with ${address.host}: ${message}`;
  }
  // An option in the URL that is none.
  return isProgrammingError(error) ? `AMQP_URL: ${message}` : undefined;
}

function isProgrammingError(error: unknown): boolean {
  return [TypeError, RangeError, ReferenceError, SyntaxError].some((kind) => error instanceof kind);
}

/** A bug in the set-up: the process ends with its cause, since trying again would not help. */
function crash(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
