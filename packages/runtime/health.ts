import { reasonOf } from "./log.ts";
import { isTransient } from "./transient.ts";

/** Pending work: how many items, and for how long the oldest has waited, in seconds. */
export interface Owed {
  count: number;
  oldest_s: number;
}

/** `oldest` is when the oldest item began to wait (RFC 3339, or ms since 1970), if there is one. */
export function owed(count: number, oldest: string | number | null | undefined): Owed {
  if (count === 0 || oldest === null || oldest === undefined) return { count, oldest_s: 0 };
  const waitedMs = Date.now() - new Date(oldest).getTime();
  // Clocks may also be set back.
  return { count, oldest_s: Math.max(0, Math.round(waitedMs / 100) / 10) };
}

/** What a service reports at `GET /health`. */
export interface Health {
  /** Whether each of its dependencies can be used. One that is false makes the answer 503. */
  needs: Record<string, boolean>;
  /** Its pending work, by kind. */
  owed?: Record<string, Owed>;
  /** What else it waits for, as text. Any entry makes the answer 503 while it lasts. */
  waits_for?: readonly string[];
  /** What won't resolve without an operator. Any entry makes the answer 503. */
  problems?: readonly string[];
}

/** The status code and body of `GET /health`. */
export function healthAnswer(
  service: string,
  look: () => Health,
): { code: number; body: Record<string, unknown> } {
  const { needs, owed = {}, waits_for = [], problems = [] } = readHealth(look);
  const up = waits_for.length + problems.length === 0 && !Object.values(needs).includes(false);
  const status = up ? "up" : "down";
  return { code: up ? 200 : 503, body: { service, status, ...needs, owed, waits_for, problems } };
}

/**
 * `look` reads the pending work, which fails where the database is damaged: that is reported, not
 * thrown.
 */
function readHealth(look: () => Health): Health {
  try {
    return look();
  } catch (error) {
    if (!isTransient(error)) throw error;
    return { needs: { database: false }, problems: [reasonOf(error)] };
  }
}
