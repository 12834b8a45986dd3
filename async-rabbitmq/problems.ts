/** Problems between a service and RabbitMQ: which are permanent, and how they are logged. */
import { type Log, reasonOf } from "@lab/runtime/log";

/** A problem that lasts is logged again after so long. */
const LOG_AGAIN_MS = 60_000;

/** Logs a problem when it changes, and at intervals while it lasts: it occurs twice a second. */
export function logOnChange(log: Log) {
  let last: string | undefined;
  let lastMs = -Infinity;
  let silent = false;
  const report = (level: "warn" | "error", reason: string) => {
    silent = reason === last && performance.now() - lastMs < LOG_AGAIN_MS;
    if (silent) return;
    last = reason;
    lastMs = performance.now();
    log[level](level === "error" ? "broker_problem" : "broker_disconnected", { reason });
  };
  return {
    connected: () => silent || log.info("broker_connected"),
    /** Called once it has worked for longer than a failure takes. */
    recovered: () => void (last = undefined),
    disconnected(error: unknown): string {
      const reason = reasonOf(error);
      report("warn", reason);
      return reason;
    },
    /** The text of a permanent problem; undefined for an error that may pass. */
    problem(error: unknown, address: URL): string | undefined {
      const problem = problemOf(error as Error & { code?: unknown }, address);
      if (problem !== undefined) report("error", problem);
      return problem;
    },
  };
}

/**
 * The server's reply codes for what it will refuse again: access, a locked queue, other arguments,
 * and what it doesn't know; except an unknown delivery tag, which ends with its channel.
 */
const PERMANENT =
  /\b(?:402|403|405|406|503|530|540) \(.*?\) with message "(?!.*unknown delivery tag)(.*)"/s;

function problemOf(error: Error & { code?: unknown }, address: URL): string | undefined {
  const { message } = error;
  const refusal = PERMANENT.exec(message)?.[1];
  if (refusal !== undefined) return `RabbitMQ says ${refusal}`;
  // All that amqplib reports of a refusal at this stage.
  if (message.includes("got <ConnectionClose")) {
    const { pathname, username } = address;
    return `RabbitMQ has no virtual host ${pathname.slice(1) || "/"} for ${username || "guest"}`;
  }
  if (message.includes("exceeds maxFrameSize")) return `no AMQP is spoken at ${address.host}`;
  if (/^(ERR_SSL|ERR_TLS|CERT|UNABLE_TO|SELF_SIGNED|DEPTH_ZERO)/.test(String(error.code))) {
    return `TLS with ${address.host}: ${message}`;
  }
  // An invalid option in the URL.
  return isProgrammingError(error) ? `AMQP_URL: ${message}` : undefined;
}

export function isProgrammingError(error: unknown): boolean {
  return [TypeError, RangeError, ReferenceError, SyntaxError].some((kind) => error instanceof kind);
}

/** A bug in the set-up: the process ends with its cause, since a retry would not help. */
export function crash(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
