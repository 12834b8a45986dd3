import { reasonOf } from "./log.ts";
import { isTransient } from "./transient.ts";

/** Work that waits: how many pieces of it, and for how long the oldest has waited, in seconds. */
export interface Owed {
  count: number;
  oldest_s: number;
}

/** `oldest` is when the oldest piece began to wait (RFC 3339, or ms since 1970), if there is one. */
export function owed(count: number, oldest: string | number | null | undefined): Owed {
  if (count === 0 || oldest === null || oldest === undefined) return { count, oldest_s: 0 };
  const waitedMs = Date.now() - new Date(oldest).getTime();
  // Clocks are set back, too.
  return { count, oldest_s: Math.max(0, Math.round(waitedMs / 100) / 10) };
}

/** What a service says of itself at `GET /health`. */
export interface Health {
  /** Whether each thing that it needs can be used. One that is false takes the service down (503). */
  needs: Record<string, boolean>;
  /** What it still has to do, by name. */
  owed?: Record<string, Owed>;
  /** What it waits for beside those, in words. One of them takes the service down (503) while it lasts. */
  waits_for?: readonly string[];
  /** What won't pass by waiting, for somebody to act on. One of them takes the service down (503). */
  problems?: readonly string[];
}

/** The answer of `GET /health`, its status code beside it. */
export function healthAnswer(
  service: string,
  look: () => Health,
): { code: number; body: Record<string, unknown> } {
  const { needs, owed = {}, waits_for = [], problems = [] } = lookAnyway(look);
  const up = waits_for.length + problems.length === 0 && !Object.values(needs).includes(false);
  const status = up ? "up" : "down";
  return { code: up ? 200 : 503, body: { service, status, ...needs, owed, waits_for, problems } };
}

/** What is owed can't be read from a database that is damaged. */
function lookAnyway(look: () => Health): Health {
  try {
    return look();
  } catch (error) {
    if (!isTransient(error)) throw error;
    return { needs: { database: false }, problems: [reasonOf(error)] };
  }
}
