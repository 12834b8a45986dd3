import type { Owed } from "@lab/runtime/health";
import { eventually } from "../host/waiting.ts";

/** `GET /health` of a service. */
export interface ShownHealth {
  status: "up" | "down";
  /** Whether the broker can be used, in the models that have one. */
  broker?: boolean;
  owed: Record<string, Owed>;
  waits_for: string[];
  problems: string[];
}

/** A service's health, whether up or down. Throws when it doesn't answer. */
export async function fetchHealth(url: string): Promise<ShownHealth> {
  const response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(2_000) });
  return (await response.json()) as ShownHealth;
}

/**
 * Returns when the service is up. Throws at once when it has a problem that waiting doesn't mend,
 * and with what it waits for when it isn't up in time.
 */
export async function untilHealthy(
  { name, url }: { name: string; url: string },
  timeoutMs: number,
): Promise<void> {
  let health: ShownHealth | undefined;
  await eventually(
    `${name} is healthy`,
    async () => {
      health = await fetchHealth(url);
      return health.status === "up" || health.problems.length > 0;
    },
    { timeoutMs },
  ).catch((error: Error) => {
    if (health === undefined) throw error;
    const why = health.waits_for.length > 0 ? health.waits_for.join("; ") : JSON.stringify(health);
    throw new Error(`${name} isn't healthy after ${timeoutMs / 1_000} s: ${why}`);
  });
  const { problems } = health!;
  if (problems.length > 0) throw new Error(`${name} isn't healthy: ${problems.join("; ")}`);
}

/** The service's amount of pending work of that kind. Throws when it has no such kind. */
export async function owedOf(kind: string, url: string): Promise<number> {
  const owed = (await fetchHealth(url)).owed[kind];
  if (owed === undefined) throw new Error(`${url}/health names no ${kind}`);
  return owed.count;
}
