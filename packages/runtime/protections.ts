import { ConfigError } from "./env.ts";

/**
 * What keeps the promises, each by the name under which `LAB_WITHOUT` takes it
 * away: so the checker is seen to find what it is there for. In the order in
 * which an order meets them.
 */
export const PROTECTIONS = [
  /** An answer or an ack follows the commit. */
  "commit-before-answer",
  /** A client's retry under its key is the same order. */
  "idempotency-key",
  /** A call that was given up is followed by a release. */
  "release",
  /** A release wins over the reserve that comes after it. */
  "tombstone",
  /** What an earlier process left half-way is finished. */
  "recovery",
  /** An order that a request works on is nobody else's. */
  "in-flight",
  /** No more is taken than there is. */
  "stock-check",
  /** Stock is taken once for an order id. */
  "idempotent-reserve",
  /** A customer is told once of an order id. */
  "idempotent-send",
  /** Events to be published are stored beside their cause. */
  "outbox",
  /** Published is what the broker has confirmed. */
  "confirms",
  /** What no queue takes comes back, and is sent again. */
  "mandatory",
  /** Queues and messages survive their broker. */
  "durable-queue",
  /** A message is acknowledged, or its offset committed, after the work. */
  "ack-after-commit",
  /** An ack says nothing of the messages that wait to be put back. */
  "ack-own-work",
  /** A processed message is known by its id. */
  "ledger",
  /** An order's status never goes back. */
  "forward-only",
  /** A message is tried so often, and not for ever. */
  "delivery-limit",
  /** A database that can't be written for a while costs a message no attempt. */
  "patience",
  /** What is given up is kept, where somebody can look at it. */
  "dead-letter",
  /** The fold reads on from its own offset, and ignores what lies before it. */
  "stored-offset",
  /** The fold counts an event id once. */
  "deduplication",
  /** The fold goes by the time of the event, not by the clock. */
  "event-time",
  /** A replay ends where the old metrics stood. */
  "replay-end",
  /** A replay is refused where the log has lost what it needs. */
  "whole-log",
  /** A replay takes the place of equal metrics only. */
  "equal-swap",
] as const;
export type Protection = (typeof PROTECTIONS)[number];

// Of the process, not of a service: what it protects stands in packages that know no service.
let gone: ReadonlySet<string> = new Set();

/** Whether that protection was taken away. */
export function without(protection: Protection): boolean {
  return gone.has(protection);
}

/** Takes protections away, and gives back all others: `names` with commas between. Throws for an unknown one. */
export function takeAway(names: string): void {
  const wanted = names.split(",").filter(Boolean);
  const unknown = wanted.filter((name) => !(PROTECTIONS as readonly string[]).includes(name));
  if (unknown.length > 0) {
    throw new ConfigError(
      `bad environment:\n  LAB_WITHOUT=${names}: no ${unknown.join(", ")} among ${PROTECTIONS.join(", ")}`,
    );
  }
  gone = new Set(wanted);
}
