import { printableJson } from "./printable.ts";

/** Every event that a service may log. `ready` is the readiness contract. */
type LogEvent =
  | "ready"
  | "stopping"
  | "stopped"
  | "crashed"
  | "request_failed"
  | "span_begun"
  | "span_ended"
  | "order_placed"
  | "order_advanced"
  | "stock_decided"
  | "stock_released"
  | "customer_told"
  | "call_failed"
  | "store_unavailable"
  | "broker_connected"
  | "broker_disconnected"
  | "broker_blocked"
  | "broker_unblocked"
  | "broker_problem"
  | "broker_says"
  | "trouble"
  | "trouble_over"
  | "topic_declared"
  | "message_refused"
  | "message_retried"
  | "message_repeated"
  | "faults_set"
  | "bulk_finished"
  | "records_gone"
  | "topic_altered"
  | "topic_made_anew"
  | "replay_started"
  | "replay_finished";

const LEVELS = { debug: 0, info: 1, warn: 2, error: 3 };
export type LogLevel = keyof typeof LEVELS;

export type Log = Record<LogLevel, (event: LogEvent, fields?: Record<string, unknown>) => void>;

/** A log that writes JSON lines to standard output. */
export function createLog(service: string, least: LogLevel): Log {
  const at =
    (level: LogLevel) =>
    (event: LogEvent, fields: Record<string, unknown> = {}) => {
      if (LEVELS[level] < LEVELS[least]) return;
      const time = new Date().toISOString();
      console.log(printableJson({ time, level, service, event, ...fields }));
    };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
  };
}

/** An error's message, for a log line; never for an answer. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
