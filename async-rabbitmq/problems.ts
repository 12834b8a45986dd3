/** What is wrong between a service and RabbitMQ: what waiting doesn't mend, and how it is told. */
import { type Log, reasonOf } from "@lab/runtime/log";

/** What goes on is said again after so long. */
const SAY_AGAIN_MS = 60_000;

/** Logs what is wrong when it changes, and now and then while it goes on: it is met twice a second. */
export function sayOnChange(log: Log) {
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

/**
 * The server's codes for what it will refuse again: access, a locked queue, other arguments, and what
 * it doesn't know; but for an ack that it doesn't know, which is over with its channel.
 */
const FOR_GOOD =
  /\b(?:402|403|405|406|503|530|540) \(.*?\) with message "(?!.*unknown delivery tag)(.*)"/s;

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

export function isProgrammingError(error: unknown): boolean {
  return [TypeError, RangeError, ReferenceError, SyntaxError].some((kind) => error instanceof kind);
}

/** A bug in the set-up: the process ends with its cause, since trying again would not help. */
export function crash(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
