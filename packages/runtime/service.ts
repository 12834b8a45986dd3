import type { Static, TObject, TProperties } from "@sinclair/typebox";
import type { Elysia } from "elysia";
import { ConfigError, hostInUrl, readEnv } from "./env.ts";
import type { Faults } from "./faults.ts";
import { STOP_GRACE_MS } from "./limits.ts";
import { createLog, reasonOf } from "./log.ts";

/** A step of a service's stop: `["intake-ended", () => app.stop()]`. */
export type StopStep = readonly [name: string, step: () => unknown];

/** A running service. */
export interface Service {
  name: string;
  url: string;
  /** Its database file. */
  database: string;
  faults: Faults;
  /**
   * The steps of its stop, in order, each named by the state that it leads to. Faults are ended
   * before the first.
   */
  stop: readonly StopStep[];
}

/**
 * How long a stop waits for requests in progress: longer than any of them takes. A client that has
 * sent only part of a request by then is cut off; a slow client would otherwise keep the process
 * alive.
 */
const REQUESTS_MS = 8_000;

const cuts: { afterMs: number; cut: () => void }[] = [];

/** Calls `cut` when a stop has taken `afterMs`: nothing that hangs may keep the process alive. */
export function onStopTimeout(afterMs: number, cut: () => void): void {
  cuts.push({ afterMs, cut });
}

/** Why an address can't be listened on, by the system's error code. */
const WHY_NOT: Record<string, string> = {
  EADDRINUSE: "is in use by another process: stop that, or set PORT",
  EACCES: "is not for this user: set PORT to one above 1023",
  EADDRNOTAVAIL: "can't be had, this machine has no such address: set LISTEN_HOST",
};

/**
 * Binds the app and returns its URL; port 0 takes a free one. Throws a `ConfigError` where the
 * address can't be bound.
 */
export function listen(
  // Any app will do, whatever its routes.
  app: Elysia<any, any, any, any, any, any, any>,
  { listenHost, port }: { listenHost: string; port: number },
): string {
  try {
    // By Elysia's default a second process could bind the same port and receive half of the
    // requests.
    app.listen({ hostname: listenHost, port, reusePort: false });
  } catch (error) {
    const { code = "", message } = error as { code?: string; message: string };
    const why = WHY_NOT[code] ?? `can't be had: ${message}`;
    throw new ConfigError(`port ${port} on ${listenHost} ${why}`);
  }
  onStopTimeout(REQUESTS_MS, () => void app.server?.stop(true));
  return `http://${hostInUrl(listenHost)}:${app.server?.port}`;
}

/**
 * The main of every service file: reads the environment, starts, logs `ready`, and stops on SIGTERM
 * or SIGINT; a second signal ends it at once. Exit codes: 0 stopped, 1 crashed, 2 bad environment,
 * which includes a port in use.
 */
export async function runService<P extends TProperties>(
  start: (config: Static<TObject<P>>) => Promise<Service>,
  schema: TObject<P>,
): Promise<void> {
  const log = createLog("starting", "info");
  let service: Service;
  let flushSpans = async () => {};
  try {
    const config = readEnv(schema, Bun.env);
    service = await start(config);
    const { otelExporterOtlpEndpoint: receiver } = config as { otelExporterOtlpEndpoint?: string };
    // Loaded only where it is wanted: it takes as long as the rest of a start.
    if (receiver) flushSpans = (await import("./otel.ts")).startExport(service.name);
  } catch (error) {
    if (error instanceof ConfigError) {
      console.error(error.message);
      process.exit(2);
    }
    log.error("crashed", { reason: reasonOf(error) });
    process.exit(1);
  }
  const { name, url, database, faults } = service;
  const own = createLog(name, "info");

  let stopping = false;
  const stop = async (signal: string) => {
    if (stopping) process.exit(1);
    stopping = true;
    own.info("stopping", { signal });
    setTimeout(() => {
      own.error("crashed", { reason: `stop took over ${STOP_GRACE_MS} ms` });
      process.exit(1);
    }, STOP_GRACE_MS).unref();
    for (const { afterMs, cut } of cuts) setTimeout(cut, afterMs).unref();
    faults.end();
    for (const [name, step] of service.stop) {
      await step();
      own.debug("stopping", { step: name });
    }
    await flushSpans();
    own.info("stopped");
    process.exit(0);
  };
  process.on("SIGTERM", () => void stop("SIGTERM"));
  process.on("SIGINT", () => void stop("SIGINT"));
  // A bug: end, and let redelivery and the start-up recovery repair.
  const crash = (error: unknown) => {
    own.error("crashed", {
      reason: reasonOf(error),
      stack: error instanceof Error ? error.stack : undefined,
    });
    process.exit(1);
  };
  process.on("uncaughtException", crash);
  process.on("unhandledRejection", crash);
  if (Bun.env.LAB_LIFELINE === "stdin") endWithStdin();

  own.info("ready", { url, pid: process.pid, database });
}

/** When the lab dies, in any way, this pipe closes: the service must not outlive it. */
function endWithStdin(): void {
  process.stdin.on("end", () => process.exit(1));
  process.stdin.resume();
}
